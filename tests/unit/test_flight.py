"""What becomes of a test's machines, and of its memory, when something fails or they are kept; they do nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kola.errors import PlatformError
from kola.flight import Flight, Reservation
from kola.images import Image
from kola.keys import generate_key, write_client_key
from kola.launcher import Running
from kola.machine import Machine
from kola.needs import Isolation, Needs, machine_mib
from kola.park import Parked
from kola.platform import Prepared
from kola.run import CLIENT_KEY, RunInfo
from kola.spec import MachineSpec
from kola.wait import wait_until
from tests.simulation.platform import Options, Simulated

NEEDS = Needs(spec=MachineSpec(memory_mib=256))


@pytest.fixture
def flight(tmp_path: Path) -> Iterator[Flight]:
    output, scratch = tmp_path / "output", tmp_path / "scratch"
    write_client_key(scratch / CLIENT_KEY, generate_key())
    output.mkdir()
    info = RunInfo(
        run_id="run", owner="tester", platform=f"{Simulated.__module__}:{Simulated.__name__}", options=Options(),
        arch="x86_64", image=Image(tmp_path / "none", "raw", "0123456789abcdef", "none"), prepared=Prepared("", "none"),
        output=output, scratch=scratch, cache=tmp_path / "cache", budget_mib=4000, keep_machines="never", workers=1,
    )  # fmt: skip
    with Flight(info, info.load("main"), lambda _: None) as flight:
        yield flight


@pytest.fixture
def keeping(flight: Flight, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the machines that the flight keeps, which are all of them."""
    names: list[str] = []
    flight.info = replace(flight.info, keep_machines="always")
    monkeypatch.setattr("kola.flight._is_lost", lambda _: False)
    monkeypatch.setattr(flight, "_keep", names.extend)
    return names


def machine(name: str, ended: list[str], error: str = "") -> Running:
    """A machine that does nothing but end; with an error if it is told one."""

    def end() -> None:
        ended.append(name)
        if error:
            raise PlatformError(error)

    stack = contextlib.ExitStack()
    stack.callback(end)
    instance = SimpleNamespace(keep=lambda: None)
    return Running(cast("Machine", SimpleNamespace(name=name, instance=instance, connected=True)), stack)


def running(flight: Flight, *machines: Running, needs: Needs = NEEDS) -> Reservation:
    reservation = flight.reserve(needs, "test")
    flight.meter.unregister(reservation.token)  # there is nothing to measure
    reservation.running = list(machines)
    return reservation


def await_free(flight: Flight) -> None:
    wait_until(lambda: not flight.budget.usage().holders, 10, what="the memory")


def test_an_earlier_tests_error_does_not_keep_this_ones_machines(
    flight: Flight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kola.flight._is_lost", lambda _: False)
    earlier = Future[None]()
    earlier.set_exception(PlatformError("the provider is down"))
    flight._ending.append(earlier)
    ended: list[str] = []
    reservation = running(flight, machine("m", ended))
    with pytest.raises(PlatformError, match="the provider is down"):
        reservation.close(failed=False)
    await_free(flight)
    assert ended == ["m"]


def end_of_a_test(flight: Flight, machines: tuple[Running, ...]) -> None:
    flight.end(machines)
    flight._await_ending(0)


def end_of_parked(flight: Flight, machines: tuple[Running, ...]) -> None:
    Parked("key", machines, flight.reserve(NEEDS, "test").token, used=False).end()


@pytest.mark.parametrize("end", [end_of_a_test, end_of_parked])
def test_one_that_cannot_be_ended_leaves_no_other_running(flight: Flight, end: Callable[..., Any]) -> None:
    ended: list[str] = []
    with pytest.raises(PlatformError, match="the provider is down"):
        end(flight, (machine("first", ended), machine("bad", ended, "the provider is down"), machine("last", ended)))
    assert ended == ["first", "bad", "last"]


def test_what_cannot_be_written_down_does_not_keep_a_machine(flight: Flight, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("kola.flight._is_lost", lambda _: False)
    monkeypatch.setattr(flight.meter, "peak_mib", lambda _: 50.0)
    monkeypatch.setattr(flight.launcher.lives, "tell", full)
    ended: list[str] = []
    reservation = running(flight, machine("m", ended))
    with pytest.raises(OSError, match="no space left"):
        reservation.close(failed=False)
    await_free(flight)
    assert ended == ["m"]


def test_a_machine_of_which_nothing_is_known_is_ended(flight: Flight, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> None:
        raise PlatformError("the provider is down")

    ended: list[str] = []
    one = machine("m", ended)
    monkeypatch.setattr(one.machine.instance, "lost", lost, raising=False)
    running(flight, one, needs=replace(NEEDS, isolation=Isolation.SHARED)).close(failed=False)
    await_free(flight)
    assert ended == ["m"]


def test_what_failed_in_advance_fails_no_test(
    flight: Flight, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(flight.launcher, "can_clone", lambda _: True)
    monkeypatch.setattr(flight.launcher, "launch", full)
    flight.warm(NEEDS, "next", None)
    flight.reserve(NEEDS, "next").close(failed=False)
    await_free(flight)
    assert "a machine could not be made in advance: no space left on device" in caplog.text
    assert flight._warming is None, "another one can be made"


# -- machines that are kept --------------------------------------------------------------------------------------------


def test_a_test_without_machines_keeps_none_and_gives_its_memory_back(flight: Flight, keeping: list[str]) -> None:
    reservation = running(flight)
    assert not reservation.keep(failed=False)
    reservation.close(failed=False)
    await_free(flight)
    assert keeping == []


def test_a_machine_that_comes_later_is_kept_too(flight: Flight, keeping: list[str]) -> None:
    reservation = running(flight, needs=replace(NEEDS, machines=3))
    for number in range(1, 4):
        reservation.running.append(machine(f"m{number}", []))
        assert reservation.keep(failed=False) == reservation.machines
    assert keeping == ["m1", "m2", "m3"]
    assert flight._kept_mib == 3 * machine_mib(NEEDS)
    reservation.close(failed=False)
    flight._await_ending(0)
    assert len(flight.budget.usage().holders) == 1, "they go on using it"


def test_a_shared_machine_counts_once(flight: Flight, keeping: list[str]) -> None:
    shared = replace(NEEDS, isolation=Isolation.SHARED)
    reservation = running(flight, machine("m", []), needs=shared)
    for _ in range(3):
        assert reservation.keep(failed=False)
        reservation.close(failed=False)
        reservation = flight.reserve(shared, "following")
        flight.meter.unregister(reservation.token)
        reservation.launch()
    assert keeping == ["m"]
    assert flight._kept_mib == machine_mib(NEEDS)


def test_a_machine_beyond_half_of_the_budget_is_not_kept(flight: Flight, keeping: list[str]) -> None:
    first, second = machine("m1", []), machine("m2", [])
    reservation = running(flight, first, needs=replace(NEEDS, machines=2))
    flight._kept_mib = flight.info.budget_mib // 2 - machine_mib(NEEDS)
    assert reservation.keep(failed=False) == [first.machine]
    reservation.running.append(second)
    assert reservation.keep(failed=False) == [first.machine]
    assert keeping == ["m1"]
