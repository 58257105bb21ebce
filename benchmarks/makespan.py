"""How long a run of 1,000 tests takes under kola's scheduler, and how short it could be at best.

The trace (``benchmarks.trace``) is played event by event through the real scheduler with stand-ins for xdist's workers
and a clock that jumps: nothing runs, 1,000 tests take seconds.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from xdist.remote import Producer
from xdist.scheduler import LoadScheduling

from benchmarks import trace
from kola.order import Job
from kola.scheduler import KolaScheduling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.trace import Test

WORKERS = (1, 8, 64)
NOISE = 0.2
"""Part by which recorded durations are off, at most, either way."""
BOOT = 1.0
"""Seconds until a shared machine is up."""
SEED = 1


@dataclass(frozen=True)
class Row:
    """One line of the table; times in seconds.

    Attributes:
        order: who decides on what grounds.
        bound: no order can be better: all work spread evenly, or the longest test.
        boots: of shared machines.
    """

    order: str
    workers: int
    bound: float
    makespan: float
    boots: int

    @property
    def ratio(self) -> float:
        return self.makespan / self.bound


@dataclass(eq=False)
class Node:
    """In place of xdist's ``WorkerController``: a worker begins a test when it knows the next one, or that none is."""

    name: str
    queue: list[int] = field(default_factory=list)
    shutting_down: bool = False
    running: bool = False
    machines: set[str] = field(default_factory=set)

    @property
    def gateway(self) -> SimpleNamespace:
        return SimpleNamespace(id=self.name)

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.queue += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def ready(self) -> bool:
        return not self.running and bool(self.queue) and (len(self.queue) > 1 or self.shutting_down)


class Clock:
    """The time of the simulation."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def play(scheduler: Any, tests: Sequence[Test], workers: int, clock: Clock) -> tuple[float, int]:
    """Run the tests; return the end in seconds and the number of boots of shared machines.

    Raises:
        RuntimeError: the scheduler left tests that nobody runs.
    """
    nodes = [Node(f"gw{number}") for number in range(workers)]
    for node in nodes:
        scheduler.add_node(node)
    for node in nodes:
        scheduler.add_node_collection(node, [test.nodeid for test in tests])
    scheduler.schedule()
    events: list[tuple[float, int, int]] = []
    boots = done = 0
    while True:
        for number, node in enumerate(nodes):
            if node.ready:
                test = tests[node.queue[0]]
                boot = bool(test.group) and test.group not in node.machines
                node.machines.add(test.group)
                node.running = True
                boots += boot
                heapq.heappush(events, (clock.now + test.seconds + BOOT * boot, number, node.queue[0]))
        if not events:
            break
        clock.now, number, index = heapq.heappop(events)
        node = nodes[number]
        node.running = False
        node.queue.remove(index)
        done += 1
        scheduler.mark_test_complete(node, index, tests[index].seconds)
        if scheduler.tests_finished:
            for each in nodes:
                each.shutdown()
    if done != len(tests):
        raise RuntimeError(f"{len(tests) - done} tests were never run")
    return clock.now, boots


def config() -> Any:
    """Return as much of pytest's config as a scheduler asks for."""
    return SimpleNamespace(
        option=SimpleNamespace(debug=False, maxschedchunk=None, tx=[]), getoption=lambda _name: None,
        getvalue=lambda _name: ["popen"],
    )  # fmt: skip


def kola(tests: Sequence[Test], workers: int, jobs: Mapping[str, Job]) -> tuple[float, int]:
    """Play the tests through kola's scheduler, which knows ``jobs``."""
    clock = Clock()
    scheduler = KolaScheduling(config(), workers, clock)
    scheduler.learn(jobs, BOOT)
    return play(scheduler, tests, workers, clock)


def xdist_load(tests: Sequence[Test], workers: int) -> tuple[float, int]:
    """Play the tests through what xdist does with ``--dist=load``."""
    scheduler = LoadScheduling(config(), Producer("load", enabled=False))
    scheduler.numnodes = workers
    return play(scheduler, tests, workers, Clock())


def bound(tests: Sequence[Test], workers: int) -> float:
    return max(sum(test.seconds for test in tests) / workers, *(test.seconds for test in tests))


def jobs(tests: Sequence[Test], costs: Mapping[str, float]) -> dict[str, Job]:
    """Return what the scheduler is told; a test without a cost counts as any other."""
    return {test.nodeid: Job(0, test.group, costs.get(test.nodeid, 1.0), test.machine) for test in tests}


def rows() -> list[Row]:
    """Measure everything."""
    tests = trace.read()
    draw = random.Random(SEED)  # noqa: S311 - not for secrets
    exact = {test.nodeid: test.seconds for test in tests}
    noisy = {nodeid: seconds * draw.uniform(1 - NOISE, 1 + NOISE) for nodeid, seconds in exact.items()}
    found = []
    for workers in WORKERS:
        limit = bound(tests, workers)
        for order, result in (
            ("kola, exact records", kola(tests, workers, jobs(tests, exact))),
            (f"kola, records off by up to {NOISE:.0%}", kola(tests, workers, jobs(tests, noisy))),
            ("kola, no records", kola(tests, workers, jobs(tests, {}))),
            ("order of collection", kola(tests, workers, {})),
            ("xdist's --dist=load", xdist_load(tests, workers)),
        ):
            found.append(Row(order, workers, limit, *result))
    return found


def main() -> None:
    print(f"{'workers':>7}  {'order':32}  {'bound':>8}  {'makespan':>8}  {'ratio':>5}  {'boots':>5}")
    for row in rows():
        times = f"{row.bound:8.1f}  {row.makespan:8.1f}  {row.ratio:5.3f}  {row.boots:5}"
        print(f"{row.workers:>7}  {row.order:32}  {times}")


if __name__ == "__main__":
    main()
