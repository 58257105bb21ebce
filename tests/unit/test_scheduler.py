from __future__ import annotations

import pytest

from kola.scheduler import Job, choose


def order(pending: list[Job], mine: str = "", taken: dict[str, int] | None = None) -> list[int]:
    left, got = list(pending), []
    while left:
        job = choose(left, mine, taken or {})
        left.remove(job)
        got.append(job.index)
    return got


def test_a_worker_stays_with_its_shared_machine() -> None:
    jobs = [Job(0, "", 100), Job(1, "a", 1), Job(2, "b", 1), Job(3, "a", 1)]
    assert order(jobs, mine="a") == [1, 3, 0, 2]


def test_the_largest_piece_of_work_goes_first_and_a_group_counts_as_one_piece() -> None:
    jobs = [Job(0, "", 3), *(Job(i, "a", 1) for i in (1, 2, 3, 4)), Job(5, "", 9)]
    assert order(jobs)[:2] == [5, 1]


def test_a_group_that_another_worker_has_a_machine_for_comes_last() -> None:
    jobs = [Job(0, "a", 50), Job(1, "", 1), Job(2, "b", 2)]
    assert order(jobs, taken={"a": 1}) == [2, 1, 0]


@pytest.mark.parametrize("turn", range(3))
def test_ties_go_by_position(turn: int) -> None:
    jobs = [Job(index) for index in range(5)]
    assert order(jobs[turn:] + jobs[:turn]) == [0, 1, 2, 3, 4]
