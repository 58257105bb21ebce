"""What a test needs of a machine, without a word about any platform."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, fields, replace

from kola.errors import ConfigError


class Capability(enum.StrEnum):
    """Something that a platform can do; a test that needs more is skipped with that reason."""

    CONSOLE = "console"
    """Serial console output can be read."""
    EXTRA_DISKS = "extra-disks"
    DISK_SERIALS = "disk-serials"
    """The serial of an extra disk can be chosen."""
    EXTRA_NICS = "extra-nics"
    NETWORKS = "networks"
    """Extra network interfaces can be on a network of the test's own machines."""
    KERNEL_ARGS = "kernel-args"
    """Kernel arguments can be set for the first boot already."""
    HARD_RESET = "hard-reset"
    """The power can be cut."""
    HOST_SERVICES = "host-services"
    """The machine reaches what listens on this host's loopback address (``Platform.host_address`` says how)."""
    JOURNAL_CHANNEL = "journal-channel"
    """The machine's whole journal reaches a file on this host without SSH (virtio-serial port ``kola.journal``)."""
    READY_SIGNAL = "ready-signal"
    """The machine can tell this host that SSH answers (virtio-serial port ``kola.ready``)."""
    SNAPSHOT = "snapshot"
    """A running machine can be saved and restored any number of times."""


_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_NETWORK = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Disk:
    """An extra, empty disk. Size in GiB; ``serial`` shows up under /dev/disk/by-id/virtio-SERIAL."""

    size_gib: int
    serial: str = ""

    def __post_init__(self) -> None:
        if self.size_gib < 1:
            raise ConfigError(f"disk size must be at least 1 GiB, not {self.size_gib}")


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
class MachineSpec:
    """What a test needs of one machine.

    Attributes:
        memory_mib: RAM in MiB.
        vcpus: number of virtual CPUs.
        disk_gib: size of the root disk in GiB; None keeps the image's own.
        disks: extra disks, in order.
        nics: extra network interfaces, in order.
        kernel_args: appended to the kernel command line of every boot, the first included.
        first_boot_kernel_args: appended to the first boot's only.
    """

    memory_mib: int = 1536
    vcpus: int = 2
    disk_gib: int | None = None
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    kernel_args: tuple[str, ...] = ()
    first_boot_kernel_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.memory_mib < 256:  # noqa: PLR2004 - no supported OS boots in less
            raise ConfigError(f"memory_mib must be at least 256, not {self.memory_mib}")
        if self.vcpus < 1:
            raise ConfigError(f"vcpus must be at least 1, not {self.vcpus}")
        if self.disk_gib is not None and self.disk_gib < 1:
            raise ConfigError(f"disk_gib must be at least 1, not {self.disk_gib}")
        for arg in (*self.kernel_args, *self.first_boot_kernel_args):
            if not arg or any(c.isspace() or c in "'\"" for c in arg):
                raise ConfigError(f"kernel argument {arg!r} must be one word without quotes")

    def needs(self) -> frozenset[Capability]:
        """Return the capabilities that a platform must have for this spec."""
        wanted = {
            Capability.EXTRA_DISKS: self.disks,
            Capability.DISK_SERIALS: any(disk.serial for disk in self.disks),
            Capability.EXTRA_NICS: self.nics,
            Capability.NETWORKS: any(nic.network for nic in self.nics),
            Capability.KERNEL_ARGS: self.kernel_args or self.first_boot_kernel_args,
        }
        return frozenset(capability for capability, value in wanted.items() if value)

    def with_networks_of(self, scope: str) -> MachineSpec:
        """Return the same with networks that are no other test's: their names are preceded by ``scope``."""
        nics = (replace(nic, network=nic.network and f"{scope}.{nic.network}") for nic in self.nics)
        return replace(self, nics=tuple(nics))


SPEC_FIELDS = tuple(f.name for f in fields(MachineSpec))
