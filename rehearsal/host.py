"""What all rehearsed clouds stand on: images, machines with an address of their own, power, console, metadata."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from werkzeug import Request
from werkzeug.serving import make_server

from kola.errors import ConfigError, PlatformError
from platforms.qemu import accel, disks, kargs
from rehearsal.guest import Guest
from rehearsal.quiet import QuietHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from werkzeug import Response

    from kola.arch import Arch

_NETWORK = 18  # 127.18.0.0/16, of which a host takes one /24


@dataclass
class Machine:
    """A machine of a rehearsed cloud.

    Attributes:
        id: the front end's.
        address: of this host, stands for its public address; SSH is at ``CloudHost.ssh_port``.
        user_data: what its metadata service gives away.
        tags: for the front end's own use.
        running_at: when the power is said to be on, monotonic: a slow cloud takes its time.
        state: ``on``, ``off`` or ``gone``.
    """

    id: str
    address: str
    user_data: bytes
    memory_mib: int
    vcpus: int
    tags: dict[str, str] = field(default_factory=dict)
    running_at: float = 0.0
    state: str = "on"
    guest: Guest | None = None
    folder: Path | None = None
    closers: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def running(self) -> bool:
        """Whether the cloud says that it runs."""
        dead = self.guest is not None and not self.guest.running
        return self.state == "on" and time.monotonic() >= self.running_at and not dead

    @property
    def pending(self) -> bool:
        """Whether the cloud says that it is on its way up."""
        return self.state == "on" and time.monotonic() < self.running_at

    def console(self) -> str:
        """Return what it wrote to its serial console."""
        return "" if self.guest is None else self.guest.said()


class CloudHost:
    """Boots guests of an image for a front end; a context manager that leaves nothing.

    Args:
        folder: for their files; made, and removed at the end.
        arch: of the guests.
        boots: False makes machines that are records only: calls can be rehearsed by the thousand.
        slow_seconds: how long a machine takes to be on, for the front end.
    """

    def __init__(self, folder: Path, arch: Arch, *, boots: bool = True, slow_seconds: float = 0.0) -> None:
        self.folder = folder
        self.arch = arch
        self.boots = boots
        self.slow_seconds = slow_seconds
        self.machines: dict[str, Machine] = {}
        self.images: dict[str, Path] = {}
        self.ssh_port = 22 if _may_bind(22) else 2222
        self._block = itertools.count(os.getpid() % 250 + 1)
        self._addresses = self._free_addresses()
        self._lock = threading.Lock()
        self._spawner = ThreadPoolExecutor(1, thread_name_prefix="rehearsal-spawner")
        self.accelerator = accel.Accelerator("none", 1.0, "no guests")

    def __enter__(self) -> CloudHost:  # noqa: PYI034 - not made to be inherited from
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.boots:
            emulator = shutil.which(f"qemu-system-{self.arch.qemu}")
            if emulator is None:
                raise ConfigError(f"a rehearsal needs qemu-system-{self.arch.qemu}: install qemu-system")
            self.accelerator = accel.choose("auto", self.arch, emulator, "host", self.folder)
        return self

    def __exit__(self, *exc: object) -> None:
        for machine in list(self.machines.values()):
            self.delete(machine.id)
        self._spawner.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_image(self, name: str, disk: Path, ignition_platform: str) -> None:
        """Make an image of a disk: the same, but its Ignition is that platform's.

        Raises:
            PlatformError: the disk has no boot partition as Fedora CoreOS has.
        """
        if not self.boots:
            self.images[name] = disk
            return
        overlay = self.folder / f"image-{len(self.images)}.qcow2"
        disks.make_overlay(overlay, disk, None)
        kargs.replace(overlay, "ignition.platform.id", ignition_platform)
        self.images[name] = overlay

    def create(
        self,
        machine_id: str,
        image: str,
        *,
        user_data: bytes,
        memory_mib: int,
        vcpus: int,
        metadata: Callable[[Machine, Request], Response],
        disk_gib: int | None = None,
        extra_gib: Sequence[int] = (),
        tags: dict[str, str] | None = None,
        disc: bytes | None = None,
    ) -> Machine:
        """Make a machine of an image and switch it on; the image of a disc is in its CD-ROM drive.

        Raises:
            PlatformError: there is no such image, or QEMU does not start.
        """
        if image not in self.images:
            raise PlatformError(f"no image {image}")
        with self._lock:
            address = next(self._addresses)
        machine = Machine(machine_id, address, user_data, memory_mib, vcpus, dict(tags or {}))
        machine.running_at = time.monotonic() + self.slow_seconds
        if self.boots:
            self._boot(machine, image, metadata, disk_gib, extra_gib, disc=disc)
        self.machines[machine_id] = machine
        return machine

    def stop(self, machine_id: str) -> None:
        """Cut the power."""
        machine = self.machines[machine_id]
        machine.state = "off"
        if machine.guest is not None:
            machine.guest.stop()

    def start(self, machine_id: str) -> None:
        """Switch the power on; of one that is on already nothing changes."""
        machine = self.machines[machine_id]
        if machine.state != "off":
            return
        machine.state, machine.running_at = "on", time.monotonic() + self.slow_seconds
        if machine.guest is not None:
            machine.guest.start()

    def reboot(self, machine_id: str) -> None:
        """Cut the power and switch it on again."""
        self.stop(machine_id)
        self.start(machine_id)

    def delete(self, machine_id: str) -> None:
        """End a machine and remove its disks; one that is gone already stays so."""
        machine = self.machines.pop(machine_id, None)
        if machine is None:
            return
        machine.state = "gone"
        if machine.guest is not None:
            machine.guest.stop()
        machine.closers.close()

    def _boot(
        self,
        machine: Machine,
        image: str,
        metadata: Callable[[Machine, Request], Response],
        disk_gib: int | None,
        extra_gib: Iterable[int],
        *,
        disc: bytes | None,
    ) -> None:
        folder = self.folder / machine.id
        folder.mkdir()
        machine.closers.callback(shutil.rmtree, folder, ignore_errors=True)
        root = folder / "root.qcow2"
        disks.make_overlay(root, self.images[image], disk_gib)
        files = [root]
        for number, size in enumerate(extra_gib, start=1):
            files.append(folder / f"disk{number}.qcow2")
            disks.make_empty(files[-1], size)
        drive = None if disc is None else folder / "disc.iso"
        if drive is not None and disc is not None:
            drive.write_bytes(disc)
        port = machine.closers.enter_context(_metadata_server(machine, metadata))
        machine.guest = Guest(
            folder,
            self.arch,
            self.accelerator.name,
            files,
            memory_mib=machine.memory_mib,
            vcpus=machine.vcpus,
            ssh=(machine.address, self.ssh_port),
            metadata_port=port,
            spawner=self._spawner,
            disc=drive,
        )
        machine.guest.start()

    def _free_addresses(self) -> Iterator[str]:
        """Yield addresses of 127.18.0.0/16 at which nobody listens."""
        for block in self._block:
            for last in range(1, 255):
                address = f"127.{_NETWORK}.{block % 256}.{last}"
                if not self.boots or _may_bind(self.ssh_port, address):
                    yield address


def _may_bind(port: int, address: str = "127.18.0.1") -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
        return True
    return False


@contextlib.contextmanager
def _metadata_server(machine: Machine, answer: Callable[[Machine, Request], Response]) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        return answer(machine, Request(environ))(environ, start_response)

    with serving(app) as port:
        yield port


@contextlib.contextmanager
def serving(app: Any, port: int = 0) -> Any:
    """Serve a WSGI application on 127.0.0.1 by threads of this process; yields the port."""
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=QuietHandler)
    server.daemon_threads = True  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
