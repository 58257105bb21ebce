"""Which accelerator really runs a guest here."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kola.arch import host_arch
from kola.errors import ConfigError
from platforms.qemu import probe_guest

if TYPE_CHECKING:
    from kola.arch import Arch

KVM_DEVICE = Path("/dev/kvm")
PROBE_SECONDS = 3.0  # a real KVM needs 0.3 s, also when the host is itself a guest
TCG_SLOWNESS = 6.0


@dataclass(frozen=True)
class Accelerator:
    """What runs the guests: ``kvm`` or ``tcg``, the factor on time limits, and a line for the run's header."""

    name: str
    slowness: float
    note: str


def choose(wanted: str, arch: Arch, emulator: str, cpu: str, scratch: Path) -> Accelerator:
    """Decide between kvm and tcg by running a small guest; nothing is remembered across runs.

    Args:
        wanted: ``auto``, ``kvm`` or ``tcg``.
        arch: of the guests.
        emulator: path of ``qemu-system-ARCH``.
        cpu: ``-cpu`` that the machines will have under kvm.
        scratch: folder for the probe's disk, removed at once.

    Raises:
        ConfigError: kvm was asked for and does not run a guest.
    """
    if wanted == "tcg":
        return Accelerator("tcg", TCG_SLOWNESS, "accelerator tcg, as asked for")
    trouble = kvm_trouble(arch, emulator, cpu, scratch)
    if trouble is None:
        return Accelerator("kvm", 1.0, "accelerator kvm: a probe guest ran")
    if wanted == "kvm":
        raise ConfigError(f"-P accelerator=kvm: {trouble}; allowed here: auto, tcg")
    return Accelerator("tcg", TCG_SLOWNESS, f"{trouble}: using tcg")


def kvm_trouble(arch: Arch, emulator: str, cpu: str, scratch: Path) -> str | None:
    """Say in half a sentence why kvm is of no use, or None when a probe guest ran under it."""
    if arch != host_arch():
        return f"kvm runs no {arch.name} guest on a {host_arch().name} host"
    if not KVM_DEVICE.exists():
        return f"there is no {KVM_DEVICE}"
    if not os.access(KVM_DEVICE, os.R_OK | os.W_OK):
        return f"{KVM_DEVICE} is not open to this user (group kvm?)"
    with tempfile.TemporaryDirectory(dir=scratch, prefix="probe-") as folder:
        disk = Path(folder, "disk.img")
        disk.write_bytes(probe_guest.boot_sector())
        os.truncate(disk, probe_guest.DISK_BYTES)
        return run_probe(probe_command(arch, emulator, "kvm", cpu, disk))


def host_cpu() -> str:
    """Return what distinguishes this host's processor from others as guests under kvm see it."""
    first = Path("/proc/cpuinfo").read_text().split("\n\n", maxsplit=1)[0]
    facts = ("vendor_id", "cpu family", "model", "stepping", "microcode", "flags", "CPU part", "Features")
    return "\n".join(line for line in first.splitlines() if line.partition(":")[0].strip() in facts)


def probe_command(arch: Arch, emulator: str, accelerator: str, cpu: str, disk: Path) -> list[str]:
    """Build the command line of the probe guest."""
    return [
        emulator, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", arch.machine, "-accel", accelerator, "-cpu", cpu, "-m", "64",
        "-blockdev", f"driver=file,node-name=disk,read-only=on,filename={str(disk).replace(',', ',,')}",
        "-device", "virtio-blk-pci,drive=disk",
        "-device", f"isa-debug-exit,iobase={probe_guest.PORT},iosize=1",
    ]  # fmt: skip


def run_probe(command: list[str], seconds: float = PROBE_SECONDS) -> str | None:
    """Run the probe guest; None when it answered in time, else why it did not."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{KVM_DEVICE} opens but ran no guest within {seconds:.0f} s"
    if done.returncode == probe_guest.EXIT_STATUS:
        return None
    complaints = [line for line in done.stderr.splitlines() if " warning: " not in line] or ["no message"]
    return f"{KVM_DEVICE} opens but QEMU ended ({complaints[0].removeprefix(Path(command[0]).name + ': ')})"
