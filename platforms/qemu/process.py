"""QEMU's process, held by a file descriptor so that a reused process id is never hit."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from kola.errors import PlatformError
from kola.platform import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

HELPERS = frozenset({"virtiofsd", "swtpm"})
"""Programs that run beside QEMU."""
_DEATH_SECONDS = 10.0
_KIB_PER_MIB = 1024
_NS_PER_S = 1e9
# Fields 14 and 15 of proc_pid_stat(5), user and system time in ticks, counted from behind the parenthesised name.
_TIMES = slice(11, 13)


class Process:
    """A process that is known by more than its number."""

    def __init__(self, pid: int) -> None:
        """Take hold of it.

        Raises:
            ProcessLookupError: there is none.
        """
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def close(self) -> None:
        """Let go of it; the process goes on."""
        os.close(self._descriptor)

    def alive(self) -> bool:
        """Tell whether it still runs; a zombie, which its parent has not yet seen die, does not."""
        return not self._ended(0)

    def kill(self) -> None:
        """Kill it and wait for its death, a few milliseconds. Nothing happens if it is dead.

        Raises:
            PlatformError: no permission, or it does not die (it hangs in the host's kernel).
        """
        try:
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
        except ProcessLookupError:
            return
        except PermissionError as e:
            raise PlatformError(f"QEMU (pid {self.pid}) runs as another user: it cannot be ended") from e
        if not self._ended(_DEATH_SECONDS):
            raise PlatformError(f"QEMU (pid {self.pid}) did not die within {_DEATH_SECONDS:.0f} s of SIGKILL")

    def environment(self) -> dict[str, str]:
        """Return the environment that it was started with; empty if it may not be read."""
        with contextlib.suppress(OSError):
            pairs = Path(f"/proc/{self.pid}/environ").read_bytes().decode(errors="replace").split("\0")
            return dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        return {}

    def usage(self) -> Usage | None:
        """Return what it takes of this host since it began; None if it is gone or belongs to another user."""
        proc = Path(f"/proc/{self.pid}")
        try:
            memory = memory_kib((proc / "smaps_rollup").read_text())
            times = (proc / "stat").read_text().rpartition(")")[2].split()[_TIMES]
            waited = sum(_waited_ns(task) for task in (proc / "task").iterdir())
        except OSError:
            return None
        if not self.alive():  # what was read may be another process's
            return None
        ticks = sum(int(time) for time in times)
        return Usage(memory / _KIB_PER_MIB, ticks / os.sysconf("SC_CLK_TCK"), waited / _NS_PER_S)

    def _ended(self, seconds: float) -> bool:
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        return bool(poller.poll(seconds * 1000))


def guests() -> Iterator[tuple[str, Process]]:
    """Yield the name and the process of every QEMU guest on this host; the caller closes each."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or _guest_name(int(entry.name)) is None:
            continue
        with contextlib.suppress(ProcessLookupError):
            process = Process(int(entry.name))
            # Asked again: only now is it certain that name and descriptor belong to one process.
            if (name := _guest_name(process.pid)) is None:
                process.close()
            else:
                yield name, process


def helpers() -> Iterator[Process]:
    """Yield the processes that run beside guests on this host, or look like it; the caller closes each."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if (entry / "comm").read_text().strip() in HELPERS:
                yield Process(int(entry.name))


def find_guest(name: str) -> Process | None:
    """Return the process of the guest with that name; the caller closes it."""
    wanted = None
    for found, process in guests():
        if found == name and wanted is None:
            wanted = process
        else:
            process.close()
    return wanted


def memory_kib(rollup: str) -> int:
    """Return from a /proc/PID/smaps_rollup how much memory is gone as long as the process lives, in KiB.

    That is anonymous and shared memory, in RAM and swapped out, each page divided by the number of processes that map
    it (Pss): what clones of one snapshot in shared memory have in common counts once over all of them. Pages of files
    are left out, so also those of a snapshot on disk that no clone has written to: they are page cache, one copy
    for all clones, which the kernel can drop. One that a clone wrote to is its own anonymous page.

    "Private" pages would not do: pages of a file are private as long as a single clone maps them and shared from the
    second one on, so that starting one clone would change what another one is charged.
    """
    sizes = {}
    for line in rollup.splitlines()[1:]:
        name, _, size = line.partition(":")
        sizes[name] = int(size.split()[0])
    # Linux before 5.3 does not divide Pss up: too much, never too little.
    resident = sizes["Pss_Anon"] + sizes["Pss_Shmem"] if "Pss_Anon" in sizes else sizes["Pss"]
    return resident + sizes.get("SwapPss", 0)


def _waited_ns(task: Path) -> int:
    """Return how long a thread waited for a core, in ns; 0 if it is gone or the kernel does not tell."""
    try:
        return int((task / "schedstat").read_text().split()[1])
    except OSError:
        return 0


def _guest_name(pid: int) -> str | None:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    if b"qemu" not in arguments[0]:
        return None
    for option, value in itertools.pairwise(arguments):
        if option == b"-name" and value.startswith(b"guest="):
            return value.removeprefix(b"guest=").split(b",")[0].decode(errors="replace")
    return None
