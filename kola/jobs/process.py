"""The process of one job, seen from ``kola matrix run``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from kola.jobs import keeper
from kola.wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Interrupts:
    """Counts SIGINT and SIGTERM, while it is open, instead of having them break in anywhere."""

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:  # noqa: PYI034 - not made to be inherited from
        for sig in (signal.SIGINT, signal.SIGTERM):
            self._before[sig] = signal.signal(sig, self._take)
        return self

    def __exit__(self, *_exception: object) -> None:
        for sig, handler in self._before.items():
            signal.signal(sig, handler)

    def _take(self, *_signal: object) -> None:
        self.count += 1


class JobProcess:
    """A command in a session of its own, under a keeper.

    Args:
        command: its words.
        log: file for what it writes; replaced.
        seconds: that it may take; after that it is ended.
        environment: of it.
        lock: a descriptor that the keeper holds open, so that it is known when the last one is gone.
    """

    def __init__(
        self, command: Sequence[str], log: Path, seconds: float, environment: Mapping[str, str], lock: int
    ) -> None:
        self.limit = Deadline(seconds)
        self.timed_out = False
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", keeper.__name__, *command],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                pass_fds=(lock,),
                start_new_session=True,
            )
        self._ending: Deadline | None = None

    def poll(self) -> int | None:
        """Return the exit code if it is over, else None; ends what has taken too long."""
        if (code := self._process.poll()) is not None:
            self._close_pipe()
            return code
        if self.limit.expired and self._ending is None:
            self.timed_out = True
            self.end()
        if self._ending is not None and self._ending.expired:
            self.kill()
        return None

    def end(self) -> None:
        """Ask for its end; ``poll`` tells when it is over."""
        self._close_pipe()
        self._ending = self._ending or Deadline(keeper.MOST_SECONDS + 30)

    def kill(self) -> None:
        """End it at once: a keeper that does not do its work."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _close_pipe(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
