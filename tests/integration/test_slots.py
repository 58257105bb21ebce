"""The host's slots for boots with real processes, some of which are killed."""

import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from kola.errors import WaitTimeout
from kola.slots import Slots, boot_weight
from kola.wait import wait_until


class Start(Protocol):
    def __call__(self, count: int, weight: int, times: int, seconds: float) -> subprocess.Popen[bytes]: ...


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "slots"


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start processes that take slots; those that are left get killed."""
    with ExitStack() as stack:

        def run(count: int, weight: int, times: int, seconds: float) -> subprocess.Popen[bytes]:
            arguments = map(str, (folder, count, weight, times, seconds))
            command = [sys.executable, "-m", "tests.integration.slots_worker", *arguments]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield run


def heard(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 20)[0], "said nothing"
    return process.stdout.readline().decode().strip()


def refused(slots: Slots) -> bool:
    """Tell whether no single slot is to be had."""
    hold = slots.try_take(1)
    if hold is not None:
        hold.release()
    return hold is None


def test_what_a_boot_takes() -> None:
    assert [boot_weight("tcg", 2), boot_weight("tcg", 8), boot_weight("kvm", 8), boot_weight("cloud", 8)] == [
        2,
        8,
        1,
        0,
    ]


def test_a_boot_that_needs_no_cores_of_this_host_waits_for_nobody(folder: Path) -> None:
    slots = Slots(folder, 2, timeout=0)
    with slots.take("all", 2), slots.take("cloud", 0) as hold:
        assert len(hold) == 0
        assert slots.try_take(0) is not None
    assert len(list(folder.iterdir())) == 3


def test_more_than_there_are_means_all_and_a_wait_says_what_for(folder: Path) -> None:
    slots = Slots(folder, 2, timeout=0.3)
    said: list[tuple[str, float]] = []
    with slots.take("big", 8) as hold:
        assert len(hold) == 2
        with pytest.raises(WaitTimeout, match="waiting for 1 of 2 cores for kola-1-main-2"):
            slots.take("kola-1-main-2", 1, lambda *event: said.append(event))
        assert slots.try_take(1) is None
    assert {state for state, _ in said} == {"waiting for 1 of 2 cores: other machines boot"}
    slots.take("after it", 2).release()


def test_several_machines_of_one_test_take_what_is_free_and_wait_for_no_more(folder: Path) -> None:
    slots = Slots(folder, 5, timeout=0)
    with slots.take_some(3, "three machines", 2) as holds:
        assert [len(hold) for hold in holds] == [2, 2]
        with slots.take("another test", 1):
            assert refused(slots)
        holds[0].release()
        holds[0].release()
        slots.take("another test", 3).release()
    with slots.take_some(1, "one machine", 5) as holds:
        assert [len(hold) for hold in holds] == [5]
    with slots.take_some(3, "elsewhere", 0) as holds:
        assert len(holds) == 3


def test_an_attempt_takes_nothing_while_somebody_gathers(folder: Path, start: Start) -> None:
    slots = Slots(folder, 2, timeout=5)
    with slots.take("holder", 1):
        big = start(2, 2, 1, 0)

        wait_until(lambda: refused(slots), 10)
    assert heard(big) == "took"


def test_a_big_one_is_not_starved_by_small_ones(folder: Path, start: Start) -> None:
    small = [start(2, 1, 10_000, 0.05) for _ in range(4)]
    for process in small:
        assert heard(process) == "took"
    with Slots(folder, 2, timeout=20).take("big", 2) as hold:
        assert len(hold) == 2
    assert [process.poll() for process in small] == [None] * 4, "they never stopped asking"


def test_what_a_killed_holder_and_a_killed_waiter_had_is_free_again(folder: Path, start: Start) -> None:
    slots = Slots(folder, 2, timeout=10)
    holder = start(2, 1, 1, 600)
    assert heard(holder) == "took"
    waiter = start(2, 2, 1, 600)  # has the gate and the other slot
    wait_until(lambda: refused(slots), 10)
    waiter.kill()
    slots.take("behind a dead waiter", 1).release()
    holder.kill()
    slots.take("after a dead holder", 2).release()


def test_stress_with_kills_never_takes_more_than_there_is(folder: Path, start: Start) -> None:
    processes = [start(3, weight, 15, 0.01) for weight in (1, 2, 3, 1, 2)]
    victims = [start(3, weight, 10_000, 0.01) for weight in (1, 2, 3)]
    for process in (*processes, *victims):
        assert heard(process) == "took"
    for victim in victims:
        victim.kill()
        processes.append(start(3, 2, 5, 0.01))
    for process in processes:
        assert process.communicate(timeout=30)[0].decode().split()[-1] == "done"
    assert [victim.wait() for victim in victims] == [-signal.SIGKILL] * 3
    assert not (folder.parent / "books" / "violation").exists()
    assert (folder.parent / "books" / "lock").exists()
