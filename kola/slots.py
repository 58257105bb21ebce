"""Cores of this host for what keeps them busy, the first boots of machines, shared by all runs of a user on it.

An emulated machine that boots keeps every one of its virtual CPUs busy: two that boot at once on the cores of one take
twice as long each, and come no sooner than one after the other. So a boot takes slots, of which there are as many as
cores. Each is a lock on a file; the kernel drops it when its process dies.

Who needs several slots gathers them one by one and meanwhile holds one more lock, the gate: only one gathers at a time.
So nobody waits for a slot that another gatherer holds, and one that needs many is not overtaken for ever by those that
need one. A holder never waits for more: it comes to an end and gives back what it has.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from kola.filelock import FileLock
from kola.wait import Deadline, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POLL_S = 0.1


def boot_weight(accelerator: str, vcpus: int) -> int:
    """Return how many slots a first boot takes.

    Under TCG as many as it has virtual CPUs; under KVM, where it is over in seconds, one; elsewhere none: it is other
    hosts that are busy.
    """
    return {"tcg": max(1, vcpus), "kvm": 1}.get(accelerator, 0)


class Hold:
    """Slots that are taken; a context manager that gives them back. They also end with their process."""

    def __init__(self) -> None:
        self._locks: list[FileLock] = []

    def __enter__(self) -> Hold:  # noqa: PYI034 - not made to be inherited from
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()

    def __len__(self) -> int:
        """How many."""
        return len(self._locks)

    def add(self, path: Path) -> bool:
        """Take one more slot if it is free."""
        lock = FileLock(path)
        # A slot that this process holds is not free for itself either.
        if lock.try_take():
            self._locks.append(lock)
            return True
        lock.release()
        return False

    def release(self) -> None:
        """Give them back; again does nothing."""
        while self._locks:
            self._locks.pop().release()


class Slots:
    """The slots of this host.

    Args:
        folder: on a local disk, the same for all who share the cores; made if missing.
        count: how many there are, at least 1; processes that see fewer cores use the first ones only.
        timeout: seconds after which a wait is given up.
    """

    def __init__(self, folder: Path, count: int, timeout: float) -> None:
        self.folder = folder
        self.count = count
        self.timeout = timeout

    def take(self, what: str, weight: int, on_wait: Callable[[str, float], None] | None = None) -> Hold:
        """Wait for slots and take them; never while holding others, or two could wait for each other.

        Args:
            what: what they are for, for messages.
            weight: how many; more than there are means all.
            on_wait: called with what is being waited for and the seconds since, again and again.

        Raises:
            WaitTimeout: they did not become free.
        """
        wanted = min(weight, self.count)
        limit = Deadline(self.timeout)
        need = f"{wanted} of {self.count} cores"

        def waiting(elapsed: float) -> None:
            if on_wait is not None:
                on_wait(f"waiting for {need}: other machines boot", elapsed)

        def wait(predicate: Callable[[], bool]) -> None:
            wait_until(predicate, limit, what=f"{need} for {what}", interval=POLL_S, progress=waiting)

        with contextlib.ExitStack() as undo:
            hold = undo.enter_context(Hold())
            if wanted:
                with Hold() as gate:
                    wait(lambda: gate.add(self._gate()))
                    wait(lambda: self._gather(hold, wanted))
            undo.pop_all()
        return hold

    def try_take(self, weight: int) -> Hold | None:
        """Take slots if they are free and nobody waits for some; harmless while holding others."""
        wanted = min(weight, self.count)
        hold = Hold()
        if not wanted:
            return hold
        with Hold() as gate:
            if gate.add(self._gate()) and self._gather(hold, wanted):
                return hold
            hold.release()
            return None

    @contextlib.contextmanager
    def take_some(
        self, count: int, what: str, weight: int, on_wait: Callable[[str, float], None] | None = None
    ) -> Iterator[list[Hold]]:
        """Take between one and ``count`` holds of that weight: wait for the first one, then take what else is free.

        For several machines of one test, which boot together as far as there are cores. What of it was not released
        earlier is released at the end of the context.

        Raises:
            WaitTimeout: not even the first became free.
        """
        with contextlib.ExitStack() as stack:
            holds = [stack.enter_context(self.take(what, weight, on_wait))]
            while len(holds) < count and (hold := self.try_take(weight)) is not None:
                holds.append(stack.enter_context(hold))
            yield holds

    def _gather(self, hold: Hold, wanted: int) -> bool:
        for number in range(self.count):
            if len(hold) < wanted:
                hold.add(self.folder / f"core-{number}")
        return len(hold) == wanted

    def _gate(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / "gate"
