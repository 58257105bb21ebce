"""Which worker runs which test next: kola's scheduler for pytest-xdist.

xdist's own schedulers hand each worker a batch of consecutive tests. Machine tests are few and long, so here a worker
holds one test ahead and no more (xdist needs to know the next test before it runs the current one), shared machines
stay with the worker that booted them, and the longest remaining work goes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from xdist.remote import Producer
from xdist.report import report_collection_diff

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xdist.workermanage import WorkerController

AHEAD = 2
"""Tests that a worker holds: the one that it runs and the next."""


@dataclass(frozen=True)
class Job:
    """What the scheduler knows of a test.

    Attributes:
        index: position in the collection.
        group: tests with the same group can share a machine; empty for a test of its own.
        cost: expected seconds, to compare tests with each other.
    """

    index: int
    group: str = ""
    cost: float = 0.0


def choose(pending: Sequence[Job], mine: str, taken: Mapping[str, int]) -> Job:
    """Choose the next job for a worker.

    Args:
        pending: the jobs to choose from, not empty.
        mine: the group of the shared machine that this worker has, or "".
        taken: group -> number of other workers that have a machine for it.

    A worker stays with its own shared machine while that has work, then starts the largest piece of work that nobody
    has a machine for (a group counts as the sum of its jobs), and helps another worker's group last: that costs a
    boot. Deterministic: ties go to the first in the collection.
    """
    weight: dict[str, float] = {}
    for job in pending:
        weight[job.group] = weight.get(job.group, 0.0) + job.cost

    def rank(job: Job) -> tuple[int, float, int]:
        if job.group and job.group == mine:
            return (0, 0.0, job.index)
        size = weight[job.group] if job.group else job.cost
        return (2 if taken.get(job.group) else 1, -size, job.index)

    return min(pending, key=rank)


class KolaScheduling:
    """Implements xdist's ``Scheduling`` protocol (``xdist.scheduler.protocol``) with ``choose``."""

    def __init__(self, config: pytest.Config, workers: int, jobs: Mapping[str, Job] | None = None) -> None:
        self.config = config
        self.workers = workers
        self.known = jobs or {}
        self.log = Producer("kola-scheduler", enabled=config.option.debug)
        self.collection: list[str] | None = None
        self._collections: dict[WorkerController, list[str]] = {}
        self._held: dict[WorkerController, list[Job]] = {}
        self._pending: list[Job] = []

    def learn(self, jobs: Mapping[str, Job]) -> None:
        """Take what is known of the tests (by node id) before the first one is scheduled."""
        self.known = jobs

    @property
    def nodes(self) -> list[WorkerController]:
        """The workers, in the order in which they became ready."""
        return list(self._held)

    @property
    def collection_is_completed(self) -> bool:
        """Whether all initial workers have collected."""
        return len(self._collections) >= self.workers

    @property
    def tests_finished(self) -> bool:
        """Whether the workers need no more instructions."""
        return self.collection_is_completed and not self._pending and all(len(h) < AHEAD for h in self._held.values())

    @property
    def has_pending(self) -> bool:
        """Whether any test is waiting or running."""
        return bool(self._pending) or any(self._held.values())

    def add_node(self, node: WorkerController) -> None:
        """Take a worker that became ready."""
        self._held[node] = []

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """Take what a worker collected; a replacement for a crashed worker must have collected the same."""
        if self.collection is not None and list(collection) != self.collection:
            first = next(iter(self._collections))
            self.log(report_collection_diff(self.collection, collection, first.gateway.id, node.gateway.id))
            return
        self._collections[node] = list(collection)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:  # noqa: ARG002
        """A worker has finished a test: give it another, or let it end."""
        self._held[node] = [job for job in self._held[node] if job.index != item_index]
        self._feed(node)

    def mark_test_pending(self, item: str) -> None:
        """Put a test of a crashed worker back."""
        assert self.collection is not None  # noqa: S101 - xdist calls this after schedule() only
        self._pending.insert(0, self._job(self.collection.index(item)))
        for node in self.nodes:
            self._feed(node)

    def remove_pending_tests_from_node(self, node: WorkerController, indices: Sequence[int]) -> None:
        """Take back tests that a worker has not begun; only after a ``steal``, which this scheduler never sends."""
        raise NotImplementedError(f"{node}: {indices}")

    def remove_node(self, node: WorkerController) -> str | None:
        """Forget a worker; if it crashed, return the node id of the test that it was running and reassign the rest."""
        held = self._held.pop(node)
        if not held:
            return None
        assert self.collection is not None  # noqa: S101 - a worker holds tests after schedule() only
        crashed, *rest = held
        self._pending.extend(rest)
        for other in self.nodes:
            self._feed(other)
        return self.collection[crashed.index]

    def schedule(self) -> None:
        """Begin, or go on after a worker was replaced."""
        if self.collection is None:
            if not self._same_collections():
                return
            self.collection = next(iter(self._collections.values()))
            self._pending = [self._job(index) for index in range(len(self.collection))]
            # One each first, so that the longest pieces of work start at once on different workers.
            for _ in range(AHEAD):
                for node in self.nodes:
                    self._send(node)
        for node in self.nodes:
            self._feed(node)

    def _job(self, index: int) -> Job:
        assert self.collection is not None  # noqa: S101 - set by the only caller's caller
        known = self.known.get(self.collection[index], Job(index))
        return Job(index, known.group, known.cost)

    def _feed(self, node: WorkerController) -> None:
        if node.shutting_down:
            return
        while len(self._held[node]) < AHEAD and self._pending:
            self._send(node)
        if not self._pending:
            node.shutdown()

    def _send(self, node: WorkerController) -> None:
        if not self._pending:
            return
        held = self._held[node]
        taken: dict[str, int] = {}
        for other, jobs in self._held.items():
            if other is not node and jobs and jobs[-1].group:
                taken[jobs[-1].group] = taken.get(jobs[-1].group, 0) + 1
        job = choose(self._pending, held[-1].group if held else "", taken)
        self._pending.remove(job)
        held.append(job)
        node.send_runtest_some([job.index])

    def _same_collections(self) -> bool:
        (first, expected), *others = self._collections.items()
        for node, collection in others:
            if difference := report_collection_diff(expected, collection, first.gateway.id, node.gateway.id):
                self.log(difference)
                self.config.hook.pytest_collectreport(
                    report=pytest.CollectReport(
                        nodeid=node.gateway.id, outcome="failed", longrepr=difference, result=[]
                    )
                )
                return False
        return True
