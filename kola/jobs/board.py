"""What a person sees of running jobs: lines that stay, in the terminal and in a file, and below them what goes on."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from typing import TYPE_CHECKING

from kola.jobs.state import Phase
from kola.text import strip_terminal
from kola.wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import TextIO

    from kola.jobs.state import JobState

LIVE_SECONDS = 1.0
"""Between two pictures of what goes on, in a terminal."""
QUIET_SECONDS = 60.0
"""Between two such pictures in the file, and where there is no terminal."""


class Board:
    """Shows and logs.

    Args:
        stream: where to; a terminal gets the lines of what goes on replaced in place.
        log: file that lines are appended to.
    """

    def __init__(self, stream: TextIO, log: Path) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._log = log
        self._drawn = 0
        self._next_live, self._next_quiet = Deadline(0), Deadline(QUIET_SECONDS)

    def say(self, line: str) -> None:
        """Show a line that stays."""
        self._erase()
        self._keep([line], shown=True)

    def show(self, states: Sequence[JobState]) -> None:
        """Show what goes on now, if it is time."""
        if self._next_quiet.expired:
            self._next_quiet = Deadline(QUIET_SECONDS)
            self._keep(picture(states), shown=not self._live)
        if self._live and self._next_live.expired:
            self._next_live = Deadline(LIVE_SECONDS)
            self._erase()
            self._draw(picture(states))

    def close(self) -> None:
        """Leave only lines that stay."""
        self._erase()

    def _keep(self, lines: Iterable[str], *, shown: bool) -> None:
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        with self._log.open("a") as file:
            file.writelines(f"{now} {line}\n" for line in lines)
        if shown:
            self._stream.writelines(f"{line}\n" for line in lines)
            self._stream.flush()

    def _draw(self, lines: Sequence[str]) -> None:
        size = shutil.get_terminal_size()
        # A line that is wrapped, or scrolled out, could not be replaced.
        shown = [line[: size.columns - 1] for line in lines[-(size.lines - 1) :]]
        self._stream.writelines(f"{line}\n" for line in shown)
        self._stream.flush()
        self._drawn = len(shown)

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}F\x1b[J")
            self._stream.flush()
            self._drawn = 0


def picture(states: Sequence[JobState]) -> list[str]:
    """Return a line for each job that runs, and one that counts all."""
    running = [f"{state.name}: {state.verdict}, {state.describe()}" for state in states if state.phase is Phase.RUNNING]
    return [*running, totals(states)]


def totals(states: Iterable[JobState]) -> str:
    """Return one line that counts jobs by how far they are, or how they ended."""
    counts = Counter(state.verdict for state in states)
    return f"{counts.total()} jobs: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def table(states: Sequence[JobState]) -> list[str]:
    """Return a line for each job."""
    rows = [(state.name, state.verdict, strip_terminal(state.describe()).replace("\n", " ")) for state in states]
    names, verdicts = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
    return [f"{name:{names}}  {verdict:{verdicts}}  {text}".rstrip() for name, verdict, text in rows]
