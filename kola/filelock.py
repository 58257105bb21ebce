"""Locks between processes: one on a file, which the kernel drops when its holder dies."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class FileLock:
    """A lock on a file; a context manager that releases it. Not taken yet when it is made.

    It belongs to this object, not to its process: a second one on the same file is somebody else.

    Args:
        path: on a local disk, in a folder that exists; made if missing, and left there.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def __enter__(self) -> FileLock:  # noqa: PYI034 - not made to be inherited from
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()

    def fileno(self) -> int:
        """Return the descriptor: a process that inherits it holds the lock, too."""
        return self._file.fileno()

    def take(self, *, shared: bool = False) -> None:
        """Wait until nobody else has it (but to share it, if ``shared``), and take it.

        What is held already is turned into the other kind. That is no single step: another may have it in between.
        """
        fcntl.flock(self._file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)

    def try_take(self, *, shared: bool = False) -> bool:
        """Do as ``take`` does, without waiting; tell whether it is taken. If not, what was held before is lost, too."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_NB | (fcntl.LOCK_SH if shared else fcntl.LOCK_EX))
        except BlockingIOError:
            return False
        return True

    def leave(self) -> None:
        """Let go of it in this process only: one that inherited the descriptor still holds the lock."""
        self._file.close()

    def release(self) -> None:
        """Give it back for good; again does nothing."""
        if not self._file.closed:
            # A child forked meanwhile by another thread has the lock, too: closing would not end it.
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file.close()
