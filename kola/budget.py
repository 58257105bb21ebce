"""Memory that all worker processes of one run share, so that machines do not need more than the host has.

Everything a test needs is acquired in one step before its set-up: with parts of it in hand two workers could wait
for each other for ever. It is charged what its machines are expected to use, and then what they do use; why that is
safe is told by ``kola.ledger.Ledger``. The state is one small file that is replaced as a whole under a lock; a process
may die at any moment, and whoever looks next takes back what it held. (Its machines are the reaper's business,
``kola.reaper``: for the second or so until they are gone the memory is counted as free already.)
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import threading
from typing import TYPE_CHECKING

import psutil

from kola import cgroup
from kola.errors import ConfigError, WaitTimeout
from kola.filelock import FileLock
from kola.ledger import Entry, Ledger, State
from kola.process import ProcessId
from kola.wait import Deadline, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

POLL_S = 0.05
SHARE = 0.8
"""Part of the available memory that a run takes unless told otherwise."""

_MIB = 1024 * 1024
_LOG = logging.getLogger(__name__)


def available_memory_mib() -> int:
    """Return how much memory new processes can use without swapping, in MiB.

    That is the kernel's ``MemAvailable``, or less where the cgroup of this process (v2, or one above it) allows less.
    """
    limits = [room for folder in cgroup.own_folders() if (room := cgroup.memory_headroom(folder)) is not None]
    return int(min([psutil.virtual_memory().available, *limits]) // _MIB)


def default_budget_mib() -> int:
    """Return 80 % of the available memory, in MiB."""
    return int(available_memory_mib() * SHARE)


class Token:
    """Granted memory; a context manager that releases it. It also ends with its process.

    Attributes:
        mib: what it is charged, in MiB.
        most: what it may grow to, in MiB.
    """

    def __init__(self, budget: Budget, token_id: str, mib: int, most: int) -> None:
        self.budget = budget
        self.id = token_id
        self.mib = mib
        self.most = most

    def __enter__(self) -> Token:  # noqa: PYI034 - not made to be inherited from
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the memory back; again does nothing."""
        self.budget.release(self.id)

    def resize(self, mib: int) -> None:
        """Charge what was measured, in MiB, at least 1; more than ``most`` too: the memory is gone either way.

        Nobody is admitted while the charges and the reserve exceed the total. Nothing happens after the release.
        """
        self.mib = max(1, mib)
        with contextlib.suppress(FileNotFoundError):  # the whole run is over and its scratch folder gone
            self.budget.update(lambda ledger: ledger.resize(self.id, self.mib))

    def set_idle(self) -> None:
        """Say that the machine is kept but not in use: it may be evicted when somebody else cannot be served."""
        self.budget.update(lambda ledger: ledger.rest(self.id))

    def claim(self) -> bool:
        """Take an idle machine into use again.

        Returns:
            True: it is in use and cannot be evicted. False: it is not idle any more; somebody who waits needs the
            memory and the evictor destroys the machine. Ask for memory anew, in turn.
        """
        before, after = self.budget.update(lambda ledger: ledger.claim(self.id))
        was, now = before.find(self.id), after.find(self.id)
        return was is not None and was.state is State.IDLE and now is not None and now.state is State.BUSY


