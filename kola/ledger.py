"""Who holds how much of a run's memory and who waits for it: pure, plain data (``kola.budget`` keeps it in a file)."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from kola.process import ProcessId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class State(enum.StrEnum):
    """The life of an entry, in this order; an idle one may become busy again."""

    WAITING = "waiting"
    BUSY = "busy"
    IDLE = "idle"
    """Held by a machine that nothing uses at the moment: it may have to go for somebody who waits."""
    DOOMED = "doomed"
    """Its machine is being destroyed; the memory is free once it is released."""


@dataclass(frozen=True)
class Entry:
    """One request, granted or not.

    Attributes:
        id: unique within the run.
        owner: the process that asked; with its end the entry ends.
        worker: that process's name, for messages.
        what: what the memory is for, such as a test's node id.
        mib: what it is charged at the moment, in MiB: what its machines really use as far as that is known.
        state: where it stands.
        most: what it may grow to, in MiB: the declaration. What is less than ``mib`` means that it does not grow.
    """

    id: str
    owner: ProcessId
    worker: str
    what: str
    mib: int
    state: State = State.WAITING
    most: int = 0

    @property
    def growth_mib(self) -> int:
        """What it may come to use beyond what it is charged, in MiB."""
        return max(0, self.most - self.mib)

    def __str__(self) -> str:
        """One line for a person."""
        notes = [f"up to {self.most}"] if self.growth_mib else []
        if self.state not in {State.WAITING, State.BUSY}:
            notes.append(self.state)
        return f"{self.worker} {self.what} {self.mib} MiB" + (f" ({', '.join(notes)})" if notes else "")


@dataclass(frozen=True)
class Ledger:
    """All entries of a run; the order says who waits, or is idle, longest (first).

    What is granted is charged what it really uses, which is less than what it may come to use. So one is admitted if
    the charges of all, and beside them the largest growth that any single one is capable of, fit the total: whichever
    test grows to all that it declared, at whatever moment, the memory is there.

    Why one and not two: growth is the exception. A charge is what the same machine used at most in earlier runs and a
    quarter more (``kola.usage``), and without such knowledge it is the whole declaration; these margins are there for
    every holder and so grow with their number, and a fifth of the host's memory stays out of the default budget. A
    reserve of two would make two tests side by side as expensive as if both were charged what they declare, on
    the small hosts that this is for. Should two of them grow at the same time nonetheless, the charges follow within
    seconds and nobody is admitted until the total is respected again.

    Attributes:
        total_mib: what all that is granted may add up to.
        entries: waiting and granted.
    """

    total_mib: int
    entries: tuple[Entry, ...] = ()

    @property
    def used_mib(self) -> int:
        """Memory that is granted, in MiB."""
        return sum(entry.mib for entry in self.holders)

    @property
    def free_mib(self) -> int:
        """Memory that nobody holds, in MiB; negative after more than the reserve has been grown into."""
        return self.total_mib - self.used_mib

    @property
    def reserve_mib(self) -> int:
        """Memory that is kept free so that any one holder may grow, in MiB."""
        return max((entry.growth_mib for entry in self.holders), default=0)

    @property
    def holders(self) -> tuple[Entry, ...]:
        """What is granted."""
        return tuple(entry for entry in self.entries if entry.state is not State.WAITING)

    @property
    def waiters(self) -> tuple[Entry, ...]:
        """Who waits, in the order in which they will be served."""
        return self._in(State.WAITING)

    def __str__(self) -> str:
        """One line for a person: what is free, who holds what, who waits."""
        text = f"{self.free_mib} of {self.total_mib} MiB free"
        if self.reserve_mib:
            text += f" ({self.reserve_mib} of that reserved for growth)"
        for title, entries in (("held by", self.holders), ("waiting", self.waiters)):
            if entries:
                text += f"; {title}: {', '.join(str(entry) for entry in entries)}"
        return text

    def find(self, entry_id: str) -> Entry | None:
        """Return the entry, None if there is none."""
        return next((entry for entry in self.entries if entry.id == entry_id), None)

    def fits(self, entries: Iterable[Entry]) -> bool:
        """Tell whether these may hold memory side by side: what they are charged and the largest growth of one."""
        together = tuple(entries)
        reserve = max((entry.growth_mib for entry in together), default=0)
        return sum(entry.mib for entry in together) + reserve <= self.total_mib

    def wanted(self) -> tuple[Entry, ...]:
        """Return the idle entries that have to go, oldest first, so that the first in line can be served.

        If it takes the end of busy ones, too, only those idle ones have to go that would still be in the way then:
        otherwise machines that are idle in turn could keep it waiting for ever.
        """
        if not self.waiters:
            return ()
        first, idle, busy = self.waiters[0], self._in(State.IDLE), self._in(State.BUSY)

        def served_without(gone: Iterable[Entry]) -> bool:
            ids = {entry.id for entry in gone}
            return self.fits((first, *(entry for entry in (*idle, *busy) if entry.id not in ids)))

        chosen: list[Entry] = []
        for entry in (*idle, *busy):
            if not served_without(chosen):
                chosen.append(entry)
        for entry in tuple(chosen):  # a bigger one that came later may have made a small one superfluous
            if served_without(other for other in chosen if other is not entry):
                chosen.remove(entry)
        return tuple(entry for entry in chosen if entry.state is State.IDLE)

    def living(self, alive: Callable[[ProcessId], bool]) -> Ledger:
        """Drop what belongs to processes that are gone."""
        dead = {owner for owner in {entry.owner for entry in self.entries} if not alive(owner)}
        return replace(self, entries=tuple(entry for entry in self.entries if entry.owner not in dead))

    def add(self, entry: Entry) -> Ledger:
        """Put a request at the end of the line."""
        return replace(self, entries=(*self.entries, entry))

    def drop(self, entry_id: str) -> Ledger:
        """Remove an entry, granted or not; none is fine too."""
        return replace(self, entries=tuple(entry for entry in self.entries if entry.id != entry_id))

    def admit(self, entry_id: str) -> Ledger:
        """Grant a request if it is the first in line and there is room. Strictly in turn: nobody starves."""
        if not self.waiters or self.waiters[0].id != entry_id or not self.fits((*self.holders, self.waiters[0])):
            return self
        return self._set(entry_id, State.BUSY)

    def resize(self, entry_id: str, mib: int) -> Ledger:
        """Charge a granted entry what it was found to use, also more than it declared: the memory is gone either way.

        What waits, or is no more, stays as it is.
        """
        return replace(
            self,
            entries=tuple(
                replace(e, mib=mib) if e.id == entry_id and e.state is not State.WAITING else e for e in self.entries
            ),
        )

    def rest(self, entry_id: str) -> Ledger:
        """Mark a busy entry as idle, the youngest of the idle ones."""
        entry = self.find(entry_id)
        if entry is None or entry.state is not State.BUSY:
            return self
        return self.drop(entry_id).add(replace(entry, state=State.IDLE))

    def claim(self, entry_id: str) -> Ledger:
        """Take an idle entry into use again, unless somebody needs it more: then it is doomed."""
        entry = self.find(entry_id)
        if entry is None or entry.state is not State.IDLE:
            return self
        return self._set(entry_id, State.DOOMED if entry in self.wanted() else State.BUSY)

    def doom(self, entry_id: str) -> Ledger:
        """Mark an idle entry that is wanted as doomed; any other stays what it is."""
        return self._set(entry_id, State.DOOMED) if entry_id in {entry.id for entry in self.wanted()} else self

    def to_plain(self) -> list[dict[str, Any]]:
        """Return the entries as builtin types."""
        return [asdict(entry) for entry in self.entries]

    @classmethod
    def from_plain(cls, total_mib: int, plain: list[dict[str, Any]]) -> Ledger:
        """Return what ``to_plain`` took apart."""
        entries = (
            Entry(**{**entry, "owner": ProcessId(**entry["owner"]), "state": State(entry["state"])}) for entry in plain
        )
        return cls(total_mib, tuple(entries))

    def _in(self, state: State) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.state is state)

    def _set(self, entry_id: str, state: State) -> Ledger:
        return replace(self, entries=tuple(replace(e, state=state) if e.id == entry_id else e for e in self.entries))
