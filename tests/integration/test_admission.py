"""Flights whose machines are processes: what a test is charged, what is remembered of it, who boots when."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from kola import flight as flight_module
from kola import launcher as launcher_module
from kola.flight import Flight
from kola.images import Image
from kola.keys import generate_key, write_client_key
from kola.launcher import Launcher, Running, Wanted
from kola.ledger import State
from kola.meter import Meter
from kola.needs import MACHINE_OVERHEAD_MIB, Isolation, Needs
from kola.platform import Platform, Prepared, Usage
from kola.progress import Progress
from kola.run import CLIENT_KEY, RunInfo
from kola.slots import Slots
from kola.spec import MachineSpec
from kola.usage import Kind, UsageStore
from kola.wait import wait_until
from platforms.qemu.process import Process
from tests.integration.process_platform import Options, ProcessInstance, ProcessPlatform, Tag

NEEDS = Needs(spec=MachineSpec(memory_mib=1000))
DECLARED = 1000 + MACHINE_OVERHEAD_MIB
HUNGRY = "import sys; memory = bytearray(int(sys.argv[1]) * 2**20); print('up', flush=True); sys.stdin.read()"


class MeasuredInstance(ProcessInstance):
    """A process that is measured as QEMU is."""

    def __init__(self, process: psutil.Process, tag: Tag) -> None:
        super().__init__(process, tag)
        self.eater: psutil.Process | None = None

    def usage(self) -> Usage | None:
        if self.eater is None:
            return None
        with closing(Process(self.eater.pid)) as process:
            return process.usage()


class LocalLauncher(Launcher):
    """Its machines come up when they have eaten their memory; there is no SSH."""

    def __init__(self, info: RunInfo, platform: Platform, progress: Progress, eats: int, stack: ExitStack) -> None:
        super().__init__(info, platform, progress)
        self.eats = eats
        self.stack = stack
        self.booting: list[str] = []
        self.most_booting = 0
        self.broken = False

    def start(self, *arguments: Any) -> Running:
        running = super().start(*arguments)
        instance = running.machine.instance
        assert isinstance(instance, ProcessInstance)
        measured = MeasuredInstance(instance.process, Tag("", "", "", instance.name))
        running.machine.instance = measured
        child = self.stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", HUNGRY, str(self.eats)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        )
        self.stack.callback(child.kill)
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        measured.eater = psutil.Process(child.pid)
        self.booting.append(running.machine.name)
        self.most_booting = max(self.most_booting, len(self.booting))
        return running

    def connect(self, running: Running) -> None:
        if self.broken:
            raise TimeoutError(running.machine.name)
        self.booting.remove(running.machine.name)


class CloningLauncher(LocalLauncher):
    """As far as the flight can see, its machines are clones."""

    def can_clone(self, wanted: Wanted) -> bool:
        return wanted.clone


class LocalFlight(Flight):
    """A flight of such machines."""

    launcher: LocalLauncher

    def __init__(self, info: RunInfo, eats: int) -> None:
        super().__init__(info, info.load("main"), lambda _: None)
        self.stack = ExitStack()
        self.launcher = LocalLauncher(info, self.platform, self.progress, eats, self.stack)

    @property
    def used_mib(self) -> int:
        return self.budget.usage().used_mib

    def await_used(self, mib: int) -> None:
        wait_until(lambda: self.used_mib == mib, 10, what=f"{mib} MiB, and not {self.used_mib}, to be used")


NewFlight = Callable[..., AbstractContextManager[LocalFlight]]


@pytest.fixture
def fly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NewFlight:
    monkeypatch.setattr(launcher_module, "available_cores", lambda: 4)
    monkeypatch.setattr(flight_module, "Meter", functools.partial(Meter, interval=0.05))

    @contextmanager
    def new(run_id: str, eats: int = 40, accelerator: str = "tcg") -> Iterator[LocalFlight]:
        scratch = tmp_path / run_id
        write_client_key(scratch / CLIENT_KEY, generate_key())
        (tmp_path / "output").mkdir(exist_ok=True)
        info = RunInfo(
            run_id=run_id,
            owner="tester",
            platform=f"{ProcessPlatform.__module__}:{ProcessPlatform.__name__}",
            options=Options(),
            arch="x86_64",
            image=Image(tmp_path / "none", "raw", "0123456789abcdef", "none"),
            prepared=Prepared("", accelerator),
            output=tmp_path / "output",
            scratch=scratch,
            cache=tmp_path / "cache",
            budget_mib=3 * DECLARED,
            keep_machines="never",
            workers=1,
        )
        flight = LocalFlight(info, eats)
        with flight.stack, flight:
            yield flight

    return new


def test_a_test_is_charged_what_earlier_runs_used(fly: NewFlight, tmp_path: Path) -> None:
    with fly("first") as first:
        reservation = first.reserve(NEEDS, "test")
        reservation.launch()
        assert first.used_mib == DECLARED, "nothing is known yet"
        reservation.close(failed=False)
        first.await_used(0)
    stored = json.loads((tmp_path / "cache" / "usage.json").read_text())
    ((key, machine),) = stored["machines"].items()
    assert key == f"tests.integration.process_platform:ProcessPlatform/x86_64/tcg/0123456789ab/{NEEDS.machine_key()}"
    assert machine["declared_mib"] == DECLARED
    peak = machine["peak_mib"]["first"]
    assert 40 < peak < 80

    with fly("second") as second:
        many = [second.reserve(NEEDS, f"test {n}") for n in range(8)]
        expected = int(peak * 1.25) + 64
        assert second.used_mib == 8 * expected
        assert second.budget.usage().reserve_mib == DECLARED - expected
        for reservation in many:
            reservation.close(failed=False)


def test_a_charge_follows_a_test_that_uses_more_than_expected(fly: NewFlight) -> None:
    with fly("first", eats=20) as first:
        reservation = first.reserve(NEEDS, "test")
        reservation.launch()
        reservation.close(failed=False)
    with fly("second", eats=300) as second:
        reservation = second.reserve(NEEDS, "test")
        assert second.used_mib < 200
        reservation.launch()
        wait_until(lambda: 300 < second.used_mib < 350, 10)
        reservation.close(failed=False)
        second.await_used(0)


def test_an_idle_shared_machine_is_charged_what_it_uses(fly: NewFlight, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_module, "_is_lost", lambda _: False)  # without SSH every machine would be
    needs = Needs(isolation=Isolation.SHARED, spec=NEEDS.spec)
    with fly("run") as flight:
        first = flight.reserve(needs, "first")
        machine = first.launch()
        assert flight.used_mib == DECLARED
        first.close(failed=False)
        idle = flight.used_mib
        assert 40 + 64 < idle < 80 * 1.25 + 64
        second = flight.reserve(needs, "second")
        assert flight.used_mib == idle, "the same machine"
        assert second.instances == [machine.instance]
        second.close(failed=False)
        bigger = flight.reserve(Needs(machines=2, spec=MachineSpec(memory_mib=1000)), "fits beside it")
        bigger.close(failed=False)
        wait_until(lambda: [entry.what for entry in flight.budget.usage().holders] == ["first"], 10)
        flight.reserve(Needs(machines=3, spec=MachineSpec(memory_mib=1000)), "does not").close(failed=False)
        flight.await_used(0)


def test_machines_boot_together_as_far_as_there_are_cores(fly: NewFlight, tmp_path: Path) -> None:
    needs = Needs(machines=3, spec=MachineSpec(memory_mib=256, vcpus=2))
    for accelerator, most in (("tcg", 2), ("kvm", 3), ("cloud", 3)):
        with fly(f"run{accelerator}", eats=1, accelerator=accelerator) as flight:
            reservation = flight.reserve(needs, "test")
            assert len(reservation.launch_all()) == 3
            assert flight.launcher.most_booting == most, accelerator
            reservation.close(failed=False)
    slots = Slots(tmp_path / "cache" / "slots", 4, timeout=0)
    slots.take("all are free again", 4).release()


def test_a_boot_waits_for_those_of_other_runs_and_says_so(fly: NewFlight, tmp_path: Path) -> None:
    with fly("run", eats=1) as flight, Slots(tmp_path / "cache" / "slots", 4, timeout=0).take("other", 3) as other:
        said: list[str] = []

        class Giving(Progress):
            def say(self, machine: str, state: str, elapsed: float = 0.0) -> None:
                said.append(f"{machine}: {state}")
                if elapsed > 0:
                    other.release()

        flight.launcher.progress = Giving(tmp_path / "progress", "main")
        reservation = flight.reserve(NEEDS, "test")
        reservation.launch()
        assert said[0] == "kola-run-main-1: waiting for 2 of 4 cores: other machines boot"
        reservation.close(failed=False)


def test_a_machine_that_does_not_come_up_gives_its_cores_back(fly: NewFlight, tmp_path: Path) -> None:
    with fly("run", eats=1) as flight:
        flight.launcher.broken = True
        reservation = flight.reserve(Needs(machines=2), "test")
        with pytest.raises(TimeoutError):
            reservation.launch_all()
        assert len(reservation.machines) == 2, "both are there to be described"
        Slots(tmp_path / "cache" / "slots", 4, timeout=0).take("all", 4).release()
        reservation.close(failed=True)


def test_cores_are_remembered_even_if_the_process_platform_measures_none(fly: NewFlight, tmp_path: Path) -> None:
    with fly("run", eats=1, accelerator="none") as flight:
        flight.reserve(NEEDS, "test").close(failed=False)
    known = UsageStore(tmp_path / "cache").read()
    platform = flight.info.platform
    assert known.last_accelerator(platform, "x86_64") == "none"
    assert known.mean_cpus(Kind(platform, "x86_64", "none")) is None


# -- machines made in advance ------------------------------------------------------------------------------------------


@pytest.fixture
def cloning(fly: NewFlight, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalFlight]:
    """A flight with room for three machines that makes the next test's in advance."""
    monkeypatch.setattr(flight_module, "_is_lost", lambda _: False)  # without SSH every machine would be
    with fly("run", eats=1) as flight:
        launcher = flight.launcher
        flight.launcher = CloningLauncher(flight.info, flight.platform, flight.progress, 1, flight.stack)
        assert launcher.booting == []
        yield flight


