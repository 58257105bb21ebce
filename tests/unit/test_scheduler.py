"""The scheduler as xdist drives it, with stand-ins for the workers and a clock that jumps."""

from __future__ import annotations

import random
from typing import Any

import pytest

from benchmarks import makespan, trace
from benchmarks.makespan import Clock, Node
from kola.order import Job
from kola.scheduler import KolaScheduling


def scheduling(workers: int, jobs: list[Job]) -> tuple[KolaScheduling, list[Node]]:
    names = [f"test_{number}" for number in range(len(jobs))]
    scheduler: Any = KolaScheduling(makespan.config(), workers, Clock())
    scheduler.learn(dict(zip(names, jobs, strict=True)))
    nodes = [Node(f"gw{number}") for number in range(workers)]
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, names)
    scheduler.schedule()
    return scheduler, nodes


@pytest.mark.parametrize("workers", makespan.WORKERS)
def test_a_thousand_tests_take_hardly_longer_than_any_order_must(workers: int) -> None:
    tests, draw = trace.read(), random.Random(7)  # noqa: S311 - not for secrets
    assert len(tests) == 1000
    records = {test.nodeid: test.seconds * draw.uniform(0.8, 1.2) for test in tests}
    took, _ = makespan.kola(tests, workers, makespan.jobs(tests, records))
    assert makespan.bound(tests, workers) < took < 1.1 * makespan.bound(tests, workers)


def test_the_recorded_trace_is_the_one_that_was_made_up() -> None:
    assert trace.generate() == trace.read()


@pytest.mark.parametrize("workers", [1, 3, 20])
def test_every_test_runs_once_whatever_is_known_of_it(workers: int) -> None:
    tests = trace.read()[:10]
    for costs in ({}, {test.nodeid: 0.0 for test in tests}, {tests[0].nodeid: 1e9}):
        took, _ = makespan.kola(tests, workers, makespan.jobs(tests, costs))
        assert took >= makespan.bound(tests, workers)


def test_the_longest_begin_on_different_workers_and_nobody_is_given_two_of_them() -> None:
    _, nodes = scheduling(2, [Job(0, cost=cost) for cost in (1, 600, 1, 500, 400, 1)])
    assert [node.queue[0] for node in nodes] == [1, 3]
    assert all(len(node.queue) == 2 for node in nodes)
    assert nodes[0].queue[1] in {0, 2, 5}


def test_a_test_that_overruns_does_not_hold_others_up() -> None:
    scheduler, nodes = scheduling(2, [Job(0, cost=cost) for cost in (10, 10, 5, 5, 5, 5)])
    scheduler.clock.now = 100.0  # type: ignore[attr-defined]
    node: Any = nodes[0]
    first = node.queue.pop(0)
    scheduler.mark_test_complete(node, first)
    assert len(node.queue) == 2


def test_what_a_crashed_worker_held_is_run_by_its_replacement_when_all_others_were_told_to_end() -> None:
    scheduler, nodes = scheduling(2, [Job(0, cost=cost) for cost in (4, 3, 2, 1)])
    assert all(node.shutting_down for node in nodes)
    crashed, other = nodes
    held = crashed.queue[:]
    lost: Any = crashed
    assert scheduler.remove_node(lost) == f"test_{held[0]}"
    assert other.queue == [index for index in range(4) if index not in held]
    replacement: Any = Node("gw2")
    scheduler.add_node(replacement)
    scheduler.add_node_collection(replacement, [f"test_{number}" for number in range(4)])
    scheduler.schedule()
    assert replacement.queue == held[1:]
    assert replacement.shutting_down
