"""Makes machines: boots them, or clones them where the platform can and the test lets it, until SSH answers."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola import health, ignition
from kola.cgroup import available_cores
from kola.clonecache import CLONE_FOLDER, CloneCache
from kola.clones import CONFIG, MACHINE, Clones
from kola.deployment import booted_deployment
from kola.errors import MachineLost, PlatformError, ProviderLost
from kola.keys import generate_key, read_client_key
from kola.lives import FILE, Lives
from kola.machine import Access, Machine
from kola.platform import SnapshotPlatform
from kola.progress import CLONED
from kola.provision import USER, provision
from kola.run import CLIENT_KEY, KNOWN_HOSTS
from kola.slots import Slots, boot_weight
from kola.wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from kola.clonecache import Claim
    from kola.keys import KeyPair
    from kola.platform import Instance, Platform
    from kola.progress import Progress
    from kola.run import RunInfo
    from kola.spec import MachineSpec

BOOT_SECONDS = 120.0
"""How long a first boot may take on a fast machine; scaled by the platform's slowness."""
CLONE_SECONDS = 20.0
"""How long a clone may take to answer on a fast machine, scaled likewise; then it is no good."""
SLOT_SECONDS = 3600.0
"""How long to wait for cores to boot on: other machines boot meanwhile."""
QUIET_SECONDS = 5.0
"""How long a clone may be waited for before that is worth a word."""
_ATTEMPTS = 4
"""How many restores are tried, two of each saved machine, before one is booted for this test alone."""


@dataclass
class Running:
    """A machine and what ends it."""

    machine: Machine
    stack: contextlib.ExitStack
    mark: health.Mark = health.BOOT
    """Where the last look at its logs ended: what came since is the current test's."""
    introduced: bool = False
    """Whether who wants to know of a new machine was told of this one."""
    kept: bool = False
    """Whether it stays after the run."""

    def end(self) -> None:
        """Disconnect, and destroy it unless it is kept."""
        self.stack.close()


@dataclass(frozen=True)
class Wanted:
    """What to launch.

    Attributes:
        spec: of each machine.
        config: a test's own Ignition config, or None.
        indexes: the machines' numbers in their test.
        networks: whose the networks are that the spec names: machines launched with the same value share them.
        clone: whether clones will do.
    """

    spec: MachineSpec
    config: ignition.Config | None
    indexes: range
    networks: str
    clone: bool


@dataclass(frozen=True)
class Boot:
    """One machine to be booted: its keys, and what it is saved under, if it is."""

    access: Access
    host_key: KeyPair
    claim: Claim | None = None


