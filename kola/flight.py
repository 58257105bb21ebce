"""The machines of one process of a run: who gets which, kept, shared, made in advance, ended; inside the budget."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kola import health
from kola.budget import Budget, Evictor
from kola.errors import ConfigError, KolaError
from kola.hostports import HostPorts
from kola.launcher import Launcher, Wanted
from kola.meter import Meter
from kola.needs import Isolation, machine_mib
from kola.park import Park, Parked, end_all
from kola.progress import Progress
from kola.slots import Hold
from kola.usage import Kind, UsageStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from kola import ignition
    from kola.budget import Token
    from kola.checks import Finding
    from kola.images import Image
    from kola.launcher import Running
    from kola.machine import Machine
    from kola.needs import Needs
    from kola.platform import Instance, Platform
    from kola.run import RunInfo

ADMISSION_SECONDS = 3600.0
"""How long a test may wait for memory: other tests run meanwhile."""

MOST_ENDING = 4
"""Tests whose machines may be at their end in the background before the next one has to wait for them."""

_LOG = logging.getLogger(__name__)


def wanted(needs: Needs, config: ignition.Config | None, indexes: range, networks: str) -> Wanted:
    """Return what to launch for a test: so many of its machines, with that config, on those networks."""
    return Wanted(
        spec=needs.spec,
        config=config,
        indexes=indexes,
        networks=networks,
        clone=needs.isolation is not Isolation.FIRST_BOOT,
    )


@dataclass
class Reservation:
    """The memory that a test was admitted with, and the machines that it made of it."""

    flight: Flight
    needs: Needs
    nodeid: str
    token: Token
    ready: list[Running] = field(default_factory=list)
    """Machines that were there already and that the test has not asked for yet."""
    running: list[Running] = field(default_factory=list)
    ports: Hold = field(default_factory=Hold)
    """Ports of this host that no other test has meanwhile."""
    own_config: bool = False
    """Whether a machine has a config that is not the marker's."""

    @property
    def machines(self) -> list[Machine]:
        """The machines that the test has used so far."""
        return [running.machine for running in self.running]

    @property
    def image(self) -> Image:
        """What the test's machines boot."""
        return self.flight.launcher_of(self.needs).info.image

    @property
    def instances(self) -> list[Instance]:
        """All machines that the token pays for."""
        return [running.machine.instance for running in (*self.running, *self.ready)]

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
        if config is not None:  # what is ready has another
            self.own_config = True
            others, self.ready = self.ready, []
            self.flight.end(others)
        self._launch(config or self.needs.ignition, 1)
        return self.machines[-1]

    def launch_all(self) -> list[Machine]:
        """Give the test all its machines; they boot at the same time as far as there are cores, if they have to."""
        self._launch(self.needs.ignition, self.needs.machines - len(self.running))
        return self.machines

    def discard(self) -> None:
        """End the machines that the test has, before it launches others in their place, of the same memory."""
        end_all(self.running)
        self.running.clear()

    def _launch(self, config: ignition.Config | None, count: int) -> None:
        ready = min(count, len(self.ready))
        self.running += self.ready[:ready]
        del self.ready[:ready]
        if count > ready:
            first = len(self.running)
            indexes = range(first, first + count - ready)
            self.flight.launcher_of(self.needs).launch(wanted(self.needs, config, indexes, self.token.id), self.running)
        for running in self.running:
            self.flight.introduce(running)

    def examine(self) -> list[tuple[Machine, list[Finding]]]:
        """Look at what each machine shows since it was last looked at."""
        found = []
        for running in self.running:
            seen = health.examine(running.machine, running.mark)
            running.mark = seen.mark
            found.append((running.machine, seen.findings))
        return found

    def shares(self, key: str) -> bool:
        """Tell whether another test with that machine key is going to get this one's machine."""
        return self.needs.isolation is Isolation.SHARED and not self.own_config and self.needs.machine_key() == key

    def keep(self, *, failed: bool) -> list[Machine]:
        """Keep the machines that the test has used so far if the user asked for it; returns those that are kept."""
        self.flight.keep(self, failed=failed)
        return [running.machine for running in self.running if running.kept]

    def close(self, *, failed: bool) -> None:
        """End the test's machines unless they are kept; a healthy shared one serves the next test."""
        self.flight.release(self, failed=failed)


