"""From a machine's disks to what libvirt and QEMU are told of them. Pure.

libvirt knows of no emulated NVMe disk and gives one file to one disk only, so everything but a disk on virtio goes
through QEMU's command line. Two paths to a disk are two SCSI disks on one block node: QEMU reads and writes the file
once, and what makes multipath-tools take them for one disk is their WWN, vendor and product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola.spec import Disk
from platforms.qemu.elements import escaped, node, text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from xml.etree import ElementTree as ET

ROOT_SERIAL = "primary-disk"
_VIRTIO = "virtio"
_SECTORS = {"512": (), "4k": (4096, 4096), "512e": (4096, 512)}
"""Physical and logical size in bytes; nothing where QEMU's own default is meant."""
# Controllers are functions of slots of their own: libvirt numbers its own devices from slot 1 on.
_FIRST_SLOT, _FUNCTIONS = 0x8, 8
_BOOT_INDEX = (0, 1000)
"""Of the paths to the root disk: libvirt gives 1 to its own first disk if it does not know of a root disk."""
_FIRST_WWN = 0x5000_C500_0000_0001


@dataclass(frozen=True)
class GuestDisk:
    """A disk's file, qcow2, and how the guest sees it."""

    path: Path
    disk: Disk = Disk()  # noqa: RUF009 - frozen


def disk_elements(disks: Sequence[GuestDisk]) -> list[ET.Element]:
    """Return the ``<disk>`` elements of those that libvirt attaches.

    Args:
        disks: all, the root disk first.
    """
    found = [(index, each) for index, each in enumerate(disks) if _by_libvirt(each.disk)]
    return [_element(number, index, each) for number, (index, each) in enumerate(found)]


def disk_arguments(disks: Sequence[GuestDisk]) -> list[str]:
    """Return QEMU's arguments for those that libvirt does not attach.

    Args:
        disks: all, the root disk first.
    """
    arguments: list[str] = []
    slots = (f"addr={_FIRST_SLOT + n // _FUNCTIONS:#x}.{n % _FUNCTIONS},multifunction=on" for n in range(64))
    for index, each in enumerate(disks):
        disk = each.disk
        if _by_libvirt(disk):
            continue
        block = f"block{index}"
        arguments += [
            "-blockdev",
            f"driver=file,node-name=file{index},filename={escaped(each.path)},discard=unmap,cache.no-flush=on",
            "-blockdev",
            f"driver=qcow2,node-name={block},file=file{index},discard=unmap,cache.no-flush=on",
        ]
        facts = f"serial={_serial(disk, index)}"
        if sizes := _SECTORS[disk.sectors]:
            facts += f",physical_block_size={sizes[0]},logical_block_size={sizes[1]}"
        if not disk.on_scsi:
            boot = f",bootindex={_BOOT_INDEX[0]}" if index == 0 else ""
            arguments += ["-device", f"nvme,drive={block},{facts}{boot},{next(slots)}"]
            continue
        facts += f",wwn={disk.wwn or _FIRST_WWN + index}"
        if disk.multipath:
            facts += ",share-rw=on,vendor=NVME,product=VirtualMultipath"
        for path in range(2 if disk.multipath else 1):
            boot = f",bootindex={_BOOT_INDEX[path]}" if index == 0 else ""
            bus = f"scsi{index}-{path}"
            arguments += ["-device", f"virtio-scsi-pci,id={bus},{next(slots)}"]
            arguments += ["-device", f"scsi-hd,bus={bus}.0,drive={block},{facts}{boot}"]
    return arguments


def _by_libvirt(disk: Disk) -> bool:
    return not disk.on_scsi and disk.channel == _VIRTIO


def _serial(disk: Disk, index: int) -> str:
    return disk.serial or (f"disk{index}" if index else ROOT_SERIAL)


def _element(number: int, index: int, each: GuestDisk) -> ET.Element:
    element = node(
        "disk",
        # Nothing on these disks outlives the machine: never flush to the host's disk.
        node("driver", name="qemu", type="qcow2", cache="unsafe", discard="unmap"),
        node("source", file=str(each.path)),
        node("target", dev=f"vd{chr(ord('a') + number)}", bus="virtio"),
        text("serial", _serial(each.disk, index)),
        type="file",
        device="disk",
    )
    if sizes := _SECTORS[each.disk.sectors]:
        element.append(node("blockio", physical_block_size=str(sizes[0]), logical_block_size=str(sizes[1])))
    if index == 0:
        element.append(node("boot", order="1"))
    return element
