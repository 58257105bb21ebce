"""The saved machines of one user's cache: found by key, verified, locked against other runs, limited in size and age.

A folder for each key, complete or not there at all: it is made as a draft and renamed. One lock file for each key:
who makes or removes the entry holds it exclusively, who restores from it shares it for that second. The kernel drops
the lock of a killed process, so whoever comes next finds the draft it left and begins anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kola.errors import PlatformError
from kola.filelock import FileLock
from kola.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CLONE_FOLDER = "clones"
"""Below the user's cache folder."""
FORMAT = 1
MANIFEST = "manifest.json"
CLAIM_SECONDS = 3600.0
"""How long to wait for another process that makes the same entry: a boot on a busy host."""
_DRAFT = ".draft"
_MIB = 1 << 20
_CHUNK = 4 * _MIB


class Damaged(Exception):
    """An entry is not what its manifest says."""


@dataclass(frozen=True)
class Limits:
    """How much is kept: MiB of all entries together, and days since an entry was last used."""

    size_mib: int = 20 * 1024
    age_days: float = 14.0


@dataclass(frozen=True)
class Entry:
    """A saved machine on disk.

    Attributes:
        key: what it was made of (``kola.clones.clone_key``).
        folder: with its files.
        made: tells it from a later one of the same key.
        facts: what its maker wrote down.
    """

    key: str
    folder: Path
    made: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Removed:
    """What ``CloneCache.collect`` removed, its size in MiB, and why."""

    key: str
    mib: int
    why: str


class Claim:
    """The right to use one key: an ``entry`` to restore from, or a ``draft`` folder to be filled, never both."""

    def __init__(self, cache: CloneCache, key: str, lock: FileLock) -> None:
        self.cache = cache
        self.key = key
        self.entry: Entry | None = None
        self.draft: Path | None = None
        self._lock = lock

    def settle(self) -> bool:
        """Find the entry, or make room for one if this process holds the lock alone; false if it does neither."""
        folder = self.cache.folder / self.key
        try:
            self.entry = self.cache.read(self.key)
        except FileNotFoundError:
            pass
        except Damaged as e:
            self.cache.say(f"saved machine {self.key} is damaged ({e}): dropped")
        else:
            return True
        if not self._lock.try_take():
            return False
        with contextlib.suppress(FileNotFoundError, Damaged):
            self.cache.read(self.key)
            return False  # somebody else was faster: it has to be shared
        shutil.rmtree(folder, ignore_errors=True)
        self.draft = self.cache.draft(self.key)
        shutil.rmtree(self.draft, ignore_errors=True)
        self.draft.mkdir(mode=0o700)
        return True

    def reject(self) -> None:
        """Drop an entry that cannot be restored, and settle anew: its place may be taken by now."""
        bad, self.entry = self.entry, None
        self._lock.take()  # others restore for a second
        with contextlib.suppress(FileNotFoundError, Damaged):
            if bad is not None and self.cache.read(self.key).made == bad.made:
                shutil.rmtree(bad.folder)
        self.settle()

    def commit(self, facts: Mapping[str, Any]) -> Entry:
        """Turn the filled draft into the entry; from now on others restore from it, before the claim is closed, too.

        Raises:
            PlatformError: it cannot be written.
        """
        assert self.draft is not None  # noqa: S101 - for the type checker
        made = f"{time.time():.6f} {os.getpid()}"
        try:
            files = {str(path.relative_to(self.draft)): _sum(path) for path in _files(self.draft)}
            manifest = {"format": FORMAT, "made": made, "facts": facts, "files": files}
            (self.draft / MANIFEST).write_text(json.dumps(manifest, indent=1))
            self.draft.replace(self.cache.folder / self.key)
        except OSError as e:
            raise PlatformError(f"the machine cannot be saved in {self.draft}: {e.strerror}") from e
        self.draft = None
        self.entry = self.cache.read(self.key)
        self._lock.try_take(shared=True)  # if not, somebody removes the entry right now: no harm to who made it
        return self.entry

    def close(self) -> None:
        """Give the key back; a draft that was not committed goes."""
        if self.draft is not None:
            shutil.rmtree(self.draft, ignore_errors=True)
        self._lock.release()


