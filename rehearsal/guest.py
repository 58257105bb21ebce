"""One QEMU guest of a rehearsal: a plain process without libvirt, with a cloud's network around it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from kola.arch import Arch

METADATA = "169.254.169.254"
HOST = "169.254.0.2"
"""Where a guest reaches what listens on this host's 127.0.0.1."""
_RELAY = Path(__file__).with_name("relay.py")


class Guest:
    """A machine's disks and, while its power is on, its process.

    Args:
        folder: for its files.
        arch: its architecture.
        accelerator: ``kvm`` or ``tcg``.
        disks: qcow2 files, the root disk first.
        memory_mib: RAM.
        vcpus: number of virtual CPUs.
        ssh: address and port here that lead to its port 22.
        metadata_port: port of 127.0.0.1 that answers as its metadata service.
        spawner: one thread that lives as long as the host: QEMU dies with the thread that started it.
        disc: image of the disc in its CD-ROM drive; None: it has no drive.
    """

    def __init__(
        self,
        folder: Path,
        arch: Arch,
        accelerator: str,
        disks: Sequence[Path],
        *,
        memory_mib: int,
        vcpus: int,
        ssh: tuple[str, int],
        metadata_port: int,
        spawner: Executor,
        disc: Path | None = None,
    ) -> None:
        self.console = folder / "console.txt"
        self._log = folder / "qemu.log"
        self._spawner = spawner
        self._process: subprocess.Popen[bytes] | None = None
        emulator = shutil.which(f"qemu-system-{arch.qemu}")
        if emulator is None:
            raise ConfigError(f"a rehearsal needs qemu-system-{arch.qemu}: install qemu-system")
        relay = f"{sys.executable} -IS {_RELAY} {metadata_port}"
        network = (
            f"user,id=net0,net=169.254.0.0/16,dhcpstart=169.254.10.15,hostfwd=tcp:{ssh[0]}:{ssh[1]}-:22,"
            f"guestfwd=tcp:{METADATA}:80-cmd:{relay.replace(',', ',,')}"
        )
        self._command = [
            # No guest outlives the host, however that ends (prctl(2), PR_SET_PDEATHSIG).
            "setpriv", "--pdeathsig", "KILL",
            emulator, "-nodefaults", "-display", "none",
            "-machine", f"{arch.machine},accel={accelerator},graphics=off",
            "-cpu", "host" if accelerator == "kvm" else "max",
            "-m", str(memory_mib), "-smp", str(vcpus),
            "-chardev", f"file,id=console,append=on,path={str(self.console).replace(',', ',,')}",
            "-serial", "chardev:console",
            "-netdev", network,
            "-device", "virtio-net-pci,netdev=net0,romfile=",
            "-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng0",
        ]  # fmt: skip
        for disk in disks:
            path = str(disk).replace(",", ",,")
            self._command += ["-drive", f"if=virtio,format=qcow2,cache=unsafe,discard=unmap,file={path}"]
        if disc is not None:
            path = str(disc).replace(",", ",,")
            self._command += ["-drive", f"if=none,id=disc,media=cdrom,readonly=on,format=raw,file={path}"]
            self._command += ["-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=disc"]

    def start(self) -> None:
        """Switch the power on."""
        self._process = self._spawner.submit(self._spawn).result()

    def stop(self) -> None:
        """Cut the power; without any it does nothing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def running(self) -> bool:
        """Whether QEMU is there; it ends when the guest switches itself off."""
        return self._process is not None and self._process.poll() is None

    def said(self) -> str:
        """Return the console so far."""
        with contextlib.suppress(FileNotFoundError):
            return self.console.read_text(errors="replace")
        return ""

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
