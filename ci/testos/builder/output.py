"""What the person in front of the terminal sees, and how tools are run: quietly, into a log."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import BuildError

TAIL_LINES = 25


@dataclass(frozen=True)
class Output:
    """Progress on standard output, the tools' own words in a log file."""

    log: Path
    verbose: bool = False

    def note(self, text: str) -> None:
        """Print one indented line."""
        print(f"    {text}", flush=True)

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Announce a stage, and say how long it took."""
        bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
        print(f"{bold}==>{plain} {name} ({what})", flush=True)
        began = time.monotonic()
        yield
        self.note(f"{time.monotonic() - began:.1f} s")

    def run(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
    ) -> str:
        """Run a tool; its output goes to the log. The tail of the log is part of the error."""
        words = [str(word) for word in command]
        shown = shlex.join(words)
        # A tool must not outlive this process: it would go on writing into a folder that the next run removes.
        guarded = ["setpriv", "--pdeathsig", "KILL", *words]
        with self.log.open("ab") as log:
            log.write(f"+ {shown}\n".encode())
            log.flush()
            if self.verbose:
                print(f"    + {shown}", flush=True)
            done = subprocess.run(
                guarded,
                input=stdin if stdin is not None else b"",
                stdout=subprocess.PIPE,
                stderr=None if self.verbose else log,
                env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
                check=False,
            )
            log.write(done.stdout)
        if self.verbose:
            sys.stdout.write(done.stdout.decode(errors="replace"))
        if done.returncode != 0:
            raise BuildError(f"this failed ({done.returncode}): {shown}\n{self.tail()}\n    the whole log: {self.log}")
        return done.stdout.decode(errors="replace")

    def tail(self) -> str:
        """The last lines of the log, indented."""
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join(f"    | {line}" for line in lines)