class CloneCache:
    """The saved machines below one folder, which is made readable by its owner alone.

    Args:
        folder: on a local disk.
        limits: what ``collect`` keeps.
        say: told what a person should know.
    """

    def __init__(self, folder: Path, limits: Limits, say: Callable[[str], None] = lambda _: None) -> None:
        self.folder = folder
        self.limits = limits
        self.say = say
        self._verified: set[tuple[str, str]] = set()

    @contextlib.contextmanager
    def claim(self, key: str, on_wait: Callable[[float], None]) -> Iterator[Claim]:
        """Get an entry to restore from, or the right to make it; waits while another process makes it.

        Args:
            key: of the entry.
            on_wait: called with the seconds waited so far, several times a second.

        Raises:
            WaitTimeout: the other process did not come to an end.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

        def attempt() -> Claim | None:
            lock = FileLock(self._lock_path(key))
            claim = Claim(self, key, lock)
            if lock.try_take(shared=True) and claim.settle():
                return claim
            lock.release()
            return None

        claim = wait_until(attempt, CLAIM_SECONDS, what="another process that boots the same machine", progress=on_wait)
        assert claim is not None  # noqa: S101 - for the type checker
        with contextlib.closing(claim):
            yield claim

    def peek(self, key: str) -> bool:
        """Tell whether there is an entry; it may be gone, or damaged, by the time it is used."""
        return (self.folder / key / MANIFEST).exists()

    def read(self, key: str) -> Entry:
        """Read and verify an entry: all of it at the first use in this process, sizes afterwards.

        Raises:
            FileNotFoundError: there is none.
            Damaged: it is not what its manifest says.
        """
        folder = self.folder / key
        text = (folder / MANIFEST).read_text()
        try:
            manifest = json.loads(text)
            if manifest["format"] != FORMAT:
                raise Damaged(f"format {manifest['format']}")
            entry = Entry(key, folder, manifest["made"], manifest["facts"])
            self._verify(entry, manifest["files"])
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise Damaged(f"{MANIFEST}: {e}") from e
        os.utime(folder / MANIFEST)  # its last use
        return entry

    def _verify(self, entry: Entry, files: Mapping[str, list[int]]) -> None:
        known = (entry.key, entry.made) in self._verified
        for name, (size, crc) in files.items():
            path = entry.folder / name
            try:
                found = path.stat().st_size
                if found != size:
                    raise Damaged(f"{name} has {found} bytes, not {size}")
                if not known and _sum(path)[1] != crc:
                    raise Damaged(f"{name} has another checksum")
            except OSError as e:
                raise Damaged(f"{name}: {e.strerror}") from e
        self._verified.add((entry.key, entry.made))

    def draft(self, key: str) -> Path:
        """Return where an entry is made."""
        return self.folder / f"{key}{_DRAFT}"

    def make_room(self, mib: int) -> None:
        """See to it that so much can be written, by removing what was not used for the longest time.

        Raises:
            PlatformError: there would not be enough space even with all removed that nobody uses; then all stays.
        """
        if self.free_mib() < mib:
            why = "there was no space"
            idle = [
                found for key in self._by_age() for found in self._remove(key, self.folder / key, why, dry_run=True)
            ]
            if self.free_mib() + sum(entry.mib for entry in idle) >= mib:
                for entry in idle:
                    if self.free_mib() < mib:
                        self._remove(entry.key, self.folder / entry.key, why)
        if (free := self.free_mib()) < mib:
            raise PlatformError(f"{free} MiB free in {self.folder}, a saved machine may need {mib} MiB")

    def free_mib(self) -> int:
        """Return the space that is left on the disk."""
        return shutil.disk_usage(self.folder).free // _MIB

    def size_mib(self) -> int:
        """Return what all entries take."""
        return sum(_mib(self.folder / key) for key in self._by_age())

    def count(self) -> int:
        """Return the number of entries."""
        return len(self._by_age())

    def collect(self, *, dry_run: bool = False) -> list[Removed]:
        """Remove what is too old, then what was not used for the longest time until the rest is small enough.

        Drafts of killed processes go, too. What others use at this moment stays.

        Args:
            dry_run: only say what would go.
        """
        removed: list[Removed] = []
        oldest = time.time() - self.limits.age_days * 86400
        total = self.size_mib()
        for path in sorted(self.folder.glob(f"*{_DRAFT}")):
            removed += self._remove(path.stem, path, "its making was interrupted", dry_run=dry_run)
        for key in self._by_age():
            used = self._used(key)
            if not used:
                continue  # somebody else has removed it
            if used < oldest:
                why = f"not used for {(time.time() - used) / 86400:.0f} days"
            elif total > self.limits.size_mib:
                why = f"all together had more than {self.limits.size_mib} MiB"
            else:
                continue
            gone = self._remove(key, self.folder / key, why, dry_run=dry_run)
            total -= sum(entry.mib for entry in gone)
            removed += gone
        return removed

    def _remove(self, key: str, folder: Path, why: str, *, dry_run: bool = False) -> list[Removed]:
        """Remove an entry or a draft unless somebody uses it or was faster; return what goes."""
        with FileLock(self._lock_path(key)) as lock:
            if not lock.try_take() or not folder.exists():
                return []
            mib = _mib(folder)
            if not dry_run:
                shutil.rmtree(folder, ignore_errors=True)
            return [Removed(key, mib, why)]

    def _by_age(self) -> list[str]:
        """Return the keys of all entries, the one that was not used for the longest time first."""
        folders = (path.parent for path in self.folder.glob(f"*/{MANIFEST}"))
        # A draft has its manifest for a moment before it is the entry.
        return sorted((folder.name for folder in folders if folder.suffix != _DRAFT), key=self._used)

    def _used(self, key: str) -> float:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / key / MANIFEST).stat().st_mtime
        return 0.0

    def _lock_path(self, key: str) -> Path:
        return self.folder / f"{key}.lock"


def _files(folder: Path) -> list[Path]:
    """Return what is there now: files and folders may go at any moment."""
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names if name != MANIFEST)
    return sorted(path for path in paths if path.is_file())


def _mib(folder: Path) -> int:
    size = 0
    for path in _files(folder):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_blocks * 512
    return size // _MIB


def _sum(path: Path) -> list[int]:
    """Return size and CRC-32 of a file: against accidents, nobody else can write here; several GB/s."""
    crc = size = 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            crc = zlib.crc32(chunk, crc)
            size += len(chunk)
    return [size, crc]
