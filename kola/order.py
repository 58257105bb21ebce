"""Which test a worker gets next: the longest work first, seen over all workers; pure.

A worker has to know its next test before it begins the current one (xdist wants that), so a choice is made for the
moment when the worker will be free, not for now. What a plan for all workers would give it at that moment is what it
gets: nobody who runs a long test is handed another that somebody else could begin earlier, and the short tests are left
for the end.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

STEPS = 4
"""Steps in which a length doubles. Durations vary from run to run: those within one step, a fifth, count as equal."""


@dataclass(frozen=True)
class Job:
    """What the scheduler knows of a test.

    Attributes:
        index: position in the collection.
        group: tests with the same group can share a machine; empty for a test of its own.
        cost: expected seconds.
        machine: key of the machine that it needs; equally long tests of the same follow each other.
    """

    index: int
    group: str = ""
    cost: float = 1.0
    machine: str = ""


@dataclass(frozen=True)
class Seat:
    """What is known of a worker.

    Attributes:
        group: of the shared machine that it has after the tests that it holds, or "".
        busy: expected seconds until it has run those.
    """

    group: str = ""
    busy: float = 0.0


@dataclass(frozen=True)
class Piece:
    """Work that one worker does in one go: a test, or its part of a group; ``first`` is what it begins with."""

    size: float
    first: Job

    @property
    def rank(self) -> tuple[int, str, int]:
        """Sort by this: the longest first, then by machine, then by position."""
        return (-magnitude(self.size), self.first.machine, self.first.index)


def magnitude(seconds: float) -> int:
    """Return a number that is equal for lengths that cannot be told apart."""
    return math.floor(STEPS * math.log2(max(seconds, 0.001)))


def job_rank(job: Job) -> tuple[int, str, int]:
    """Sort jobs by this; as ``Piece.rank``."""
    return Piece(job.cost, job).rank


def choose(pending: Sequence[Job], mine: Seat, others: Sequence[Seat] = (), boot: float = 0.0) -> Job:
    """Choose the next job for a worker.

    A worker stays with its shared machine while that has work. Otherwise all work is dealt out in the mind, piece by
    piece, the longest first, each to the worker that is free first; the first piece that falls to this worker is its.
    If none does, because it is busy longer than all the rest needs, it gets the shortest job.

    Args:
        pending: the jobs to choose from, not empty.
        mine: the worker that the choice is for.
        others: the other workers.
        boot: expected seconds until a machine is up, to be spent by who helps with a group that others have.
    """
    groups: dict[str, list[Job]] = {}
    for job in pending:
        groups.setdefault(job.group, []).append(job)
    if mine.group and mine.group in groups:
        return min(groups[mine.group], key=job_rank)
    pieces = [Piece(job.cost, job) for job in groups.pop("", ())]
    owners = Counter(seat.group for seat in others if seat.group in groups)
    weight = {group: sum(job.cost for job in jobs) for group, jobs in groups.items()}
    rest = sum(job.cost for job in pending) + sum(seat.busy for seat in (mine, *others))
    share = max(rest / (1 + len(others)), 0.001)
    for group, jobs in groups.items():
        size, owned = weight[group], owners[group]
        # A group that is more than one worker's share of what is left gets several machines, if their boot pays.
        machines = min(len(jobs), math.ceil(size / share))
        if size / max(1, owned) <= boot + size / max(1, machines):
            machines = 1
        piece = Piece(size / machines + (boot if owned else 0.0), min(jobs, key=job_rank))
        pieces += [piece] * (machines - owned)
    free = [seat.busy + (weight[seat.group] / owners[seat.group] if seat.group in owners else 0.0) for seat in others]
    heapq.heapify(free)
    for piece in sorted(pieces, key=lambda piece: piece.rank):
        if not free or mine.busy <= free[0]:
            return piece.first
        heapq.heapreplace(free, free[0] + piece.size)
    return min(pending, key=lambda job: (job.cost + (boot if job.group else 0.0), job.index))