class Budget:
    """The memory of one run as one of its processes sees it.

    Args:
        folder: on a local disk, the same for all processes of the run; made if missing.
        total_mib: the same in all of them.
        worker: name of this process within the run, for messages.
    """

    def __init__(self, folder: Path, total_mib: int, worker: str) -> None:
        self.folder = folder
        self.total_mib = total_mib
        self.worker = worker
        self._looked: tuple[tuple[int, int, int], Deadline, Ledger] = ((0, 0, 0), Deadline(0), Ledger(total_mib))
        self._given: set[str] = set()
        self._given_lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def acquire(
        self,
        mib: int,
        *,
        what: str,
        timeout: float,
        most: int | None = None,
        on_wait: Callable[[str], None] | None = None,
        evict: Callable[[str], None] | None = None,
    ) -> Token:
        """Wait for memory: first come, first served, everything at once.

        Args:
            mib: what all machines together are expected to use, in MiB, at least 1.
            what: names the need in messages, such as a test's node id.
            timeout: seconds.
            most: what they may grow to, in MiB: what was declared. Default: ``mib``, they do not grow.
            on_wait: called with a line that says who holds what, first when there is a need to wait, then on change.
            evict: called in this thread with the id of each idle token of this process that has to go meanwhile; it
                destroys the machine and releases the token. Not needed beside an ``Evictor``.

        Raises:
            ConfigError: more (``most``) than the whole budget.
            WaitTimeout: not served in time; says who holds what.
        """
        most = mib if most is None else most
        if not 1 <= mib <= most:
            raise ValueError(f"cannot acquire {mib} MiB of at most {most} MiB")
        if most > self.total_mib:
            raise ConfigError(
                f"{what} needs {most} MiB of memory but the whole budget is {self.total_mib} MiB (--memory-budget)"
            )
        entry = Entry(secrets.token_hex(6), ProcessId.current(), self.worker, what, mib, most=most)
        said = ""

        def admitted() -> bool:
            nonlocal said
            granted, after = self._admit(entry)
            if granted:
                return True
            if on_wait is not None and str(after) != said:
                said = str(after)
                on_wait(f"waiting for {mib} MiB of memory ({said})")
            if evict is not None:
                for token_id in self.take_wanted():
                    evict(token_id)
            return False

        try:
            self.update(lambda ledger: ledger.add(entry))
            wait_until(admitted, timeout, what="memory", interval=POLL_S)
        except BaseException as e:
            # Also after an interrupt at the very moment of the grant: a forgotten ticket would stop everybody.
            ledger = self.usage()
            self.release(entry.id)
            if isinstance(e, WaitTimeout):
                raise WaitTimeout(
                    f"timed out after {timeout:.0f} s waiting for {mib} MiB of memory for {what}: {ledger}"
                ) from None
            raise
        return Token(self, entry.id, mib, most)

    def _admit(self, entry: Entry) -> tuple[bool, Ledger]:
        """Grant a request if it is its turn and there is room; return the ledger, too."""
        ledger = self._look()
        first = next(iter(ledger.waiters), entry)
        # Only the first in line can be served: who would take the lock just to look keeps it from being served.
        if first.id != entry.id and first.owner.alive():
            return False, ledger
        before, after = self.update(lambda ledger: ledger.admit(entry.id))
        return before != after, after

    def try_acquire(self, mib: int, *, what: str, most: int) -> Token | None:
        """Take memory as ``acquire`` does if there is room and nobody waits for some; for what can do without."""
        entry = Entry(secrets.token_hex(6), ProcessId.current(), self.worker, what, mib, most=most)

        def grant(ledger: Ledger) -> Ledger:
            with_it = ledger.add(entry)
            admitted = with_it.admit(entry.id)  # refused to all but the first in line
            return ledger if admitted == with_it else admitted

        before, after = self.update(grant)
        return None if before == after else Token(self, entry.id, mib, most)

    def usage(self) -> Ledger:
        """Return who holds and who waits for what at this moment; ``str()`` of it is a line for a person."""
        return self._read().living(ProcessId.alive)

    def wanted(self) -> list[str]:
        """Return the ids of this process's tokens that have to go, oldest first."""
        return self._due(self.usage())

    def _due(self, ledger: Ledger) -> list[str]:
        due = (*(entry for entry in ledger.entries if entry.state is State.DOOMED), *ledger.wanted())
        return [entry.id for entry in due if self._owns(entry)]

    def take_wanted(self) -> list[str]:
        """Return those of ``wanted`` that nobody has been given yet; from now on they cannot be claimed again."""
        if not self._due(self._look()):  # the common case does without the lock, and does not ask who is alive
            return []

        def doom(ledger: Ledger) -> Ledger:
            for entry in filter(self._owns, ledger.wanted()):
                ledger = ledger.doom(entry.id)
            return ledger

        with self._given_lock:
            _, after = self.update(doom)
            doomed = [entry.id for entry in after.entries if entry.state is State.DOOMED and self._owns(entry)]
            due = [token_id for token_id in doomed if token_id not in self._given]
            self._given.update(due)
        return due

    def release(self, token_id: str) -> None:
        """Give back a token or a place in the line; again does nothing."""
        with contextlib.suppress(FileNotFoundError):  # the whole run is over and its scratch folder gone
            self.update(lambda ledger: ledger.drop(token_id))

    def update(self, change: Callable[[Ledger], Ledger]) -> tuple[Ledger, Ledger]:
        """Change the ledger under the lock; what belonged to dead processes is dropped first.

        Returns:
            The ledger before and after the change.
        """
        with self._locked():
            stored = self._read()
            before = stored.living(ProcessId.alive)
            after = change(before)
            if after != stored:
                draft = self.folder / "state.new"
                draft.write_text(json.dumps(after.to_plain()), encoding="utf-8")
                draft.replace(self.folder / "state.json")
        return before, after

    def _read(self) -> Ledger:
        try:
            plain = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            plain = []
        return Ledger.from_plain(self.total_mib, plain)

    def _look(self) -> Ledger:
        """Return the ledger without the lock, for who asks many times a second; read anew if the file was replaced."""
        try:
            status = (self.folder / "state.json").stat()
        except FileNotFoundError:
            return Ledger(self.total_mib)
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        seen, age, ledger = self._looked
        if seen != stamp or age.expired:  # two files within a tick of the clock could look the same
            ledger = self._read()
            self._looked = stamp, Deadline(1), ledger
        return ledger

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with FileLock(self.folder / "lock") as lock:
            lock.take()
            yield

    def _owns(self, entry: Entry) -> bool:
        return entry.worker == self.worker and entry.owner == ProcessId.current()


class Evictor:
    """A thread that gets rid of this process's idle machines when others wait for their memory; a context manager.

    Args:
        budget: of this process.
        callback: called in the thread with a token's id; it destroys the machine and releases the token. What it raises
            is logged, leaves the token held (the machine may still be there) and is raised when the context ends.
        interval: seconds between two looks.
    """

    def __init__(self, budget: Budget, callback: Callable[[str], None], interval: float = POLL_S) -> None:
        self.budget = budget
        self.callback = callback
        self.interval = interval
        self._error: Exception | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kola-evictor", daemon=True)

    def __enter__(self) -> Evictor:  # noqa: PYI034 - not made to be inherited from
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        if self._error is not None and value is None:
            raise self._error

    def _run(self) -> None:
        while not self._end.wait(self.interval):
            for token_id in self.budget.take_wanted():
                try:
                    self.callback(token_id)
                except Exception as e:  # noqa: BLE001 - raised again where the context ends
                    _LOG.exception("an idle machine could not be evicted")
                    self._error = self._error or e