def idle(flight: LocalFlight) -> list[str]:
    return [entry.what for entry in flight.budget.usage().holders if entry.state is State.IDLE]


def test_the_next_test_gets_the_machine_that_was_made_for_it(cloning: LocalFlight) -> None:
    current = cloning.reserve(NEEDS, "current")
    first = current.launch()
    cloning.warm(NEEDS, "next", current)
    wait_until(lambda: idle(cloning) == ["next (next)"], 10)
    following = cloning.reserve(NEEDS, "next")
    assert cloning.used_mib == 2 * DECLARED
    assert [instance.name for instance in following.instances] == ["kola-run-main-2"]
    machine = following.launch()
    assert machine.name == "kola-run-main-2" != first.name
    for reservation in (current, following):
        reservation.close(failed=False)
    cloning.await_used(0)


def test_who_comes_too_early_waits_for_the_machine_that_is_being_made(cloning: LocalFlight) -> None:
    cloning.warm(NEEDS, "next", None)
    following = cloning.reserve(NEEDS, "next")
    assert len(following.ready) == 1
    following.close(failed=False)
    cloning.await_used(0)


def test_a_machine_made_in_advance_gives_way(cloning: LocalFlight) -> None:
    cloning.warm(NEEDS, "next", None)
    wait_until(lambda: idle(cloning) == ["next (next)"], 10)
    everything = cloning.reserve(Needs(machines=3, spec=MachineSpec(memory_mib=900)), "needs all")
    assert idle(cloning) == []
    everything.close(failed=False)
    cloning.await_used(0)


