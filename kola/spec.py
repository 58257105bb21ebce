"""What a test needs of a machine, without a word about any platform."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from kola.errors import ConfigError


class Capability(enum.StrEnum):
    """Something that a platform can do; a test that needs more is skipped with that reason."""

    CONSOLE = "console"
    """Serial console output can be read."""
    EXTRA_DISKS = "extra-disks"
    DISK_SERIALS = "disk-serials"
    """The serial of an extra disk can be chosen."""
    DISK_OPTIONS = "disk-options"
    """Disks can be NVMe, SCSI, have two paths or sectors of 4096 bytes."""
    NUMA = "numa"
    """Memory and CPUs can be divided into NUMA nodes."""
    BIOS = "bios"
    UEFI = "uefi"
    UEFI_SECURE = "uefi-secure"
    """What machines can boot by, where a test can choose: ``FIRMWARES``."""
    TPM = "tpm"
    EXTRA_NICS = "extra-nics"
    NETWORKS = "networks"
    """Extra network interfaces can be on a network of the test's own machines."""
    KERNEL_ARGS = "kernel-args"
    """Kernel arguments can be set for the first boot already."""
    HARD_RESET = "hard-reset"
    """The power can be cut."""
    HOST_FOLDERS = "host-folders"
    """The machine can see folders of this host by virtiofs (tags: ``bind_tag``)."""
    HOST_SERVICES = "host-services"
    """The machine reaches what listens on this host's loopback address (``Platform.host_address`` says how)."""
    JOURNAL_CHANNEL = "journal-channel"
    """The machine's whole journal reaches a file on this host without SSH (virtio-serial port ``kola.journal``)."""
    READY_SIGNAL = "ready-signal"
    """The machine can tell this host that SSH answers (virtio-serial port ``kola.ready``)."""
    SNAPSHOT = "snapshot"
    """A running machine can be saved and restored any number of times."""


FIRMWARES = tuple(capability.value for capability in (Capability.BIOS, Capability.UEFI, Capability.UEFI_SECURE))
CHANNELS = ("virtio", "nvme", "scsi")
SECTORS = ("512", "4k", "512e")
DISK_OPTIONS = "channel=virtio|nvme|scsi, 4k, 512e, mpath, serial=TEXT, wwn=NUMBER"
"""What ``parse_disk`` takes behind the size."""
_DISK_OPTIONS: dict[str, tuple[str, Any]] = {
    "4k": ("sectors", "4k"),
    "512e": ("sectors", "512e"),
    "mpath": ("multipath", True),
}
_GIB = re.compile(r"(?:(\d+)G?)?")
_SERIAL = re.compile(r"[A-Za-z0-9._+-]+")
_GUEST_PATH = re.compile(r"(/(?!\.\.?(/|$))[^\s/%\"'\\]+)+")
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_NETWORK = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Disk:
    """A disk, as the machine sees it.

    Attributes:
        size_gib: in GiB; an extra disk, which is empty, must have one, the root disk's is ``MachineSpec.disk_gib``.
        serial: shows up under /dev/disk/by-id: ``virtio-SERIAL``. Empty: ``primary-disk`` for the root disk, else
            ``diskN``, counted from 1.
        channel: what it hangs on, one of ``CHANNELS``.
        sectors: one of ``SECTORS``: of 512 bytes, of 4096, or of 4096 behind the interface of 512.
        multipath: the machine sees it twice, on two SCSI controllers; ``channel`` means nothing then.
        wwn: World Wide Name of a SCSI disk; 0: one that no other disk of the machine has.
    """

    size_gib: int | None = None
    serial: str = ""
    channel: str = "virtio"
    sectors: str = "512"
    multipath: bool = False
    wwn: int = 0

    def __post_init__(self) -> None:
        if self.size_gib is not None and self.size_gib < 1:
            raise ConfigError(f"disk size must be at least 1 GiB, not {self.size_gib}")
        if self.serial and not _SERIAL.fullmatch(self.serial):
            raise ConfigError(f"disk: serial={self.serial!r}: allowed: letters, digits, '.', '_', '+', '-'")
        if self.channel not in CHANNELS:
            raise ConfigError(f"disk: channel={self.channel!r}: allowed: {', '.join(CHANNELS)}")
        if self.sectors not in SECTORS:
            raise ConfigError(f"disk: sectors={self.sectors!r}: allowed: {', '.join(SECTORS)}")
        if not 0 <= self.wwn < 1 << 64:
            raise ConfigError(f"disk: wwn={self.wwn}: expected a number of 64 bits")
        if self.wwn and not self.on_scsi:
            raise ConfigError("disk: wwn has a meaning with channel=scsi or mpath only")

    @property
    def on_scsi(self) -> bool:
        """Whether it is a SCSI disk."""
        return self.multipath or self.channel == "scsi"

    @property
    def plain(self) -> bool:
        """Whether it is like any other: on virtio, with sectors of 512 bytes."""
        return not self.on_scsi and (self.channel, self.sectors) == ("virtio", "512")

    def overlaid(self, over: Disk) -> Disk:
        """Return the same with everything that ``over`` says differently from the defaults."""
        said = {f.name: getattr(over, f.name) for f in fields(Disk) if getattr(over, f.name) != f.default}
        return replace(self, **said)


