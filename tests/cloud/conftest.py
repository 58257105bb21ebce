"""Rehearsed clouds for tests of drivers: real SDK, real HTTP, machines that are not booted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from kola.arch import get_arch
from kola.cloud.platform import CloudPlatform
from kola.images import Image
from kola.platform import Instance, RunContext, load_platform, parse_options
from kola.retry import Backoff
from kola.spec import MachineSpec
from platforms.qemu.disks import make_empty
from rehearsal.faults import Trouble
from rehearsal.host import Machine
from rehearsal.server import Rehearsal, rehearse

pytest.register_assert_rewrite("tests.contract", "tests.cloud.contract")

ARCH = get_arch("x86_64")
QUICK = Backoff(first=0.001, most=0.01, seconds=20.0)


@dataclass(frozen=True)
class Cloud:
    """A rehearsed cloud and the way to its driver."""

    rehearsal: Rehearsal
    folder: Path
    local: Image
    create: str
    """The call that makes a machine."""
    run: str = "run1"
    owner: str = "Release.Team"
    spec: MachineSpec = field(default_factory=MachineSpec)

    @property
    def image(self) -> Image:
        """What the contract of all platforms boots."""
        return self.published

    @property
    def published(self) -> Image:
        """An image that the cloud has already."""
        return replace(self.local, format="cloud", reference=f"cloud:{self.rehearsal.images[0]}")

    def driver(
        self, run: str = "run1", owner: str = "Release.Team", worker: str = "gw0", **options: Any
    ) -> CloudPlatform:
        """Return the driver of one process of a run; options in Python's spelling."""
        folder = self.folder / run
        for name in ("artifacts", "scratch"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        context = RunContext(run, owner, worker, folder / "artifacts", folder / "scratch", folder / "cache")
        found = load_platform(self.rehearsal.name)
        quick: Any = type("Quick", (found,), {"interval": 0.02, "backoff": QUICK})
        given = {
            **self.rehearsal.options(),
            "slowness": "1",
            **{key.replace("_", "-"): value for key, value in options.items()},
        }
        made = quick(parse_options(found, [f"{key}={value}" for key, value in given.items()]), ARCH, context)
        assert isinstance(made, CloudPlatform)
        return made

    def arguments(self) -> list[str]:
        """Return what the command line needs to find this cloud."""
        pairs = self.rehearsal.options().items()
        return [f"--platform={self.rehearsal.name}", *(word for pair in pairs for word in ("-P", "=".join(pair)))]

    def left(self) -> list[str]:
        """Return everything that exists in the cloud and was made by a driver."""
        return self.rehearsal.front.resources()

    def machine(self, instance: Instance) -> Machine:
        """Return the cloud's side of a machine."""
        (found,) = (one for one in self.rehearsal.host.machines.values() if one.address == instance.address)
        return found

    def boots(self, instance: Instance) -> float:
        """Return when its power was switched on."""
        return self.machine(instance).running_at

    def kill(self, instance: Instance) -> None:
        """Let its power be off."""
        self.machine(instance).state = "off"

    @contextlib.contextmanager
    def failing(self) -> Iterator[CloudPlatform]:
        """Yield a driver to which the cloud denies the call that makes a machine."""
        self.rehearsal.faults.inject(Trouble.DENIED, self.create, times=1000)
        yield self.driver()
        self.rehearsal.faults.clear()


@pytest.fixture
def cloud(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """The cloud that the test's class names (``NAME``)."""
    disk = tmp_path / "disk.qcow2"
    make_empty(disk, 1)
    local = Image(path=disk, format="qcow2", sha256="5" * 64, reference=str(disk), arch="x86_64")
    with rehearse(request.cls.NAME, ARCH, (disk,), boots=False) as rehearsal:
        for name, value in rehearsal.environment().items():
            monkeypatch.setenv(name, value)
        yield Cloud(rehearsal, tmp_path, local, getattr(request.cls, "CREATE", ""))


@pytest.fixture
def world(cloud: Cloud) -> Cloud:
    """The same for the contract of all platforms."""
    return cloud