class Flight:
    """All machines of one process; a context manager.

    Args:
        info: of the run.
        platform: this process's driver.
        keep: called with the names of machines that stay after the run.
        on_up: called with each machine before its first test sees it; what it raises is that test's error.
    """

    def __init__(
        self,
        info: RunInfo,
        platform: Platform,
        keep: Callable[[list[str]], None],
        on_up: Callable[[Machine], None] | None = None,
    ) -> None:
        self.info = info
        self.platform = platform
        self.worker = worker = platform.context.worker
        self.progress = Progress(info.output / "progress.jsonl", worker)
        self.budget = Budget(info.scratch / "budget", info.budget_mib, worker)
        self.ports = HostPorts(info.cache / "ports", ADMISSION_SECONDS)
        self.launcher = Launcher(info, platform, self.progress)
        self.update_launcher = self.launcher
        if info.from_image is not None:
            self.update_launcher = Launcher(info.for_updates(), platform, self.progress, self.launcher.numbers)
        self.park = Park()
        kind = Kind(info.platform, info.arch, info.prepared.accelerator)
        self.meter = Meter(UsageStore(info.cache), kind, info.image.sha256, info.run_id)
        self._keep = keep
        self._on_up = on_up
        self._kept_mib = 0
        self._evictor = Evictor(self.budget, self._evict)
        self._background = ThreadPoolExecutor(2, thread_name_prefix="kola-flight")
        self._ending: deque[Future[None]] = deque()
        self._warming: Future[None] | None = None

    def __enter__(self) -> Flight:  # noqa: PYI034 - final in practice
        self._evictor.__enter__()
        self.meter.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.ExitStack() as stack:  # from the last to the first, whatever one of them raises
            stack.callback(self.platform.close)
            stack.callback(self._evictor.__exit__, None, None, None)
            stack.callback(self.meter.__exit__, None, None, None)
            stack.callback(self._end_parked)
            stack.callback(self._await_ending, 0)
            stack.callback(self._background.shutdown)

    def launcher_of(self, needs: Needs) -> Launcher:
        """Return what makes the machines of a test."""
        return self.update_launcher if needs.from_image else self.launcher

    # -- admission ---------------------------------------------------------------------------------------------------

    def reserve(self, needs: Needs, nodeid: str) -> Reservation:
        """Admit a test: take all the memory that it will use in one step, waiting for other tests if need be.

        The ports of this host come first: whoever waits for one holds no memory.

        Raises:
            ConfigError: it declares more than the whole budget.
            PlatformError: a port is in use.
            WaitTimeout: the memory, or a port, did not become free.
        """
        with contextlib.ExitStack() as undo:
            say = functools.partial(self.progress.say, nodeid)
            ports = undo.enter_context(self.ports.take(needs.host_ports, say))
            reservation = self._admit(needs, nodeid)
            reservation.ports = ports
            undo.pop_all()
        return reservation

    def _admit(self, needs: Needs, nodeid: str) -> Reservation:
        key, each = needs.machine_key(), machine_mib(needs)
        parked = self._claim(needs, key)
        if parked is not None:
            reservation = Reservation(self, needs, nodeid, parked.token, ready=list(parked.running))
        else:
            token = self.budget.acquire(
                needs.machines * self.meter.expected_mib(key, each), most=needs.machines * each, what=nodeid,
                timeout=ADMISSION_SECONDS, on_wait=lambda why: self.progress.say(nodeid, why),
            )  # fmt: skip
            reservation = Reservation(self, needs, nodeid, token)
        self.meter.register(reservation.token, key, each, lambda: reservation.instances)
        return reservation

    def _claim(self, needs: Needs, key: str) -> Parked | None:
        if needs.isolation is Isolation.FIRST_BOOT:
            return None
        if self._warming is not None:  # it is for this test, as a rule
            warming, self._warming = self._warming, None
            try:
                warming.result()
            except Exception as e:  # noqa: BLE001 - the test meets it itself if it lasts, and says so
                _LOG.warning("a machine could not be made in advance: %s", e, exc_info=e)
        return self.park.claim(key, needs.machines, shared=needs.isolation is Isolation.SHARED)

    def _end_parked(self) -> None:
        with contextlib.ExitStack() as stack:
            for parked in self.park.clear():
                stack.callback(parked.end)

    def _evict(self, token_id: str) -> None:
        parked = self.park.take(token_id)
        if parked is not None:
            for running in parked.running:
                self.progress.say(running.machine.name, "idle, makes room for another test")
            parked.end()

    def introduce(self, running: Running) -> None:
        """Tell of a machine that a test is about to see; of one that somebody was told of, not again."""
        if self._on_up is not None and not running.introduced:
            self._on_up(running.machine)
            running.introduced = True

    # -- machines made in advance ------------------------------------------------------------------------------------

    def warm(self, needs: Needs, nodeid: str, current: Reservation | None) -> None:
        """Begin to make the machines of the next test, if they are clones and there is memory that nobody waits for.

        Args:
            needs: of the next test.
            nodeid: its.
            current: of the test that runs; its machine may be the next one's too.
        """
        key, shared = needs.machine_key(), needs.isolation is Isolation.SHARED
        if shared and current is not None and current.shares(key):
            return
        parked = self.park.holds(key, needs.machines, shared=shared)
        what = wanted(needs, needs.ignition, range(needs.machines), networks="")
        if self._warming is None and not parked and self.launcher_of(needs).can_clone(what):
            self._warming = self._background.submit(self._warm, needs, nodeid, key, what)

    def _warm(self, needs: Needs, nodeid: str, key: str, what: Wanted) -> None:
        each = machine_mib(needs)
        expected = needs.machines * self.meter.expected_mib(key, each)
        token = self.budget.try_acquire(expected, most=needs.machines * each, what=f"{nodeid} (next)")
        if token is None:
            return
        running: list[Running] = []
        try:
            self.launcher_of(needs).launch(replace(what, networks=token.id), running)
        except KolaError:  # the test itself will meet it, and say so
            Parked(key, tuple(running), token, used=False).end()
        except BaseException:
            Parked(key, tuple(running), token, used=False).end()
            raise
        else:
            self.park.put(Parked(key, tuple(running), token, used=False))

    # -- the end of a test -------------------------------------------------------------------------------------------

    def release(self, reservation: Reservation, *, failed: bool) -> None:
        """End the machines of a test that are not kept, and give their memory back; that goes on in the background."""
        everything = (*reservation.running, *reservation.ready)
        try:
            reservation.ports.release()
            self.meter.unregister(reservation.token)
            for running in everything:
                if (peak := self.meter.peak_mib(running.machine.name)) is not None:
                    self.launcher.lives.tell(running.machine.name, peak_mib=round(peak, 1))
        finally:  # the disk may be full: no reason to keep them
            self._park_or_end(reservation, everything, failed=failed)

    def _park_or_end(self, reservation: Reservation, everything: tuple[Running, ...], *, failed: bool) -> None:
        healthy = bool(everything) and not any(_is_lost(running.machine) for running in everything)
        kept = any(running.kept for running in everything)
        key = reservation.needs.machine_key()
        if reservation.shares(key) and healthy and not (kept and failed):
            self.park.put(Parked(key, everything, reservation.token, used=True))
            return
        # A kept machine goes on using its memory.
        self.end(everything, None if kept else reservation.token)

    def end(self, machines: tuple[Running, ...] | list[Running], token: Token | None = None) -> None:
        """End machines in the background, then give back what paid for them; at most a few tests' at a time.

        Raises:
            KolaError: some could not be ended, as a rule of an earlier test: these are on their way by then.
        """
        self._ending.append(self._background.submit(_end, tuple(machines), token))
        self._await_ending(MOST_ENDING)

    def _await_ending(self, most: int) -> None:
        while len(self._ending) > most or (self._ending and self._ending[0].done()):
            self._ending.popleft().result()

    def keep(self, reservation: Reservation, *, failed: bool) -> None:
        """Keep what a test has, if the user wants that; all may take half of this process's share of the budget."""
        which = self.info.keep_machines
        if not (which == "always" or (which == "failed" and failed)):
            return
        # A shared one may be kept already, others may still be launched.
        new = [running for running in reservation.running if not running.kept]
        mib = len(new) * machine_mib(reservation.needs)
        if self._kept_mib + mib > self.info.budget_mib // self.info.workers // 2:
            for running in new:
                self.progress.say(running.machine.name, "not kept: those kept before take half of the memory budget")
            return
        self._kept_mib += mib
        for running in new:
            running.machine.instance.keep()
            running.kept = True
            self.launcher.lives.tell(running.machine.name, kept=True)
        if new:
            self._keep([running.machine.name for running in new])


def _end(machines: tuple[Running, ...], token: Token | None) -> None:
    end_all(machines)
    if token is not None:
        token.release()


def _is_lost(machine: Machine) -> bool:
    try:
        return machine.instance.lost() is not None or not machine.connected
    except KolaError:  # also of a provider that does not answer now: it serves no other test
        return True