def parse_disk(text: str) -> Disk:
    """Read a disk in the notation of coreos-assembler: ``5G``, ``5G:mpath``, ``10G:channel=nvme,4k,serial=data``.

    The size may be missing (``:mpath``, or nothing), its ``G`` too.

    Raises:
        ConfigError: not in that notation, or no disk that can be.
    """
    size, _, options = text.partition(":")
    match = _GIB.fullmatch(size)
    if match is None:
        raise ConfigError(f"disk '{text}': expected a size in GiB, such as 5G, and options behind a colon")
    values: dict[str, Any] = {"size_gib": int(match[1])} if match[1] else {}
    for option in options.split(",") if options else ():
        key, equals, value = option.partition("=")
        name, given = _DISK_OPTIONS.get(option, (key if key in {"channel", "serial", "wwn"} and equals else "", value))
        if not name:
            raise ConfigError(f"disk '{text}': unknown option '{option}'; allowed: {DISK_OPTIONS}")
        if name in values:
            raise ConfigError(f"disk '{text}': '{option}' says a second time what is said before")
        if name == "wwn" and not value.isdecimal():
            raise ConfigError(f"disk '{text}': wwn={value}: expected a whole number")
        values[name] = int(value) if name == "wwn" else given
    try:
        return Disk(**values)
    except ConfigError as e:
        raise ConfigError(f"disk '{text}': {str(e).removeprefix('disk: ')}") from e


@dataclass(frozen=True)
class Nic:
    """An extra network interface beside the one that SSH uses.

    Attributes:
        mac: its address, six bytes in hexadecimal; empty: chosen by the platform.
        network: interfaces with the same name among the machines of one test share an Ethernet segment, on which there
            is nobody else: no DHCP, no gateway. Empty: a way out of the machine's own, as the one that SSH uses.
    """

    mac: str = ""
    network: str = ""

    def __post_init__(self) -> None:
        if self.mac != "" and not _MAC.fullmatch(self.mac):
            raise ConfigError(f"nics: mac={self.mac!r}: expected six bytes such as '52:54:00:00:00:01'")
        if self.network != "" and not _NETWORK.fullmatch(self.network):
            raise ConfigError(f"nics: network={self.network!r}: allowed: letters, digits, '.', '_', '-'")


@dataclass(frozen=True)
class Bind:
    """A folder of this host that the machine sees.

    Attributes:
        host: its absolute path here.
        guest: its absolute path there; made if missing.
        read_only: whether the machine can only read.
    """

    host: str
    guest: str
    read_only: bool = True

    def __post_init__(self) -> None:
        if not self.host.startswith("/"):
            raise ConfigError(f"bind: host={self.host!r}: expected an absolute path")
        if not _GUEST_PATH.fullmatch(self.guest):
            raise ConfigError(f"bind: guest={self.guest!r}: expected an absolute path, without spaces and quotes")


