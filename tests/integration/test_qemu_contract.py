"""The qemu platform, by the contract of all platforms, with real QEMU: guests of one sector."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from kola.arch import host_arch
from kola.images import Image
from kola.platform import Instance, Platform, Prepared, RunContext
from kola.spec import MachineSpec
from platforms.qemu.driver import Qemu
from platforms.qemu.options import Options
from platforms.qemu.process import find_guest, guests
from tests.contract import PlatformContract, World
from tests.integration.qemu_guests import HALT, SMALL, image_of, make_disk

pytestmark = [
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is not installed"),
    pytest.mark.skipif(host_arch().name != "x86_64", reason="the guests here are x86_64 code"),
]


@dataclass(frozen=True)
class Host:
    """This host, as far as it is this run's."""

    shared: Qemu
    folder: Path
    image: Image
    ready: Prepared
    run: str = f"contract{os.getpid()}"
    owner: str = f"Contract.{os.getpid()}"
    spec: MachineSpec = SMALL

    def driver(self, run: str = "", owner: str = "", worker: str = "gw0", options: Options | None = None) -> Qemu:
        """Return the driver of one process; all have the one libvirt that a process can have embedded."""
        context = RunContext(
            run or self.run, owner or self.owner, worker, self.folder / "artifacts", self.folder / "scratch",
            self.folder / "cache",
        )  # fmt: skip
        made = Qemu(options or Options(), host_arch(), context)
        made._link = self.shared._link
        return made

    def left(self) -> list[str]:
        """Return guests and files."""
        found = []
        for name, process in guests():
            process.close()
            if name.startswith(f"kola-{self.run}"):
                found.append(f"guest {name}")
        return sorted([*found, *(f"folder {path.name}" for path in self.folder.glob("scratch/kola-*"))])

    def boots(self, instance: Instance) -> float:
        """Count what the firmware says at each."""
        return instance.console().count("Booting from Hard Disk")

    def kill(self, instance: Instance) -> None:
        """Kill QEMU."""
        process = find_guest(instance.name)
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        process.close()

    @contextlib.contextmanager
    def failing(self) -> Iterator[Platform]:
        """Yield a driver whose QEMU does not start: everything else of the machine is there by then."""
        yield self.driver(options=Options(accelerator="tcg", cpu="no-such-cpu"))


@pytest.fixture
def world(qemu: Qemu, idle: Prepared, folder: Path) -> Iterator[Host]:
    """This host, on which nothing is left after each test."""
    own = folder / "c"
    own.mkdir(exist_ok=True)
    host = Host(qemu, own, image_of(make_disk(own / "halt.img", HALT)), idle)
    yield host
    assert host.left() == []


class TestQemu(PlatformContract):
    """The contract."""

    KILLED: ClassVar[str] = "provider"

    def prepared(self, world: World) -> Prepared:
        """Prepare once: that runs guests to find out which accelerator works, which takes seconds."""
        assert isinstance(world, Host)
        return replace(world.ready, image_ref=str(world.image.path))

    def test_a_driver_is_closed_more_than_once(self, world: World) -> None:
        """One that nothing was done with: after the end of a used one there is no other in this process.

        Of that see ``test_qemu_close.py``.
        """
        assert isinstance(world, Host)
        unused = Qemu(Options(), host_arch(), world.driver().context)
        unused.close()
        unused.close()
