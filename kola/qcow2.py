"""As much of the qcow2 format as it takes to tell whether an image is complete, and to make one without data.

``qemu-img check`` notices a missing cluster, but not the loss of a part of the last one: QEMU reads zeros there. And a
process for each new overlay takes longer than to write one. Source of the layout: ``docs/interop/qcow2.rst`` of QEMU.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_FEATURES = struct.Struct(">Q")
_OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED = 1 << 62
_SECTOR = 512
_CLUSTER_BITS = range(9, 22)
_NEW_CLUSTER_BITS = 16
_NEW_FEATURES = struct.Struct(">QQQII")  # incompatible, compatible and autoclear ones; log2(refcount bits), header size
_EXTENSION = struct.Struct(">II")
_BACKING_FORMAT = 0xE279_2ACA
_LONGEST_BACKING = 1023


@dataclass(frozen=True)
class Header:
    """What a qcow2 file says of itself.

    Attributes:
        cluster_bits: log2 of the cluster size in bytes.
        virtual_size: bytes that a guest sees.
        l1_offset: where the first-level table is.
        l1_entries: its length.
        depends_on: why the file is not complete in itself (``a backing file``, ...), or None.
        corrupt: QEMU has marked it so.
        wide_entries: entries of second-level tables have 16 bytes instead of 8.
    """

    cluster_bits: int
    virtual_size: int
    l1_offset: int
    l1_entries: int
    depends_on: str | None
    corrupt: bool
    wide_entries: bool


def read_header(file: BinaryIO) -> Header:
    """Read the header of a qcow2 file, version 2 or 3.

    Raises:
        ValueError: it is cut short or makes no sense.
    """
    file.seek(0)
    raw = file.read(_HEADER.size + _FEATURES.size)
    if len(raw) < _HEADER.size:
        raise ValueError("the header is cut short")
    (magic, version, backing, _, cluster_bits, virtual_size, encryption, l1_entries, l1_offset, *_rest) = (
        _HEADER.unpack(raw[: _HEADER.size])
    )
    if magic != MAGIC or version not in {2, 3} or cluster_bits not in _CLUSTER_BITS:
        raise ValueError("the header is damaged")
    features = 0
    if version > 2:  # noqa: PLR2004 - version 3 added the feature bits
        if len(raw) < _HEADER.size + _FEATURES.size:
            raise ValueError("the header is cut short")
        features = _FEATURES.unpack(raw[_HEADER.size :])[0]
    depends_on = "a backing file" if backing else "an external data file" if features & 4 else None
    return Header(
        cluster_bits=cluster_bits,
        virtual_size=virtual_size,
        l1_offset=l1_offset,
        l1_entries=l1_entries,
        depends_on=depends_on or ("a passphrase" if encryption else None),
        corrupt=bool(features & 2),
        wide_entries=bool(features & 16),
    )


def write_empty(path: Path, virtual_size: int, backing: tuple[str, str] | None = None) -> None:
    """Write a qcow2 file of version 3 without data, as ``qemu-img create`` does.

    Args:
        path: of the file; there must be none.
        virtual_size: bytes that a guest sees, a multiple of 512.
        backing: the path of the file whose data shows through, and its format; it is not looked at.

    Raises:
        ValueError: the path of the backing file has more than 1023 bytes.
    """
    name, kind = (os.fsencode(part) for part in backing or ("", ""))
    if len(name) > _LONGEST_BACKING:
        raise ValueError(f"the path of the backing file has {len(name)} bytes, at most {_LONGEST_BACKING} are allowed")
    cluster = 1 << _NEW_CLUSTER_BITS
    l1_entries = max(1, -(-virtual_size // (cluster * cluster // 8)))
    # A cluster each for the header, the table of blocks of reference counts and the only one of those; then the table.
    clusters = 3 + -(-8 * l1_entries // cluster)
    extensions = _EXTENSION.pack(_BACKING_FORMAT, len(kind)) + kind.ljust(8, b"\0") if backing else b""
    extensions += _EXTENSION.pack(0, 0)
    size = _HEADER.size + _NEW_FEATURES.size
    header = _HEADER.pack(
        *(MAGIC, 3, size + len(extensions) if backing else 0, len(name), _NEW_CLUSTER_BITS, virtual_size, 0),
        *(l1_entries, 3 * cluster, cluster, 1, 0, 0),
    )
    with path.open("xb") as file:
        file.write(header + _NEW_FEATURES.pack(0, 0, 0, 4, size) + extensions + name)
        file.seek(cluster)
        file.write(struct.pack(">Q", 2 * cluster))
        file.seek(2 * cluster)
        file.write(struct.pack(">H", 1) * clusters)
        file.truncate(clusters * cluster)


def data_end(file: BinaryIO, header: Header) -> int:
    """Return the offset at which the last byte of data ends that the active tables refer to.

    Tables that lie beyond the end of the file count with their own end; what they would say is unknown. In a damaged
    file the result may be any number.
    """
    end = header.l1_offset + 8 * header.l1_entries
    cluster = 1 << header.cluster_bits
    per_table = cluster // (16 if header.wide_entries else 8)
    for number, entry in enumerate(_words(file, header.l1_offset, header.l1_entries)):
        table = entry & _OFFSET_MASK
        if not table:
            continue
        end = max(end, table + cluster)
        entries = _words(file, table, cluster // 8)
        if header.wide_entries:
            entries = entries[::2]
        end = max(end, max(_cluster_ends(entries, header, number * per_table), default=0))
    return end


def _cluster_ends(entries: array[int], header: Header, first: int) -> Iterator[int]:
    cluster = 1 << header.cluster_bits
    # In an entry for compressed data, the upper part of the offset field counts further sectors.
    shift = 62 - (header.cluster_bits - 8)
    for index, entry in enumerate(entries, first):
        if entry & _COMPRESSED:
            offset = entry & ((1 << shift) - 1)
            sectors = ((entry & (_COMPRESSED - 1)) >> shift) + 1
            yield (offset & ~(_SECTOR - 1)) + sectors * _SECTOR
        elif offset := entry & _OFFSET_MASK:
            # The disk's last cluster may be written only as far as the disk reaches; with wide entries a single
            # subcluster of 32 may be all that was written.
            written = cluster // 32 if header.wide_entries else cluster
            yield offset + min(written, header.virtual_size - index * cluster)


def _words(file: BinaryIO, offset: int, count: int) -> array[int]:
    there = max(0, file.seek(0, os.SEEK_END) - offset)
    file.seek(offset if there else 0)
    raw = file.read(min(8 * count, there))
    words = array("Q", raw[: len(raw) // 8 * 8])
    if sys.byteorder == "little":
        words.byteswap()
    return words