def parse_bind(text: str, *, read_only: bool = True) -> Bind:
    """Read a bind in the notation of coreos-assembler: ``HOST,GUEST``. A relative path of this host is the process's.

    Raises:
        ConfigError: not in that notation.
    """
    host, comma, guest = text.partition(",")
    if not host or not comma:
        raise ConfigError(f"bind '{text}': expected HOST,GUEST such as /srv/data,/var/mnt/data")
    return Bind(str(Path(host).absolute()), guest, read_only=read_only)


def bind_tag(index: int) -> str:
    """Return the name by which a machine mounts its bind of that number, counted from 0."""
    return f"kola-bind-{index}"


@dataclass(frozen=True)
class MachineSpec:
    """What a test needs of one machine.

    Attributes:
        memory_mib: RAM in MiB.
        vcpus: number of virtual CPUs.
        numa_nodes: into how many nodes memory and CPUs are divided, evenly.
        firmware: one of ``FIRMWARES``, or empty for the platform's own.
        tpm: whether it has a TPM 2.0.
        disk_gib: size of the root disk in GiB; None keeps the image's own.
        root_disk: how the machine sees the root disk.
        disks: extra disks, in order.
        nics: extra network interfaces, in order.
        binds: folders of this host.
        kernel_args: appended to the kernel command line of every boot, the first included.
        first_boot_kernel_args: appended to the first boot's only.
    """

    memory_mib: int = 1536
    vcpus: int = 2
    numa_nodes: int = 1
    firmware: str = ""
    tpm: bool = False
    disk_gib: int | None = None
    root_disk: Disk = Disk()
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    binds: tuple[Bind, ...] = ()
    kernel_args: tuple[str, ...] = ()
    first_boot_kernel_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.memory_mib < 256:  # noqa: PLR2004 - no supported OS boots in less
            raise ConfigError(f"memory_mib must be at least 256, not {self.memory_mib}")
        if self.vcpus < 1:
            raise ConfigError(f"vcpus must be at least 1, not {self.vcpus}")
        if self.numa_nodes < 1 or self.vcpus % self.numa_nodes:
            raise ConfigError(f"numa_nodes={self.numa_nodes}: vcpus={self.vcpus} cannot be divided by that")
        if self.firmware and self.firmware not in FIRMWARES:
            raise ConfigError(f"firmware={self.firmware!r}: allowed: {', '.join(FIRMWARES)}")
        if self.disk_gib is not None and self.disk_gib < 1:
            raise ConfigError(f"disk_gib must be at least 1, not {self.disk_gib}")
        if self.root_disk.size_gib is not None:
            raise ConfigError("root_disk: its size is disk_gib")
        if any(disk.size_gib is None for disk in self.disks):
            raise ConfigError("disks: an extra disk needs a size")
        for arg in (*self.kernel_args, *self.first_boot_kernel_args):
            if not arg or any(c.isspace() or c in "'\"" for c in arg):
                raise ConfigError(f"kernel argument {arg!r} must be one word without quotes")

    def needs(self) -> frozenset[Capability]:
        """Return the capabilities that a platform must have for this spec."""
        wanted = {
            Capability.EXTRA_DISKS: self.disks,
            Capability.DISK_SERIALS: any(disk.serial for disk in self.disks),
            Capability.TPM: self.tpm,
            Capability.NUMA: self.numa_nodes > 1,
            Capability.DISK_OPTIONS: not all(disk.plain for disk in (self.root_disk, *self.disks)),
            Capability.EXTRA_NICS: self.nics,
            Capability.HOST_FOLDERS: self.binds,
            Capability.NETWORKS: any(nic.network for nic in self.nics),
            Capability.KERNEL_ARGS: self.kernel_args or self.first_boot_kernel_args,
        }
        firmware = {Capability(self.firmware)} if self.firmware else set()
        return frozenset(capability for capability, value in wanted.items() if value) | firmware

    def with_networks_of(self, scope: str) -> MachineSpec:
        """Return the same with networks that are no other test's: their names are preceded by ``scope``."""
        nics = (replace(nic, network=nic.network and f"{scope}.{nic.network}") for nic in self.nics)
        return replace(self, nics=tuple(nics))


SPEC_FIELDS = tuple(f.name for f in fields(MachineSpec))
