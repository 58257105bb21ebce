"""The machines of one process of a run: launching, sharing, keeping and ending them, inside the memory budget."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kola import health
from kola.budget import Budget, Evictor
from kola.errors import ConfigError, MachineLost
from kola.launcher import Launcher, Wanted
from kola.meter import Meter
from kola.needs import Isolation
from kola.progress import Progress
from kola.usage import Kind, UsageStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from kola import ignition
    from kola.budget import Token
    from kola.launcher import Running
    from kola.machine import Machine
    from kola.needs import Needs
    from kola.platform import Instance, Platform
    from kola.run import RunInfo

MACHINE_OVERHEAD_MIB = 192
"""What QEMU needs beside the guest's own memory (code, TCG's translation buffer, device buffers)."""

ADMISSION_SECONDS = 3600.0
"""How long a test may wait for memory: other tests run meanwhile."""


def machine_mib(needs: Needs) -> int:
    """Return what each machine of a test may use at most."""
    return needs.spec.memory_mib + MACHINE_OVERHEAD_MIB


def memory_mib(needs: Needs) -> int:
    """Return what a test may use of the budget at most."""
    return needs.machines * machine_mib(needs)


def wanted(needs: Needs, config: ignition.Config | None, indexes: range) -> Wanted:
    """Return what to launch for a test: so many of its machines, with that config."""
    return Wanted(
        spec=needs.spec,
        config=config,
        indexes=indexes,
        clone=needs.isolation is not Isolation.FIRST_BOOT,
        excused=tuple(needs.skip_checks),
    )


@dataclass(frozen=True)
class Shared:
    """A machine that stays for the next test that needs the same (``Needs.machine_key``)."""

    key: str
    running: Running
    token: Token

    def end(self) -> None:
        """End the machine and give its memory back."""
        self.running.end()
        self.token.release()


@dataclass
class Reservation:
    """The memory that a test was admitted with, and the machines that it made of it."""

    flight: Flight
    needs: Needs
    nodeid: str
    token: Token
    running: list[Running] = field(default_factory=list)
    kept: bool = False
    marks: dict[str, health.Mark] = field(default_factory=dict)
    """Machine name -> where this test's part of its logs begins; a machine without one is all this test's."""

    @property
    def machines(self) -> list[Machine]:
        """The machines that the test has used so far."""
        return [running.machine for running in self.running]

    def launch(self, config: ignition.Config | None = None) -> Machine:
        """Give the test one more machine: the shared one, or a fresh one.

        Args:
            config: an Ignition config other than the marker's.

        Raises:
            ConfigError: more machines than the marker's ``machines=`` declares.
            MachineLost: it did not come up; says why.
        """
        if len(self.running) >= self.needs.machines:
            raise ConfigError(
                f"the test declares machines={self.needs.machines} in its kola marker and asked for one more"
            )
        if self.needs.isolation is Isolation.SHARED and config is None:
            return self.flight.shared(self)
        self._launch(config or self.needs.ignition, 1)
        return self.machines[-1]

    def launch_all(self) -> list[Machine]:
        """Give the test all its machines; they boot at the same time if they have to boot."""
        if self.needs.isolation is Isolation.SHARED:
            self.launch()
        self._launch(self.needs.ignition, self.needs.machines - len(self.running))
        return self.machines

    def _launch(self, config: ignition.Config | None, count: int) -> None:
        first = len(self.running)
        self.flight.launcher.launch(wanted(self.needs, config, range(first, first + count)), self.running)

    def keep(self, *, failed: bool) -> bool:
        """Keep the test's machines if the user asked for it; tells whether they are kept."""
        return self.flight.keep(self, failed=failed)

    def close(self, *, failed: bool) -> None:
        """End the test's machines unless they are kept; a healthy shared one serves the next test."""
        self.flight.release(self, failed=failed)


