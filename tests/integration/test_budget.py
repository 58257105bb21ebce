"""The budget with real processes, some of which are killed."""

import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from kola.budget import Budget
from kola.wait import Deadline, wait_until

WORKER = Path(__file__).with_name("budget_worker.py")


class Start(Protocol):
    def __call__(self, name: str, *arguments: object) -> subprocess.Popen[bytes]: ...


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "budget"


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start workers on a budget of 3; those that are left get killed."""
    with ExitStack() as stack:

        def run(name: str, *arguments: object) -> subprocess.Popen[bytes]:
            command = [sys.executable, str(WORKER), str(folder), "3", name, *map(str, arguments)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield run


def pause(seconds: float) -> None:
    end = Deadline(seconds)
    wait_until(lambda: end.expired, seconds + 1, interval=0.01)


def heard(process: subprocess.Popen[bytes]) -> str:
    """Return the next line that a worker says; unbuffered, so that the wait for it can be bounded."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 20)[0], "said nothing"
    return process.stdout.readline().decode().strip()


def test_two_workers_that_want_two_machines_with_room_for_three_both_finish(start: Start) -> None:
    workers = [start(f"gw{n}", "hold", 2, 5, 0.02) for n in range(2)]
    outputs = [worker.communicate(timeout=10)[0].decode().split() for worker in workers]
    assert outputs == [["held"] * 5 + ["done"]] * 2


def test_a_big_request_is_not_starved_by_small_ones(start: Start, folder: Path) -> None:
    small = [start(f"gw{n}", "hold", 1, 1000, 0.1) for n in range(4)]
    for worker in small:
        assert heard(worker) == "held"
    began = time.monotonic()
    with Budget(folder, 3, "main").acquire(3, what="big", timeout=20):
        assert time.monotonic() - began < 3
    for worker in small:
        assert worker.poll() is None, "they never stopped asking"


def test_what_a_killed_holder_and_a_killed_waiter_had_is_free_again(start: Start, folder: Path) -> None:
    budget = Budget(folder, 3, "main")
    holder = start("gw0", "hold", 2, 1, 600)
    assert heard(holder) == "held"
    waiter = start("gw1", "hold", 3, 1, 600)
    wait_until(lambda: budget.usage().waiters, 10)
    waiter.kill()
    budget.acquire(1, what="behind a dead waiter", timeout=2).release()
    holder.kill()
    budget.acquire(3, what="after a dead holder", timeout=2).release()


def test_a_process_killed_in_the_middle_of_a_change_does_no_harm(start: Start, folder: Path) -> None:
    victim = start("gw0", "die-inside", 3)
    assert heard(victim) == "dying"
    with Budget(folder, 3, "main").acquire(3, what="after it", timeout=2):
        pass
    assert victim.wait(5) == -signal.SIGKILL


def test_an_idle_machine_of_another_process_makes_room(start: Start, folder: Path) -> None:
    budget = Budget(folder, 3, "main")
    old, young = start("gw0", "park", 1), None
    assert heard(old) == "parked"
    young = start("gw1", "park", 1)
    assert heard(young) == "parked"
    with budget.acquire(2, what="two", timeout=5):
        assert heard(old) == "evicted"
        assert [holder.worker for holder in budget.usage().holders] == ["gw1", "main"]
    assert young.poll() is None


def test_stress_with_kills_never_exceeds_the_total_and_everybody_finishes(start: Start, folder: Path) -> None:
    rng = random.Random(7)  # noqa: S311 - not a secret
    began = time.monotonic()
    workers = [start(f"gw{n}", "stress", n, 15) for n in range(6)]
    for n in range(12):
        pause(rng.random() * 0.4)
        victim = rng.choice([worker for worker in workers if worker.poll() is None] or workers)
        victim.kill()
        workers.append(start(f"gw{6 + n}", "stress", 100 + n, 5))
    ends = [(worker.communicate(timeout=30)[0].decode().split(), worker.returncode) for worker in workers]
    elapsed = time.monotonic() - began

    assert not (folder.parent / "books" / "violation").exists()
    assert {code for _, code in ends} == {0, -signal.SIGKILL}, "killed or well, never failed"
    assert all(said == ["done"] for said, code in ends if code == 0)
    assert sum(code == 0 for _, code in ends) >= 6
    assert Budget(folder, 3, "main").usage().entries == ()
    assert elapsed < 15
