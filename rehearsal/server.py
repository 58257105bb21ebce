"""A rehearsal: host, front end and gate, served on loopback."""

from __future__ import annotations

import contextlib
import importlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kola.errors import ConfigError
from rehearsal.faults import Faults
from rehearsal.gate import Gate
from rehearsal.host import CloudHost, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kola.arch import Arch
    from rehearsal.frontend import FrontEnd

NAMES = ("aws", "gcp", "azure")


@dataclass(frozen=True)
class Rehearsal:
    """A cloud that can be used.

    Attributes:
        name: of the platform.
        host: its machines.
        front: its API.
        faults: what goes wrong, and the log of its calls.
        images: ids of the images that are there from the beginning.
    """

    name: str
    host: CloudHost
    front: FrontEnd
    faults: Faults
    images: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """Return the environment variables with the credentials for it."""
        return dict(self.front.environment())

    def options(self) -> dict[str, str]:
        """Return the ``-P`` options for it."""
        given = {"slowness": str(self.host.accelerator.slowness), "ssh-port": str(self.host.ssh_port)}
        return {**given, **self.front.options()}


def front_end(name: str) -> type[FrontEnd]:
    """Find a front end by name.

    Raises:
        ConfigError: there is none, or what it needs is not installed.
    """
    if name not in NAMES:
        raise ConfigError(f"no rehearsal '{name}'; there are: {', '.join(NAMES)}")
    try:
        found: type[FrontEnd] = importlib.import_module(f"rehearsal.{name}").FRONT_END
    except ModuleNotFoundError as e:
        raise ConfigError(
            f"a rehearsal of {name} needs the Python module '{e.name}': pip install 'pytest-kola[rehearsal]'"
        ) from e
    return found


@contextlib.contextmanager
def rehearse(
    name: str, arch: Arch, disks: tuple[Path, ...] = (), *, boots: bool = True, slow_seconds: float = 0.0, port: int = 0
) -> Iterator[Rehearsal]:
    """Serve a cloud; at the end everything in it is gone.

    Args:
        name: of the platform.
        arch: of its machines.
        disks: qcow2 files that are its images from the beginning.
        boots: see ``CloudHost``.
        slow_seconds: how long its machines take to be on.
        port: of 127.0.0.1 for the API; 0: any.

    Raises:
        ConfigError: something is not installed.
    """
    made = front_end(name)
    faults = Faults()
    with (
        tempfile.TemporaryDirectory(prefix="kola-rehearsal-") as folder,
        CloudHost(Path(folder, "host"), arch, boots=boots, slow_seconds=slow_seconds) as host,
    ):
        front = made(host)
        with contextlib.closing(front), serving(Gate(front, faults), port) as found:
            front.url = f"http://127.0.0.1:{found}"
            images = []
            for disk in disks:
                host.add_image(str(disk), disk, front.ignition_platform)
                images.append(front.register(str(disk)))
            yield Rehearsal(name, host, front, faults, tuple(images))
