from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kola.budget import Budget, Token
from kola.meter import Meter
from kola.platform import Instance, Usage
from kola.usage import CpuTime, Kind, Peak, Record, Report, UsageStore
from kola.wait import wait_until

KIND = Kind("toy", "x86_64", "tcg")
IMAGE = "0123456789abcdef"
MOST = 1700


@dataclass
class Toy:
    """A machine of which a test decides what it uses."""

    name: str
    now: Usage | Exception | None
    asked: list[int] = field(default_factory=list)

    def usage(self) -> Usage | None:
        self.asked.append(1)
        if isinstance(self.now, Exception):
            raise self.now
        return self.now


def machines(*toys: Toy) -> list[Instance]:
    return list(toys)  # type: ignore[arg-type]  # only what is measured


@pytest.fixture
def store(tmp_path: Path) -> UsageStore:
    return UsageStore(tmp_path / "cache")


@pytest.fixture
def token(tmp_path: Path) -> Token:
    return Budget(tmp_path / "budget", 4000, "gw0").acquire(500, most=2 * MOST, what="test", timeout=0)


def charged(token: Token) -> int:
    return token.budget.usage().used_mib


@pytest.fixture
def meter(store: UsageStore) -> Iterator[Meter]:
    with Meter(store, KIND, IMAGE, "run1", interval=0.01) as meter:
        yield meter


def wait_for_look(toy: Toy) -> None:
    seen = len(toy.asked)
    wait_until(lambda: len(toy.asked) > seen + 1, 10, interval=0.01)  # the first may have begun before


def test_a_charge_rises_with_the_use_and_falls_at_the_end_of_the_test(meter: Meter, token: Token) -> None:
    one, two = Toy("one", Usage(100, 0)), Toy("two", Usage(150, 0))
    running: list[Toy] = []
    meter.register(token, "k", MOST, lambda: machines(*running))
    running += [one, two]
    wait_for_look(two)
    assert charged(token) == 500, "no less than expected as long as the test runs"
    one.now = Usage(400.5, 0)
    wait_until(lambda: charged(token) == 560, 10)
    one.now, two.now = Usage(50, 0), Usage(150, 0)
    wait_for_look(two)
    assert charged(token) == 560, "what it used once it may use again"
    meter.unregister(token)
    assert charged(token) == int(550.5 * 1.25) + 64
    assert token.mib == charged(token)


def test_more_than_declared_is_charged_too(meter: Meter, token: Token) -> None:
    toy = Toy("one", Usage(3990, 0))
    meter.register(token, "k", MOST, lambda: machines(toy))
    wait_until(lambda: charged(token) == 4000, 10)
    meter.unregister(token)
    assert charged(token) == 2 * MOST, "what is expected of it is never more than it declares"


def test_what_a_platform_cannot_tell_changes_nothing(store: UsageStore, token: Token) -> None:
    toy = Toy("one", None)
    with Meter(store, KIND, IMAGE, "run1", interval=0.01) as meter:
        meter.register(token, "k", MOST, lambda: machines(toy))
        wait_for_look(toy)
        meter.unregister(token)
        meter.unregister(token)
    assert charged(token) == 500
    known = store.read()
    assert known.machines == {}
    assert known.last_accelerator("toy", "x86_64") == "tcg", "that much is known"
    assert known.mean_cpus(KIND) is None


def test_a_measurement_that_fails_is_told_once_and_fails_no_test(
    meter: Meter, token: Token, caplog: pytest.LogCaptureFixture
) -> None:
    toy = Toy("one", Usage(1, 1))
    meter.register(token, "k", MOST, lambda: machines(toy))
    toy.now = OSError("no more descriptors")
    wait_for_look(toy)
    wait_for_look(toy)
    toy.now = Usage(800, 1)
    wait_until(lambda: charged(token) == 800, 10)
    toy.now = OSError("no more descriptors")
    meter.unregister(token)
    meter.register(token, "k", MOST, lambda: machines(toy))
    assert len(caplog.records) == 1


def test_what_was_found_out_is_there_for_the_next_run_only(store: UsageStore, token: Token) -> None:
    one, two = Toy("one", None), Toy("two", Usage(300, 5, 1))
    with Meter(store, KIND, IMAGE, "run1", interval=600) as meter:
        meter.register(token, "k", MOST, lambda: machines(one, two))
        one.now, two.now = Usage(700, 20, 10), Usage(350, 6, 3)
        meter.unregister(token)
        assert meter.expected_mib("k", MOST) == MOST
        assert store.read() == Record()
    known = store.read()
    (machine,) = known.machines.values()
    assert (dict(machine.runs), machine.declared_mib) == ({"run1": 700}, MOST), "of a single machine"
    assert meter.cpu is not None
    assert meter.cpu.cpu_seconds == 33, "not what the second one did before the test; waiting counts"
    with Meter(store, KIND, IMAGE, "run2") as later:
        assert later.expected_mib("k", MOST) == 939
        assert later.expected_mib("other", MOST) == MOST
    assert store.read() == known, "who measured nothing has nothing to add"


def test_idle_time_of_a_shared_machine_counts_for_nobody(store: UsageStore, token: Token) -> None:
    toy = Toy("one", None)
    with Meter(store, KIND, IMAGE, "run1", interval=600) as meter:
        for begin, end in ((0.0, 10.0), (50.0, 70.0)):
            toy.now = Usage(100, begin)
            meter.register(token, "k", MOST, lambda: machines(toy))
            toy.now = Usage(100, end)
            meter.unregister(token)
    assert meter.cpu is not None
    assert meter.cpu.cpu_seconds == 30
    assert meter.cpu.wall_seconds < 10


def test_a_report_of_an_earlier_run_is_used(store: UsageStore) -> None:
    store.add(Report("run0", KIND, IMAGE, {"k": Peak(100, MOST)}, CpuTime(1, 1)))
    assert Meter(store, KIND, IMAGE, "run1").expected_mib("k", MOST) == 189
