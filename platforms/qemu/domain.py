"""From a machine's description to libvirt's domain XML. Pure.

What libvirt 9 cannot express goes through ``<qemu:commandline>``: user-mode networks with a forwarded port (its own
passt backend is refused), and character devices, which a daemon would otherwise route through virtlogd, which rotates
them away at 2 MiB and owns them as root.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from platforms.qemu import tpm, virtiofs
from platforms.qemu.elements import escaped, node, text
from platforms.qemu.storage import GuestDisk, disk_arguments, disk_elements

if TYPE_CHECKING:
    from pathlib import Path

    from kola.arch import Arch
    from platforms.qemu.firmware import Flash
    from platforms.qemu.tags import Tags

QEMU_NS = "http://libvirt.org/schemas/domain/qemu/1.0"
KOLA_NS = "urn:x-kola:machine:1"
JOURNAL_PORT = "kola.journal"
WAKE_PORT = "kola.wake"
READY_PORT = "kola.ready"
IGNITION_JOURNAL_PORT = "com.coreos.ignition.journal"
FW_CFG_IGNITION = "opt/com.coreos/config"

# QEMU makes the devices of its command line before libvirt's: they are kept clear of the slots that libvirt numbers
# from 1. The last one, 0x1f, belongs to the chipset.
_FIRST_SLOT = 0x10
MOST_EXTRA_NICS = 0x1F - _FIRST_SLOT - 2
MOST_EXTRA_DISKS = 25  # vdb to vdz


@dataclass(frozen=True)
class Guest:
    """Everything that QEMU has to know of one machine.

    Attributes:
        name: of the domain.
        tags: whose it is.
        arch: its architecture.
        emulator: path of QEMU.
        accelerator: ``kvm`` or ``tcg``.
        cpu: QEMU's ``-cpu``; empty for the host's (kvm) or the richest (tcg).
        memory_mib: RAM in MiB.
        vcpus: number of virtual CPUs.
        numa_nodes: among which memory and CPUs are divided.
        nvram: file with the variables of its firmware; not there if that is the BIOS.
        flash: its firmware; None for the BIOS.
        tpm: socket behind which swtpm emulates its TPM; None if it has none.
        shares: sockets behind which virtiofsd gives out a folder of this host each.
        disks: the root disk, then the extra ones.
        macs: MAC addresses: the first NIC's, which SSH uses, then those of the extra ones.
        networks: of each NIC, which ones it shares an Ethernet segment with; empty: user-mode network.
        ssh_port: port of this host that leads to the guest's port 22.
        ignition: file with the config.
        console: file that the serial console goes to.
        journal: file that the journal port goes to.
        ignition_journal: file that Ignition's journal goes to when it fails.
        ready: file into which the guest writes a line whenever its SSH server is up.
        wake: what the names of the wake port's pipes begin with (``platforms.qemu.wake``).
        security_models: libvirt's security drivers (``dac``, ``apparmor``...) that must leave the files alone.
        owner_ids: uid and gid that QEMU must run as where the driver ``dac`` would choose another.
        slowness: factor on every time limit.
        incoming: start without a guest in memory and wait for a saved one (``platforms.qemu.snapshot``).
    """

    name: str
    tags: Tags
    arch: Arch
    emulator: str
    accelerator: str
    cpu: str
    memory_mib: int
    vcpus: int
    numa_nodes: int
    disks: tuple[GuestDisk, ...]
    macs: tuple[str, ...]
    networks: tuple[str, ...]
    ssh_port: int
    ignition: Path
    console: Path
    journal: Path
    ignition_journal: Path
    wake: Path
    ready: Path
    security_models: tuple[str, ...]
    owner_ids: tuple[int, int]
    nvram: Path
    flash: Flash | None = None
    tpm: Path | None = None
    shares: tuple[Path, ...] = ()
    slowness: float = 1.0
    incoming: bool = False


def mac_for(name: str, index: int) -> str:
    """Return a MAC address in QEMU's range that depends on the machine's name and the NIC's index only."""
    digest = hashlib.sha256(f"{name}/{index}".encode()).digest()
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in digest[:3])


def multicast_group(network: str) -> str:
    """Return ``GROUP:PORT`` of this host that stands for a network, of 2**38: two networks do not meet."""
    digest = hashlib.sha256(network.encode()).digest()
    group = ".".join(str(byte) for byte in digest[:3])
    return f"239.{group}:{0x4000 + int.from_bytes(digest[3:5]) % 0x4000}"  # below the ports that Linux gives away


def domain_xml(guest: Guest) -> str:
    """Return the domain XML of a machine."""
    ET.register_namespace("qemu", QEMU_NS)
    ET.register_namespace("kola", KOLA_NS)
    domain = node("domain", type="kvm" if guest.accelerator == "kvm" else "qemu")
    domain.extend(
        [
            text("name", guest.name),
            node("metadata", ET.Element(f"{{{KOLA_NS}}}machine", guest.tags.as_attributes())),
            text("memory", str(guest.memory_mib), unit="MiB"),
            text("vcpu", str(guest.vcpus)),
            *_memory_backing(guest),
            node("genid"),
            node("sysinfo", text("entry", "", name=FW_CFG_IGNITION, file=str(guest.ignition)), type="fwcfg"),
            node("os", text("type", "hvm", arch=guest.arch.name, machine=guest.arch.machine), *_loader(guest)),
            node("features", node("acpi"), node("apic"), *_smm(guest)),
            node("cpu", *_numa(guest), mode="host-passthrough" if guest.accelerator == "kvm" else "maximum"),
            node("clock", offset="utc"),
            text("on_reboot", "restart"),
            _devices(guest),
            *_security_labels(guest),
            _command_line(guest),
        ]
    )
    return ET.tostring(domain, encoding="unicode")


