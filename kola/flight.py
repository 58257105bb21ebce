"""The machines of one process of a run: launching, sharing, keeping and ending them, inside the memory budget."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kola import health, ignition
from kola.budget import Budget, Evictor
from kola.errors import ConfigError, MachineLost
from kola.keys import generate_key, read_client_key
from kola.machine import Access, Machine
from kola.needs import Isolation
from kola.progress import Progress
from kola.provision import USER, provision
from kola.run import CLIENT_KEY, KNOWN_HOSTS
from kola.wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from kola.budget import Token
    from kola.checks import Finding
    from kola.needs import Needs
    from kola.platform import Platform
    from kola.run import RunInfo
    from kola.spec import MachineSpec

MACHINE_OVERHEAD_MIB = 192
"""What QEMU needs beside the guest's own memory (code, TCG's translation buffer, device buffers)."""

BOOT_SECONDS = 120.0
"""How long a first boot may take on a fast machine; scaled by the platform's slowness."""

ADMISSION_SECONDS = 3600.0
"""How long a test may wait for memory: other tests run meanwhile."""


def memory_mib(needs: Needs) -> int:
    """Return what a test takes from the budget."""
    return needs.machines * (needs.spec.memory_mib + MACHINE_OVERHEAD_MIB)


@dataclass
class Running:
    """A machine and what ends it."""

    machine: Machine
    stack: contextlib.ExitStack
    mark: health.Mark = health.BOOT
    """Where the last look at its logs ended: what came since is the current test's."""

    def end(self) -> None:
        """Disconnect, and destroy it unless it is kept."""
        self.machine.close()
        self.stack.close()


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
        flight, needs = self.flight, self.needs
        if needs.isolation is Isolation.SHARED and config is None:
            return flight.shared(self)
        running = flight.start(needs.spec, config or needs.ignition)
        # Before it is up: a machine that fails to boot is ended, kept and described like any other.
        self.running.append(running)
        flight.connect(running)
        return running.machine

    def launch_all(self) -> list[Machine]:
        """Give the test all its machines; they boot at the same time."""
        if self.needs.isolation is Isolation.SHARED:
            self.launch()
        for _ in range(self.needs.machines - len(self.running)):
            self.running.append(self.flight.start(self.needs.spec, self.needs.ignition))
        for running in self.running:
            self.flight.connect(running)
        return self.machines

    def examine(self) -> list[tuple[Machine, list[Finding]]]:
        """Look at what each machine shows since it was last looked at."""
        found = []
        for running in self.running:
            seen = health.examine(running.machine, running.mark)
            running.mark = seen.mark
            found.append((running.machine, seen.findings))
        return found

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
        self._client_key = read_client_key(info.scratch / CLIENT_KEY)
        self._count = 0
        self._kept_mib = 0
        self._shared: dict[str, Shared] = {}  # by the id of the token that pays for it
        self._lock = threading.Lock()
        self._evictor = Evictor(self.budget, self._evict)

    def __enter__(self) -> Flight:  # noqa: PYI034 - final in practice
        self._evictor.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._evictor.__exit__(None, None, None)
        for shared in self._shared.values():
            shared.end()
        self._shared.clear()

    # -- admission ---------------------------------------------------------------------------------------------------

    def reserve(self, needs: Needs, nodeid: str) -> Reservation:
        """Admit a test: take all the memory that it declares in one step, waiting for other tests if need be.

        Raises:
            ConfigError: it asks for more than the whole budget.
            WaitTimeout: the memory did not become free.
        """
        if needs.isolation is Isolation.SHARED and (token := self._claim_shared(needs.machine_key())):
            return Reservation(self, needs, nodeid, token)
        token = self.budget.acquire(
            memory_mib(needs), what=nodeid, timeout=ADMISSION_SECONDS,
            on_wait=lambda why: self.progress.say(nodeid, why),
        )  # fmt: skip
        return Reservation(self, needs, nodeid, token)

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
        """Return the shared machine that fits; boot it if need be."""
        needs = reservation.needs
        with self._lock:
            found = self._shared.get(reservation.token.id)
        if found is not None:
            running = found.running
            reservation.running.append(running)
            return running.machine
        running = self.start(needs.spec, needs.ignition)
        reservation.running.append(running)
        self.connect(running)
        with self._lock:
            self._shared[reservation.token.id] = Shared(needs.machine_key(), running, reservation.token)
        return running.machine

    def start(self, spec: MachineSpec, config: ignition.Config | None) -> Running:
        """Start a machine, without waiting for anything."""
        info = self.info
        self._count += 1
        name = f"kola-{info.run_id}-{self.worker}-{self._count}"
        host_key = generate_key()
        full = provision(
            config,
            client_key=self._client_key.public,
            host_key=host_key,
            capabilities=self.platform.capabilities,
        )
        artifacts = info.output / "machines" / name
        artifacts.mkdir(parents=True)
        (artifacts / "ignition.json").write_bytes(ignition.serialise(ignition.redact(full)))
        with contextlib.ExitStack() as stack:
            instance = stack.enter_context(self.platform.launch(spec, ignition.serialise(full), name, info.prepared))
            access = Access(
                user=USER, client_key=self._client_key, host_key=host_key.public,
                key_file=info.scratch / CLIENT_KEY, known_hosts=info.scratch / KNOWN_HOSTS,
            )  # fmt: skip
            machine = Machine(
                instance,
                access,
                spec=spec,
                artifacts=artifacts,
                slowness=info.prepared.slowness * self.platform.arch.slowness,
                progress=lambda state, elapsed: self.progress.say(name, state, elapsed),
            )
            running = Running(machine, stack.pop_all())
        self.progress.say(name, "booting")
        return running

    def connect(self, running: Running) -> None:
        """Wait until SSH answers.

        Raises:
            MachineLost: it will not; says why.
        """
        machine = running.machine
        limit = Deadline(BOOT_SECONDS * machine.slowness)
        machine.connect(limit)
        self.progress.say(machine.name, "up", limit.elapsed)

    # -- the end of a test -------------------------------------------------------------------------------------------

    def release(self, reservation: Reservation, *, failed: bool) -> None:
        """End the machines of a test that are not kept, and give their memory back."""
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
        if self._kept_mib + reservation.token.mib > self.info.budget_mib // self.info.workers // 2:
            for machine in reservation.machines:
                self.progress.say(machine.name, "not kept: those kept before take half of the memory budget")
            return False
        self._kept_mib += reservation.token.mib
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
