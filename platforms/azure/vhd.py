"""A fixed VHD, as Azure takes disks: the disk, byte by byte, and a footer. Only where data is has to be sent.

Source: "Virtual Hard Disk Image Format Specification" of Microsoft; Azure wants whole MiB.
"""

from __future__ import annotations

import os
import struct
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIECE_BYTES = 4 << 20
"""What one call may write to a page blob."""
FOOTER_BYTES = 512
_MIB = 1 << 20
_SECTOR = 512
_COOKIE = b"conectix"
_FIXED = 2
_NOWHERE = 0xFFFF_FFFF_FFFF_FFFF
_FOOTER = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427x")
_MOST_SECTORS = 65535 * 16 * 255


def content_bytes(path: Path) -> int:
    """Return how many bytes of a file are the disk: a fixed VHD has its footer behind that already."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - FOOTER_BYTES))
        return size - FOOTER_BYTES if file.read(len(_COOKIE)) == _COOKIE else size


def disk_bytes(path: Path) -> int:
    """Return how large a disk is on Azure."""
    return -(-content_bytes(path) // _MIB) * _MIB


def footer(size: int, digest: str) -> bytes:
    """Return what follows the disk. The same image has the same footer.

    Args:
        size: of the disk, in bytes; whole MiB.
        digest: of the image, in hexadecimal; becomes its id.
    """

    def packed(checksum: int) -> bytes:
        cylinders, heads, sectors = _geometry(size // _SECTOR)
        return _FOOTER.pack(
            _COOKIE, 2, 0x00010000, _NOWHERE, 0, b"kola", 0x00010000, b"Wi2k",
            size, size, cylinders, heads, sectors, _FIXED, checksum, uuid.UUID(hex=digest[:32]).bytes, 0,
        )  # fmt: skip

    return packed(~sum(packed(0)) & 0xFFFF_FFFF)


def _geometry(total: int) -> tuple[int, int, int]:
    """Return cylinders, heads, sectors a track, by the specification's appendix."""
    total = min(total, _MOST_SECTORS)
    if total >= 65535 * 16 * 63:
        sectors, heads = 255, 16
        return total // sectors // heads, heads, sectors
    sectors = 17
    rows = total // sectors
    heads = max(4, (rows + 1023) // 1024)
    if rows >= heads * 1024 or heads > 16:  # noqa: PLR2004 - the specification's
        sectors, heads = 31, 16
        rows = total // sectors
    if rows >= heads * 1024:
        sectors, heads = 63, 16
        rows = total // sectors
    return rows // heads, heads, sectors


def pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield where there is data in a disk, and the data: at most a piece each, whole sectors, never zeros only."""
    size = content_bytes(path)
    with path.open("rb") as file:
        at = 0
        while at < size:
            try:
                found = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # no more data
                return
            at = found // PIECE_BYTES * PIECE_BYTES
            data = os.pread(file.fileno(), min(PIECE_BYTES, size - at), at)
            if data.strip(b"\0"):
                yield at, data + bytes(-len(data) % _SECTOR)
            at += PIECE_BYTES
