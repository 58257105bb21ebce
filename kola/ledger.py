"""Who holds how much of a run's memory and who waits for it: pure, plain data (``kola.budget`` keeps it in a file)."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from kola.process import ProcessId

if TYPE_CHECKING:
    from collections.abc import Callable


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
        mib: amount in MiB.
        state: where it stands.
    """

    id: str
    owner: ProcessId
    worker: str
    what: str
    mib: int
    state: State = State.WAITING

    def __str__(self) -> str:
        """One line for a person."""
        state = "" if self.state in {State.WAITING, State.BUSY} else f" ({self.state})"
        return f"{self.worker} {self.what} {self.mib} MiB{state}"


@dataclass(frozen=True)
class Ledger:
    """All entries of a run; the order says who waits, or is idle, longest (first).

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
        """Memory that nobody holds, in MiB."""
        return self.total_mib - self.used_mib

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
        for title, entries in (("held by", self.holders), ("waiting", self.waiters)):
            if entries:
                text += f"; {title}: {', '.join(str(entry) for entry in entries)}"
        return text

    def find(self, entry_id: str) -> Entry | None:
        """Return the entry, None if there is none."""
        return next((entry for entry in self.entries if entry.id == entry_id), None)

    def wanted(self) -> tuple[Entry, ...]:
        """Return the idle entries that have to go, oldest first, so that the first in line can be served.

        None if it can be served anyhow, or not even so: then it has to wait for a busy one in any case.
        """
        if not self.waiters:
            return ()
        missing = self.waiters[0].mib - self.free_mib - sum(entry.mib for entry in self._in(State.DOOMED))
        idle = self._in(State.IDLE)
        if missing <= 0 or sum(entry.mib for entry in idle) < missing:
            return ()
        chosen: list[Entry] = []
        for entry in idle:
            if sum(e.mib for e in chosen) < missing:
                chosen.append(entry)
        for entry in tuple(chosen):  # a bigger one that came later may have made a small one superfluous
            if sum(e.mib for e in chosen) - entry.mib >= missing:
                chosen.remove(entry)
        return tuple(chosen)

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
        if not self.waiters or self.waiters[0].id != entry_id or self.waiters[0].mib > self.free_mib:
            return self
        return self._set(entry_id, State.BUSY)

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
