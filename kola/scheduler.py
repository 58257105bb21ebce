"""Which worker runs which test next: kola's scheduler for pytest-xdist.

xdist's own schedulers hand each worker a batch of consecutive tests. Machine tests are few and long, so here a worker
holds one test ahead and no more (xdist needs to know the next test before it runs the current one), shared machines
stay with the worker that booted them, and the longest remaining work goes first (``kola.order``).
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from xdist.remote import Producer
from xdist.report import report_collection_diff

from kola.order import Job, Seat, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xdist.workermanage import WorkerController

AHEAD = 2
"""Tests that a worker holds: the one that it runs and the next."""


class KolaScheduling:
    """Implements xdist's ``Scheduling`` protocol (``xdist.scheduler.protocol``) with ``choose``.

    Args:
        config: of the controller.
        workers: number of workers that are going to collect.
        clock: seconds, to tell how long a test has been running.
    """

    def __init__(self, config: pytest.Config, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self.workers = workers
        self.clock = clock
        self.known: Mapping[str, Job] = {}
        self.boot = 0.0
        self.log = Producer("kola-scheduler", enabled=config.option.debug)
        self.collection: list[str] | None = None
        self._collections: dict[WorkerController, list[str]] = {}
        self._held: dict[WorkerController, list[Job]] = {}
        self._began: dict[WorkerController, float] = {}  # when it began the first of those that it holds
        self._pending: list[Job] = []

    def learn(self, jobs: Mapping[str, Job], boot: float = 0.0) -> None:
        """Take what is known before the first test is scheduled.

        Args:
            jobs: by node id; the indexes are of no account.
            boot: expected seconds until a machine is up.
        """
        self.known = jobs
        self.boot = boot

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
        self._began[node] = self.clock()
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
        self._began.pop(node, None)
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
        return replace(known, index=index)

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
        # One that was told to end, because nothing was left, takes nothing of what a crashed worker gives back.
        others = [self._seat(other) for other in self.nodes if other is not node and not other.shutting_down]
        job = choose(self._pending, self._seat(node), others, self.boot)
        self._pending.remove(job)
        if not held:
            self._began[node] = self.clock()
        held.append(job)
        node.send_runtest_some([job.index])

    def _seat(self, node: WorkerController) -> Seat:
        held = self._held[node]
        if not held:
            return Seat()
        running = max(0.0, held[0].cost - (self.clock() - self._began[node]))
        return Seat(held[-1].group, running + sum(job.cost for job in held[1:]))

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
