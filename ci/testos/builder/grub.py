"""Stage `grub`: boot.img and core.img for BIOS machines, made without installing GRUB anywhere."""

import struct
from pathlib import Path

from .definition import Definition
from .output import Output
from .root import mmdebstrap

SECTOR = 512
# core.img starts the BIOS boot partition, which starts at 1 MiB.
CORE_LBA = 2048
_MODULES = (
    *("biosdisk", "part_gpt", "ext2", "search", "search_label", "configfile", "normal"),
    *("linux", "test", "serial", "terminal", "blsuki", "gzio", "echo"),
)


def build(definition: Definition, output: Output, scratch: Path, result: Path) -> None:
    """Fetch GRUB, run its own image maker with its own libraries, keep two files."""
    tree = scratch / "grub"
    mmdebstrap(output, definition.grub_suite, definition.grub_packages, variant="extract", target=tree)
    modules = tree / "usr/lib/grub/i386-pc"
    output.run(
        [
            tree / "usr/lib64/ld-linux-x86-64.so.2",
            *("--library-path", tree / "usr/lib/x86_64-linux-gnu"),
            tree / "usr/bin/grub-mkimage",
            *("--directory", modules, "--format", "i386-pc", "--prefix", "/grub2"),
            *("--config", definition.boot / "core.cfg", "--output", result / "core.img"),
            *_MODULES,
        ]
    )
    (result / "boot.img").write_bytes((modules / "boot.img").read_bytes())


def master_boot_record(existing: bytes, boot_img: bytes) -> bytes:
    """boot.img with the address of core.img in it, and the disk signature and partition entries that exist."""
    sector = bytearray(boot_img[:SECTOR])
    sector[0x5C:0x64] = struct.pack("<Q", CORE_LBA)
    # Two no-ops where a jump would check for a floppy drive.
    sector[0x66:0x68] = b"\x90\x90"
    sector[0x1B8:] = existing[0x1B8:SECTOR]
    return bytes(sector)


def core_with_blocklist(core_img: bytes) -> bytes:
    """core.img whose first sector says where its other sectors are: right behind it."""
    sectors = -(-len(core_img) // SECTOR)
    core = bytearray(core_img.ljust(sectors * SECTOR, b"\0"))
    core[0x1F4:0x200] = struct.pack("<QHH", CORE_LBA + 1, sectors - 1, 0x820)
    return bytes(core)


def embed(image: Path, folder: Path) -> None:
    """Write both parts into a disk image that has its partition table already."""
    with image.open("r+b") as disk:
        first = disk.read(SECTOR)
        disk.seek(0)
        disk.write(master_boot_record(first, (folder / "boot.img").read_bytes()))
        disk.seek(CORE_LBA * SECTOR)
        disk.write(core_with_blocklist((folder / "core.img").read_bytes()))
