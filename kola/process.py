"""Which process is meant: a pid alone may have been given to another one since."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STATE, _START = 0, 19  # fields 3 and 22 of proc_pid_stat(5), counted from behind the parenthesised name


@dataclass(frozen=True)
class ProcessId:
    """One process of this host, never confused with a later one of the same pid.

    The start time is counted by the kernel in ticks since boot. psutil's ``create_time()`` adds the wall clock to it,
    so that one step of the clock would make every living process look dead.

    Attributes:
        pid: the number.
        started: boot id and ticks from boot to the start of the process, ``BOOTID:TICKS``.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Return the identity of the process that has this pid now; None if there is none or it is a zombie."""
        try:
            stat = (_PROC / str(pid) / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = stat.rpartition(")")[2].split()
        if fields[_STATE] in "ZX":
            return None
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return cls(pid, f"{boot}:{fields[_START]}")

    @classmethod
    def current(cls) -> ProcessId:
        """Return the identity of the calling process."""
        found = cls.of(os.getpid())
        if found is None:
            raise OSError("this process is not in /proc")
        return found

    def alive(self) -> bool:
        """Tell whether this very process still runs (a zombie does not)."""
        return ProcessId.of(self.pid) == self

    def kill(self, sig: signal.Signals = signal.SIGKILL) -> bool:
        """Send a signal if this very process still runs; tell whether it was sent."""
        if not self.alive():
            return False
        try:
            os.kill(self.pid, sig)
        except ProcessLookupError:
            return False
        return True
