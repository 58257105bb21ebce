"""A platform whose machines are threads: ``--platform=tests.simulation.platform:Simulated``.

Boots take their time, commands are run by a real bash in a sandbox, SSH is real: host key and login come from the
Ignition config. A machine's fate is in its config, too: the file ``/etc/simulated/fate``.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import psutil

from kola import ignition as ign
from kola.errors import Loss, PlatformError
from kola.ignition.checks import decode_data_url
from kola.images import Image
from kola.platform import Instance, Platform, Prepared, Scope
from kola.runs import remove_scratch
from kola.spec import Capability, MachineSpec
from tests.simulation.guest import TAG, Guest, make_programs
from tests.simulation.server import Server

FATE = "/etc/simulated/fate"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
LAUNCHES = "launches.jsonl"
POLL = 0.2
"""Seconds between two looks at what a machine was asked for."""


class Fate(enum.StrEnum):
    """What becomes of a machine."""

    WELL = "well"
    REFUSED = "refused"
    """The platform cannot make it."""
    NO_BOOT = "no-boot"
    """It panics instead of coming up."""
    WARNING = "warning"
    """It is well, but its kernel warned."""
    SLOW_CONSOLE = "slow-console"
    """Its console comes in bits, long after it is up."""


@dataclass(frozen=True)
class Options:
    """Delays.

    Attributes:
        boot: seconds of a boot on average; a machine takes half of it to one and a half times.
        slowness: as in ``Prepared``: 64 workers on two cores take their time.
    """

    boot: float = 0.6
    slowness: float = 1.0


@dataclass(frozen=True)
class Config:
    """What a simulated machine reads from its Ignition config."""

    host_key: str
    keys: list[str]
    fate: Fate

    @classmethod
    def of(cls, data: bytes) -> Config:
        tree: dict[str, Any] = json.loads(data)
        files = {file["path"]: file["contents"] for file in tree["storage"]["files"]}
        (core,) = (user for user in tree["passwd"]["users"] if user["name"] == "core")
        fate = decode_data_url(files[FATE]["source"]).decode() if FATE in files else Fate.WELL
        return cls(decode_data_url(files[HOST_KEY]["source"]).decode(), core["sshAuthorizedKeys"], Fate(fate))


def config(fate: Fate) -> Mapping[str, Any]:
    """Return the config for a test's marker that gives its machine this fate."""
    tree: Mapping[str, Any] = json.loads(ign.serialise(ign.add_file(ign.empty(), FATE, fate.value)))
    return tree


class SimulatedMachine:
    """One machine: a thread that boots, answers and looks whether it was asked to go down."""

    address = "127.0.0.1"
    macs: Sequence[str] = ()

    def __init__(self, name: str, given: Config, guest: Guest, boot_seconds: float) -> None:
        self.id = self.name = name
        self.fate = given.fate
        self.guest = guest
        self.journal_path: Path | None = guest.journal
        self.boot_seconds = boot_seconds
        self.server = Server(given.host_key, "core", given.keys, guest.start)
        self.port = self.server.port
        self._began = time.monotonic()
        self._boots = 0
        self._loss: Loss | None = None
        self._reset = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name=f"simulated-{name}", daemon=True)
        self._thread.start()

    def console(self) -> str:
        lines = [f"[    0.{number:06}] Linux version 6.0.0-simulated" for number in range(self._boots)]
        if self.fate is Fate.WARNING:
            lines.append("[    0.500000] WARNING: CPU: 0 PID: 1 at fs/simulated.c:1 simulated+0x1/0x2")
        if self._loss is not None:
            lines.append(f"[    0.900000] Kernel panic - not syncing: {self._loss.summary}")
        text = "".join(f"{line}\r\n" for line in lines)
        if self.fate is Fate.SLOW_CONSOLE:
            return text[: int(10 * (time.monotonic() - self._began))]
        return text

    def ready_signals(self) -> int:
        return 0

    def lost(self) -> Loss | None:
        return self._loss

    def usage(self) -> None:
        """Not known: it is part of this process."""

    def reset(self) -> None:
        self._reset.set()

    def keep(self) -> None:
        raise PlatformError("a simulated machine ends with its process")

    def end(self) -> None:
        self._over.set()
        self._thread.join()
        self.server.close()
        self.guest.remove()

    def _live(self) -> None:
        while not self._over.is_set():
            self._boots += 1
            if self._over.wait(self.boot_seconds):
                return
            if self.fate is Fate.NO_BOOT:
                self._loss = Loss("panic", "kernel panic: simulated: no root file system")
                return
            self.guest.boot()
            self.server.come_back()
            while not self._goes_down():
                self.server.answer(POLL)
            self.server.hang_up()
            if self._loss is not None:
                return

    def _goes_down(self) -> bool:
        if self.guest.asked_for("crash"):
            self._loss = Loss("panic", "kernel panic: simulated: asked for")
        asked = self.guest.asked_for("reboot") or self._reset.is_set()
        self._reset.clear()
        return asked or self._loss is not None or self._over.is_set()


class Simulated(Platform):
    """Machines of threads in the process that launches them; only the processes of commands can be left behind."""

    name = "simulated"
    Options = Options
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.CONSOLE, Capability.HARD_RESET, Capability.JOURNAL_CHANNEL}
    )
    ignition_platform = "simulated"

    def prepare(self, image: Image | None) -> Prepared:
        if not self._programs.exists():  # that of another image of the run
            make_programs(self._programs)
        return Prepared("" if image is None else str(image.path), "simulated", self.options.slowness)

    @contextlib.contextmanager
    def launch(self, spec: MachineSpec, ignition: bytes, name: str, prepared: Prepared) -> Iterator[Instance]:  # noqa: ARG002
        given = Config.of(ignition)
        if given.fate is Fate.REFUSED:
            raise PlatformError(f"{name}: simulated: no more machines today")
        context = self.context
        tag = f"{context.owner}:{context.run_id}:{context.worker}:{name}"
        folder = context.scratch / name
        self._log(name, spec.memory_mib)
        guest = Guest(folder, self._programs, context.artifacts / name / "journal.jsonl", tag)
        part = int(hashlib.sha256(name.encode()).hexdigest()[:4], 16) / 0xFFFF
        machine = SimulatedMachine(name, given, guest, self.options.boot * (0.5 + part))
        try:
            yield machine
        finally:
            machine.end()
            self._log(name, -spec.memory_mib)

    def sweep(self, scope: Scope) -> list[str]:
        removed = set()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                owner, run_id, worker, name = process.environ().get(TAG, ":::").split(":")
                age = time.time() - process.create_time()
                if name and scope.covers(name=name, owner=owner, run_id=run_id, worker=worker, age=age):
                    process.kill()
                    removed.add(name)
        for name in removed:
            remove_scratch(self.context.scratch / name)
        return sorted(removed)

    @property
    def _programs(self) -> Path:
        return self.context.scratch / "programs"

    def _log(self, name: str, mib: int) -> None:
        """Append to the log of launches, which adds up to the memory in use at every moment."""
        line = json.dumps({"worker": self.context.worker, "name": name, "mib": mib}) + "\n"
        descriptor = os.open(self.context.artifacts / LAUNCHES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