class Launcher:
    """Makes the machines of one process of a run. May be used by several threads at once.

    Args:
        info: of the run.
        platform: this process's driver.
        progress: told what becomes of each machine.
        numbers: that its machines' names end with; shared by launchers whose machines are of one process.
    """

    def __init__(
        self, info: RunInfo, platform: Platform, progress: Progress, numbers: Iterator[int] | None = None
    ) -> None:
        self.info = info
        self.platform = platform
        self.progress = progress
        self.lives = Lives(info.output / FILE)
        self.slowness = info.prepared.slowness * platform.arch.slowness
        # Of machines that are not saved; the host key is each one's own.
        key_file = info.scratch / CLIENT_KEY
        self._access = Access(USER, read_client_key(key_file), "", key_file, info.scratch / KNOWN_HOSTS)
        self.slots = Slots(info.cache / "slots", available_cores(), SLOT_SECONDS)
        self.numbers = itertools.count(1) if numbers is None else numbers
        self.clones: Clones | None = None
        if info.clone and isinstance(platform, SnapshotPlatform):
            cache = CloneCache(info.cache / CLONE_FOLDER, info.clone_limits, lambda why: progress.say("clones", why))
            self.clones = Clones(info, platform, cache, self._access, progress.say)

    def launch(self, wanted: Wanted, running: list[Running]) -> None:
        """Make machines, which boot at the same time if they have to; returns when SSH answers on all of them.

        Each is appended to ``running`` as soon as it exists: one that does not come up is the caller's to end.

        Raises:
            MachineLost: one did not come up; says why.
            PlatformError: the provider could not make one.
            WaitTimeout: another process boots what could be cloned, and does not come to an end; or other machines
                keep the cores busy.
        """
        clones = self._clones_of(wanted)
        if clones is None:
            self._boot(wanted, [self._unsaved() for _ in wanted.indexes], running)
            return
        with contextlib.ExitStack() as claims:
            boots = []
            for index in wanted.indexes:  # always in this order: two tests never wait for each other
                claim = claims.enter_context(self._claim(clones, wanted, index))
                if not self._clone(clones, claim, wanted, running):
                    access, host_key = clones.new_access(claim.key)
                    boots.append(Boot(access, host_key, claim))
            self._boot(wanted, boots, running)

    def can_clone(self, wanted: Wanted) -> bool:
        """Tell whether all these machines would be clones, as far as one can tell beforehand."""
        clones = self._clones_of(wanted)
        return clones is not None and all(
            clones.cache.peek(clones.key(wanted.spec, wanted.config, index)) for index in wanted.indexes
        )

    # -- clones ------------------------------------------------------------------------------------------------------

    def _clones_of(self, wanted: Wanted) -> Clones | None:
        """Return what makes clones, if these machines may be some."""
        clones = self.clones if wanted.clone else None
        return clones if clones is not None and clones.platform.savable(wanted.spec) else None

    def _claim(self, clones: Clones, wanted: Wanted, index: int) -> AbstractContextManager[Claim]:
        key = clones.key(wanted.spec, wanted.config, index)
        return clones.cache.claim(
            key, lambda elapsed: self.progress.say(f"clone {key[:8]}", "waiting for the process that boots it", elapsed)
        )

    def _clone(self, clones: Clones, claim: Claim, wanted: Wanted, running: list[Running]) -> bool:
        """Restore the entry that was claimed; tells whether that worked. One that fails twice, or for long, is dropped.

        A single failure may not be its fault: somebody killed QEMU, as the reaper does when the controller is gone.
        """
        failed = ""
        for _ in range(_ATTEMPTS):
            if claim.entry is None:
                return False
            name, limit = self._name(), Deadline(CLONE_SECONDS * self.slowness)
            try:
                clone = self._restore(clones, claim, wanted, name, limit)
            except (PlatformError, MachineLost) as e:
                last = claim.entry.made == failed or limit.expired
                what = "clone dropped" if last else "clone failed, once more"
                self.progress.say(name, f"{what}: {str(e).splitlines()[0]}", limit.elapsed)
                failed = claim.entry.made
                if last:
                    claim.reject()
                continue
            self.progress.say(name, CLONED, limit.elapsed)
            running.append(clone)
            self._told_up(clone)
            return True
        return False

    def _restore(self, clones: Clones, claim: Claim, wanted: Wanted, name: str, limit: Deadline) -> Running:
        assert claim.entry is not None  # noqa: S101 - for the type checker
        access = clones.access(claim.entry)
        artifacts = self._artifacts(name)
        shutil.copyfile(claim.entry.folder / CONFIG, artifacts / CONFIG)
        self._told_created(name, wanted, "clone")
        with contextlib.ExitStack() as stack:
            stack.callback(self.lives.reached, name, "gone")
            spec = wanted.spec.with_networks_of(wanted.networks)
            restored = clones.platform.restore(claim.entry.folder / MACHINE, spec, name, self.info.prepared)
            machine = self._machine(stack.enter_context(restored), access, wanted.spec, artifacts, quiet=QUIET_SECONDS)
            stack.callback(machine.close)
            machine.connect(limit)
            clones.platform.set_clock(machine.instance)
            return Running(machine, stack.pop_all())

    # -- boots -------------------------------------------------------------------------------------------------------

    def _unsaved(self) -> Boot:
        host_key = generate_key()
        return Boot(dataclasses.replace(self._access, host_key=host_key.public), host_key)

    def _boot(self, wanted: Wanted, boots: list[Boot], running: list[Running]) -> None:
        """Boot machines, as many at once as there are cores for, and save those that were claimed to be saved."""
        accelerator = self.info.prepared.accelerator
        weight = boot_weight(accelerator, wanted.spec.vcpus)
        while boots:
            name = self._name()
            with self.slots.take_some(len(boots), name, weight, functools.partial(self.progress.say, name)) as holds:
                names = [name, *(self._name() for _ in holds[1:])]
                now, boots = boots[: len(holds)], boots[len(holds) :]
                started = [self.start(*each, wanted, running) for each in zip(names, now, strict=True)]
                for boot, new, hold in zip(now, started, holds, strict=True):
                    up = self._connected(new, boot, wanted, running)
                    if self.clones is not None and boot.claim is not None and boot.claim.draft is not None:
                        self.clones.save(boot.claim, up.machine, boot.access)
                        up.machine.connect()
                    hold.release()

    def start(self, name: str, boot: Boot, wanted: Wanted, running: list[Running]) -> Running:
        """Start a machine, without waiting for anything."""
        full = provision(
            wanted.config,
            client_key=boot.access.client_key.public,
            host_key=boot.host_key,
            capabilities=self.platform.capabilities,
            additions=self.info.additions,
            binds=wanted.spec.binds,
        )
        artifacts = self._artifacts(name)
        (artifacts / CONFIG).write_bytes(ignition.serialise(ignition.redact(full)))
        self._told_created(name, wanted, "boot")
        with contextlib.ExitStack() as stack:
            stack.callback(self.lives.reached, name, "gone")
            spec = wanted.spec.with_networks_of(wanted.networks)
            launched = self.platform.launch(spec, ignition.serialise(full), name, self.info.prepared)
            machine = self._machine(stack.enter_context(launched), boot.access, wanted.spec, artifacts)
            stack.callback(machine.close)
            new = Running(machine, stack.pop_all())
        running.append(new)
        self.lives.reached(name, "booting")
        self.progress.say(name, "booting")
        return new

    def _connected(self, new: Running, boot: Boot, wanted: Wanted, running: list[Running]) -> Running:
        """Wait until SSH answers. Of a machine that died of what runs it one more is made: an emulator may crash."""
        try:
            self.connect(new)
        except ProviderLost as e:
            self.progress.say(new.machine.name, f"lost, once more: {e.loss.summary}", e.elapsed or 0.0)
            place = running.index(new)
            running.pop(place).end()
            again = self.start(self._name(), boot, wanted, running)
            running.insert(place, running.pop())
            self.connect(again)
            return again
        return new

    def connect(self, running: Running) -> None:
        """Wait until SSH answers.

        Raises:
            MachineLost: it will not; says why.
        """
        machine = running.machine
        limit = Deadline(BOOT_SECONDS * self.slowness)
        machine.connect(limit)
        self.progress.say(machine.name, "up", limit.elapsed)
        self._told_up(running)

    # -- both --------------------------------------------------------------------------------------------------------

    def _name(self) -> str:
        return f"kola-{self.info.run_id}-{self.platform.context.worker}-{next(self.numbers)}"

    def _told_created(self, name: str, wanted: Wanted, origin: str) -> None:
        self.lives.reached(
            name,
            "created",
            worker=self.platform.context.worker,
            origin=origin,
            updated=self.info.updated,
            firmware=wanted.spec.firmware,
            memory_mib=wanted.spec.memory_mib,
            artifacts=f"machines/{name}",
        )

    def _told_up(self, running: Running) -> None:
        name = running.machine.name
        self.lives.reached(name, "up")
        self.lives.tell(name, deployment=booted_deployment(running.machine))

    def _artifacts(self, name: str) -> Path:
        folder = self.info.output / "machines" / name
        folder.mkdir(parents=True)
        return folder

    def _machine(
        self, instance: Instance, access: Access, spec: MachineSpec, artifacts: Path, *, quiet: float = 0.0
    ) -> Machine:
        def say(state: str, elapsed: float) -> None:
            if elapsed >= quiet:
                self.progress.say(instance.name, state, elapsed)

        return Machine(
            instance,
            access,
            spec=spec,
            artifacts=artifacts,
            slowness=self.slowness,
            progress=say,
        )
