"""Programs that run beside one machine's QEMU, each behind a socket that QEMU connects to.

They end by themselves when QEMU does, so also beside a machine that is kept, after a kill, or when a daemon ends it.
Their environment carries the machine's tags: a sweep finds one whose QEMU never came.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola.errors import PlatformError, WaitTimeout
from kola.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from platforms.qemu.tags import Tags

_START_SECONDS = 20.0
_END_SECONDS = 5.0


@dataclass(frozen=True)
class Helper:
    """A program to be started.

    Attributes:
        command: its whole command line.
        socket: where it listens once it is ready.
    """

    command: tuple[str, ...]
    socket: Path

    @property
    def log(self) -> str:
        """The name of the file with what it says."""
        return f"{self.socket.stem}.log"


def start(helper: Helper, tags: Tags) -> subprocess.Popen[bytes]:
    """Start a helper, and wait until it listens.

    Args:
        helper: which.
        tags: of its machine; what it says is kept with the machine's logs.

    Raises:
        PlatformError: it does not start, or ends at once; with what it said last.
    """
    log = tags.artifacts / helper.log
    try:
        with log.open("wb") as file:
            process = subprocess.Popen(
                helper.command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **tags.as_environment()},
                start_new_session=True,  # Ctrl-C is for pytest, which ends the machine
            )
    except OSError as e:
        raise PlatformError(f"machine {tags.name}: {helper.command[0]} does not start: {e.strerror}") from e
    try:
        wait_until(
            lambda: helper.socket.exists() or process.poll() is not None,
            _START_SECONDS,
            what=f"{helper.command[0]} to listen",
            interval=0.01,
        )
    except BaseException as e:
        end(process, patience=0)
        if isinstance(e, WaitTimeout):
            raise PlatformError(f"machine {tags.name}: {e}") from e
        raise
    if process.poll() is not None:
        said = (log.read_text(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise PlatformError(f"machine {tags.name}: {helper.command[0]} ended at once: {said}")
    return process


def let_go(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Leave helpers running after this process, like their machine."""
    for process in processes:
        process.returncode = 0  # else Python complains that nobody waits for it


def end(process: subprocess.Popen[bytes], *, patience: float = _END_SECONDS) -> None:
    """See a helper end, whose QEMU has ended; it is killed if it does not by itself."""
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