def test_without_free_memory_nothing_is_made_in_advance(cloning: LocalFlight) -> None:
    everything = cloning.reserve(Needs(machines=3, spec=NEEDS.spec), "takes all")
    cloning.warm(NEEDS, "next", everything)
    assert cloning._warming is not None
    cloning._warming.result()  # it has looked, and found nothing
    everything.close(failed=False)
    following = cloning.reserve(NEEDS, "next")
    assert following.ready == []
    following.close(failed=False)


def test_nothing_is_made_in_advance_for_a_first_boot_nor_given_to_one(cloning: LocalFlight) -> None:
    first_boot = Needs(isolation=Isolation.FIRST_BOOT, spec=NEEDS.spec)
    cloning.warm(first_boot, "next", None)
    assert cloning._warming is None
    cloning.warm(NEEDS, "other", None)
    wait_until(lambda: idle(cloning) == ["other (next)"], 10)
    reservation = cloning.reserve(first_boot, "next")
    assert reservation.ready == []
    reservation.close(failed=False)


def test_a_shared_machine_that_is_in_use_is_not_made_twice(cloning: LocalFlight) -> None:
    shared = Needs(isolation=Isolation.SHARED, spec=NEEDS.spec)
    current = cloning.reserve(shared, "current")
    machine = current.launch()
    cloning.warm(shared, "next", current)
    assert cloning._warming is None
    current.close(failed=False)
    cloning.warm(NEEDS, "fresh", None)  # that one has been used: a fresh one is made
    fresh = cloning.reserve(NEEDS, "fresh")
    assert [running.machine.name for running in fresh.ready] != [machine.name]
    following = cloning.reserve(shared, "next")
    assert following.launch() is machine
    for reservation in (fresh, following):
        reservation.close(failed=False)
