from __future__ import annotations

import pytest

from kola.order import Job, Seat, choose


def order(pending: list[Job], mine: Seat | None = None, others: tuple[Seat, ...] = ()) -> list[int]:
    left, got = list(pending), []
    while left:
        job = choose(left, mine or Seat(), others)
        left.remove(job)
        got.append(job.index)
    return got


def test_a_worker_stays_with_its_shared_machine_and_takes_its_longest_test_first() -> None:
    jobs = [Job(0, "", 100), Job(1, "a", 1), Job(2, "b", 1), Job(3, "a", 5)]
    assert order(jobs, Seat("a")) == [3, 1, 0, 2]


def test_the_largest_piece_of_work_goes_first_and_a_group_counts_as_one_piece() -> None:
    jobs = [Job(0, "", 3), *(Job(i, "a", 1) for i in (1, 2, 3, 4)), Job(5, "", 9)]
    assert order(jobs)[:2] == [5, 1]


def test_a_group_that_another_worker_has_a_machine_for_comes_last() -> None:
    jobs = [Job(0, "a", 10), Job(1, "", 30), Job(2, "b", 40)]
    assert order(jobs, others=(Seat("a"),)) == [2, 1, 0]


def test_a_group_that_is_more_than_a_workers_share_gets_another_machine_at_once() -> None:
    jobs = [Job(0, "", 20), *(Job(i, "a", 10) for i in range(1, 11))]
    assert choose(jobs, Seat(), [Seat("a", 10)]).group == "a"


def test_nobody_helps_with_a_group_that_is_done_before_another_machine_is_up() -> None:
    jobs = [Job(0, "", 5), *(Job(i, "a", 5) for i in (1, 2, 3))]
    assert choose(jobs, Seat(), [Seat("a", 5)], boot=60).group == ""
    assert choose(jobs, Seat(), [Seat("a", 5)], boot=0).group == "a"


@pytest.mark.parametrize("turn", range(3))
def test_ties_go_by_machine_and_then_by_position(turn: int) -> None:
    jobs = [Job(index, machine="ba"[index % 2]) for index in range(6)]
    assert order(jobs[turn:] + jobs[:turn]) == [1, 3, 5, 0, 2, 4]


def test_durations_that_cannot_be_told_apart_are_ties() -> None:
    jobs = [Job(0, cost=41, machine="b"), Job(1, cost=40, machine="a"), Job(2, cost=60, machine="c")]
    assert order(jobs) == [2, 1, 0]


def test_a_long_test_does_not_wait_behind_another_long_one() -> None:
    jobs = [Job(0, "", 500), Job(1, "", 90), Job(2, "", 3)]
    assert choose(jobs, Seat(busy=600), [Seat(busy=50)] * 2).index == 2
    assert choose(jobs, Seat(busy=20), [Seat(busy=50)] * 2).index == 0


def test_what_others_will_do_before_this_worker_is_free_is_left_to_them() -> None:
    jobs = [Job(index, "", cost) for index, cost in enumerate((40, 30, 20, 10))]
    assert choose(jobs, Seat(busy=15), [Seat(busy=0), Seat(busy=10)]).index == 2


def test_the_shared_machine_of_another_worker_keeps_it_busy() -> None:
    group = [Job(index, "a", 10) for index in range(5)]
    assert choose([*group, Job(9, "", 30)], Seat(busy=20), [Seat("a", 0)]).index == 9