class Flight:
    """All machines of one process; a context manager.

    Args:
        info: of the run.
        platform: this process's driver.
        keep: called with the names of machines that stay after the run.
    """

    def __init__(self, info: RunInfo, platform: Platform, keep: Callable[[list[str]], None]) -> None:
        self.info = info
        self.platform = platform
        self.worker = worker = platform.context.worker
        self.progress = Progress(info.output / "progress.jsonl", worker)
        self.budget = Budget(info.scratch / "budget", info.budget_mib, worker)
        self._keep = keep
        self.launcher = Launcher(info, platform, self.progress)
        self._kept_mib = 0
        self._shared: dict[str, Shared] = {}  # by the id of the token that pays for it
        self._lock = threading.Lock()
        self._evictor = Evictor(self.budget, self._evict)
        kind = Kind(info.platform, info.arch, info.prepared.accelerator)
        self.meter = Meter(UsageStore(info.cache), kind, info.image.sha256, info.run_id)

    def __enter__(self) -> Flight:  # noqa: PYI034 - final in practice
        self._evictor.__enter__()
        self.meter.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.meter.__exit__(None, None, None)
        self._evictor.__exit__(None, None, None)
        for shared in self._shared.values():
            shared.end()
        self._shared.clear()

    # -- admission ---------------------------------------------------------------------------------------------------

    def reserve(self, needs: Needs, nodeid: str) -> Reservation:
        """Admit a test: take all the memory that it will use in one step, waiting for other tests if need be.

        Raises:
            ConfigError: it declares more than the whole budget.
            WaitTimeout: the memory did not become free.
        """
        key, each = needs.machine_key(), machine_mib(needs)
        token = self._claim_shared(key) if needs.isolation is Isolation.SHARED else None
        if token is None:
            token = self.budget.acquire(
                needs.machines * self.meter.expected_mib(key, each), most=needs.machines * each, what=nodeid,
                timeout=ADMISSION_SECONDS, on_wait=lambda why: self.progress.say(nodeid, why),
            )  # fmt: skip
        reservation = Reservation(self, needs, nodeid, token)
        self.meter.register(token, key, each, lambda: self._instances(reservation))
        return reservation

    def _instances(self, reservation: Reservation) -> list[Instance]:
        """Return what a test's token pays for at the moment: also the shared machine that it has not asked for yet."""
        shared = self._shared.get(reservation.token.id)
        running = reservation.running or ([shared.running] if shared is not None else [])
        return [one.machine.instance for one in running]

    def _claim_shared(self, key: str) -> Token | None:
        with self._lock:
            # One that cannot be claimed any more is about to be evicted.
            return next((s.token for s in self._shared.values() if s.key == key and s.token.claim()), None)

    def _evict(self, token_id: str) -> None:
        with self._lock:
            shared = self._shared.pop(token_id, None)
        if shared is not None:
            self.progress.say(shared.running.machine.name, "idle, makes room for another test")
            shared.end()

    # -- machines ----------------------------------------------------------------------------------------------------

    def shared(self, reservation: Reservation) -> Machine:
        """Return the shared machine that fits, and mark what earlier tests left in its logs; boot it if need be."""
        needs = reservation.needs
        with self._lock:
            found = self._shared.get(reservation.token.id)
        if found is not None:
            running = found.running
            reservation.running.append(running)
            reservation.marks[running.machine.name] = health.mark(running.machine)
            return running.machine
        self.launcher.launch(wanted(needs, needs.ignition, range(1)), reservation.running)
        running = reservation.running[-1]
        with self._lock:
            self._shared[reservation.token.id] = Shared(needs.machine_key(), running, reservation.token)
        return running.machine

    # -- the end of a test -------------------------------------------------------------------------------------------

    def release(self, reservation: Reservation, *, failed: bool) -> None:
        """End the machines of a test that are not kept, and give their memory back."""
        self.meter.unregister(reservation.token)
        with self._lock:
            shared = self._shared.get(reservation.token.id)
        lost = any(_is_lost(running.machine) for running in reservation.running)
        if shared is not None and not lost and not (reservation.kept and failed):
            reservation.token.set_idle()
            return
        with self._lock:
            self._shared.pop(reservation.token.id, None)
        for running in reservation.running:
            running.end()
        if not reservation.kept:  # a kept machine goes on using its memory
            reservation.token.release()

    def keep(self, reservation: Reservation, *, failed: bool) -> bool:
        """Decide whether the machines of a test stay; they may take half of this process's share of the budget."""
        which = self.info.keep_machines
        if reservation.kept or not (which == "always" or (which == "failed" and failed)):
            return reservation.kept
        if self._kept_mib + reservation.token.most > self.info.budget_mib // self.info.workers // 2:
            for machine in reservation.machines:
                self.progress.say(machine.name, "not kept: those kept before take half of the memory budget")
            return False
        self._kept_mib += reservation.token.most
        for machine in reservation.machines:
            machine.instance.keep()
        self._keep([machine.name for machine in reservation.machines])
        reservation.kept = True
        return True


def _is_lost(machine: Machine) -> bool:
    try:
        return machine.instance.lost() is not None or not machine.connected
    except MachineLost:
        return True