def _devices(guest: Guest) -> ET.Element:
    return node(
        "devices",
        text("emulator", guest.emulator),
        *disk_elements(guest.disks),
        node("controller", type="usb", model="none"),
        node("rng", text("backend", "/dev/urandom", model="random"), model="virtio"),
        # The guest gives back what it does not use: less memory on this host, and less to save of the machine.
        node("memballoon", model="virtio", freePageReporting="on"),
    )


def _loader(guest: Guest) -> list[ET.Element]:
    """Return the firmware, if it is not the BIOS that QEMU brings."""
    if guest.flash is None:
        return []
    secure = "yes" if guest.flash.secure else "no"
    code = text("loader", str(guest.flash.code), readonly="yes", type="pflash", secure=secure)
    return [code, text("nvram", str(guest.nvram))]


def _smm(guest: Guest) -> list[ET.Element]:
    """Return what keeps the operating system from the variables of a secure boot."""
    return [node("smm", state="on")] if guest.flash is not None and guest.flash.secure else []


def _memory_backing(guest: Guest) -> list[ET.Element]:
    if not guest.shares:
        return []
    # virtiofsd writes into the guest's memory itself.
    return [node("memoryBacking", node("source", type="memfd"), node("access", mode="shared"))]


def _numa(guest: Guest) -> list[ET.Element]:
    """Return how CPUs and memory are divided; the last node has what is left over. A node is a socket of its own."""
    count = guest.numa_nodes
    if count == 1:
        return []
    cpus, memory = guest.vcpus // count, guest.memory_mib // count
    cells = [
        node(
            "cell",
            id=str(number),
            cpus=f"{number * cpus}-{(number + 1) * cpus - 1}",
            memory=str(memory if number < count - 1 else guest.memory_mib - memory * number),
            unit="MiB",
        )
        for number in range(count)
    ]
    return [node("topology", sockets=str(count), cores=str(cpus), threads="1"), node("numa", *cells)]


def _security_labels(guest: Guest) -> list[ET.Element]:
    labels = []
    for model in guest.security_models:
        if model == "dac":
            uid, gid = guest.owner_ids
            label = text("label", f"+{uid}:+{gid}")
            labels.append(node("seclabel", label, type="static", model="dac", relabel="no"))
        else:
            labels.append(node("seclabel", type="none", model=model))
    return labels


def _command_line(guest: Guest) -> ET.Element:
    arguments = [
        "-machine", "graphics=off",  # the firmware talks to the serial port: "No bootable device" is seen
        # Appended to: a restored machine goes on with the logs of the one that was saved.
        "-chardev", f"file,id=console,append=on,path={escaped(guest.console)}",
        "-serial", "chardev:console",
        "-device", f"virtio-serial-pci,id=ports,addr={_FIRST_SLOT:#x}",
        *_port(1, "journal", JOURNAL_PORT, "file,append=on", guest.journal),
        *_port(2, "ignition", IGNITION_JOURNAL_PORT, "file,append=on", guest.ignition_journal),
        *_port(3, "wake", WAKE_PORT, "pipe", guest.wake),
        *_port(4, "ready", READY_PORT, "file,append=on", guest.ready),
    ]  # fmt: skip
    for index, (mac, network) in enumerate(zip(guest.macs, guest.networks, strict=True)):
        # Of two interfaces in one network a machine would answer through the one that it had first.
        more = f",net=10.0.{2 + index}.0/24" if index else f",hostfwd=tcp:127.0.0.1:{guest.ssh_port}-:22"
        if network:
            # Over the loopback interface alone; needs no privilege, no process and no end.
            backend = f"socket,id=net{index},mcast={multicast_group(network)},localaddr=127.0.0.1"
        else:
            backend = f"user,id=net{index},hostname={guest.name}{more}"
        arguments += ["-netdev", backend]
        # Without its option ROM the firmware does not stop to offer a network boot.
        slot = _FIRST_SLOT + 1 + index
        arguments += ["-device", f"virtio-net-pci,netdev=net{index},mac={mac},addr={slot:#x},romfile="]
    arguments += disk_arguments(guest.disks)
    arguments += virtiofs.arguments(guest.shares)
    arguments += tpm.arguments(guest.tpm)
    if guest.cpu:
        arguments += ["-cpu", guest.cpu]  # the last one counts
    if guest.incoming:
        arguments += ["-incoming", "defer"]
    line = ET.Element(f"{{{QEMU_NS}}}commandline")
    line.extend(ET.Element(f"{{{QEMU_NS}}}arg", {"value": argument}) for argument in arguments)
    line.extend(
        ET.Element(f"{{{QEMU_NS}}}env", {"name": name, "value": value})
        for name, value in guest.tags.as_environment().items()
    )
    return line


def _port(number: int, chardev: str, name: str, kind: str, path: Path) -> list[str]:
    return [
        "-chardev", f"{kind},id={chardev},path={escaped(path)}",
        "-device", f"virtserialport,bus=ports.0,nr={number},chardev={chardev},name={name}",
    ]  # fmt: skip
