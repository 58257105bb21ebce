"""A disk image file on this host: what format it has, whether it is complete, its digest, unpacking it.

Verdicts are remembered in the cache by path, size, modification time and inode, so that only the first use of an image
takes time.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import struct
import subprocess
import zlib
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

from kola import qcow2
from kola.errors import ConfigError, WaitTimeout
from kola.filelock import FileLock
from kola.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CHUNK = 1 << 20
_SPARSE_CHUNK = 1 << 16
_SECTOR = 512
_OPENERS: dict[str, Callable[[BinaryIO], lzma.LZMAFile | gzip.GzipFile]] = {
    ".xz": lzma.LZMAFile,
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
}
_MAGICS = {
    "qcow2": (0, qcow2.MAGIC),
    "vmdk": (0, b"KDMV"),
    "tar": (257, b"ustar"),
    ".xz": (0, b"\xfd7zXZ\0"),
    ".gz": (0, b"\x1f\x8b"),
}
"""What a file has at which offset."""
FORMATS = {
    "qcow2": "a qcow2 image",
    "raw": "a raw disk",
    "vmdk": "a VMDK image",
    "vhd": "a VHD image",
    "tar": "a tar archive of a disk",
}
"""What an image may be. Those for clouds are as releases have them: the VHD is fixed, the tar holds ``disk.raw``."""
LOCAL_FORMATS = ("qcow2", "raw")
"""What machines on this host can boot from."""
ARCHIVED_DISK = "disk.raw"
_VHD = b"conectix"
_FOREIGN = {
    b"vhdxfile": "a VHDX image",
    _VHD: "a VHD image that grows",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"BZh": "compressed with bzip2",
    b"PK\x03\x04": "a zip archive",
}
_UNPACK_SECONDS = 3600.0


class Progress(Protocol):
    """Told how far something long has come."""

    def __call__(self, what: str, done: int, total: int, /) -> None:
        """Say what is being done, and how many bytes of how many are."""


@dataclass(frozen=True)
class Verdict:
    """What is known of an intact image file.

    Attributes:
        format: one of ``FORMATS``; for a compressed file ``.xz`` or ``.gz``.
        sha256: digest of the file.
    """

    format: str
    sha256: str


def inspect(path: Path, cache: Path, progress: Progress | None = None) -> Verdict:
    """Check that a file is a complete image (or a compressed one), and compute its digest.

    Args:
        path: the file.
        cache: the user's kola cache; the verdict is kept in its folder ``digests``.
        progress: told of the bytes read.

    Raises:
        ConfigError: it is no image that kola can use, or it is damaged.
    """
    before = _identity(path)
    record = cache / "digests" / f"{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()}.json"
    # A record that cannot be used, for whatever reason, is as good as none.
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(record.read_bytes())
        if known["file"] == before:
            return Verdict(**known["verdict"])
    kind = _format(path)
    if kind in _CHECKS:
        _CHECKS[kind](path)
    verdict = Verdict(kind, _sha256(path, progress))
    if _identity(path) != before:
        raise ConfigError(f"image {path}: something changed it while it was being read")
    record.parent.mkdir(parents=True, exist_ok=True)
    partial = record.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps({"file": before, "verdict": asdict(verdict)}))
    partial.replace(record)
    return verdict


def unpack(path: Path, verdict: Verdict, cache: Path, progress: Progress | None = None) -> Path:
    """Decompress an image into the cache, once; several processes may ask for it at the same time.

    Args:
        path: the compressed file.
        verdict: what ``inspect`` said of it.
        cache: the user's kola cache; the result goes to its folder ``images``.
        progress: told of the compressed bytes read.

    Returns:
        The decompressed file. Blocks of zeros take no space.

    Raises:
        ConfigError: the compressed data is damaged or ends early.
    """
    folder = cache / "images" / verdict.sha256
    result = folder / (path.name.removesuffix(verdict.format) or "image")
    if result.exists():
        return result
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock", path, progress):
        if result.exists():
            return result
        partial = folder / f"{result.name}.partial"
        try:
            with path.open("rb") as packed, partial.open("wb") as unpacked:
                _decompress(path, verdict.format, packed, unpacked, progress)
            partial.replace(result)
        finally:
            partial.unlink(missing_ok=True)
    return result


def _identity(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "inode": stat.st_ino}


def _format(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(f"image {path}: not a regular file")
    with path.open("rb") as file:
        start = file.read(_SECTOR)
        file.seek(max(0, path.stat().st_size - _SECTOR))
        end = file.read(len(_VHD))
    for kind, (at, magic) in _MAGICS.items():
        if start[at:].startswith(magic):
            return kind
    if path.suffix in _OPENERS:
        raise ConfigError(f"image {path}: the name ends in {path.suffix}, but the contents are not so compressed")
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise ConfigError(f"image {path}: is {what}; accepted: qcow2 and raw, also as .xz or .gz")
    if end == _VHD:
        return "vhd"
    size = path.stat().st_size
    if size == 0 or size % _SECTOR:
        raise ConfigError(
            f"image {path}: {size} bytes are neither qcow2 nor a raw disk (a multiple of {_SECTOR} bytes), or it is "
            "cut short"
        )
    return "raw"


def _check_qcow2(path: Path) -> None:
    with path.open("rb") as file:
        try:
            header = qcow2.read_header(file)
        except ValueError as e:
            raise ConfigError(f"image {path}: truncated or damaged qcow2: {e}") from e
        if header.depends_on:
            raise ConfigError(
                f"image {path}: the qcow2 needs {header.depends_on}; make one file of it: "
                "qemu-img convert -O qcow2 OLD NEW"
            )
        if header.corrupt:
            raise ConfigError(f"image {path}: QEMU has marked the qcow2 as corrupt")
        size = path.stat().st_size
        end = qcow2.data_end(file, header)
    if end > size:
        raise ConfigError(
            f"image {path}: truncated or damaged qcow2: it refers to data up to byte {end}, the file ends at {size}"
        )
    _qemu_img_check(path, "qcow2")


def _check_vmdk(path: Path) -> None:
    _qemu_img_check(path, "vmdk")


def _qemu_img_check(path: Path, kind: str) -> None:
    qemu_img = shutil.which("qemu-img")
    if qemu_img is None:
        raise ConfigError("qemu-img is not installed; ci/setup installs what kola needs")
    done = subprocess.run(
        [qemu_img, "check", "-U", "-f", kind, str(path.absolute())],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    # 0: consistent; 3: leaked clusters, which only waste space.
    if done.returncode not in {0, 3}:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[0]
        raise ConfigError(f"image {path}: truncated or damaged {kind}: {said}")


def _check_tar(path: Path) -> None:
    command = ["tar", "--list", "--force-local", "--file", str(path.absolute())]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or "no message").splitlines()[0]
        raise ConfigError(f"image {path}: truncated or damaged tar archive: {said}")
    if done.stdout.splitlines() != [ARCHIVED_DISK]:
        raise ConfigError(f"image {path}: is a tar archive, but not of {ARCHIVED_DISK} alone, as Google Cloud has it")


def _check_raw(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        # Disks with 4 KiB sectors (dasd, metal4k) have their GPT header at 4096.
        for sector in (_SECTOR, 4096):
            file.seek(sector)
            header = file.read(92)
            if header.startswith(b"EFI PART") and len(header) == 92:  # noqa: PLR2004 - the length of a GPT header
                backup = struct.unpack_from("<Q", header, 32)[0]
                _reaches(path, (backup + 1) * sector, size, "GPT's backup header")
                return
        file.seek(0)
        mbr = file.read(_SECTOR)
    if mbr[510:512] == b"\x55\xaa":
        for number in range(4):
            kind, start, length = struct.unpack_from("<4xB3xII", mbr, 446 + 16 * number)
            # In a boot sector without partition table these bytes are code; a real entry is active or not.
            if kind and length and not mbr[446 + 16 * number] & 0x7F:
                _reaches(path, (start + length) * _SECTOR, size, f"MBR partition {number + 1}")


def _reaches(path: Path, end: int, size: int, what: str) -> None:
    if end > size:
        raise ConfigError(f"image {path}: truncated: {what} reaches to byte {end}, the file ends at {size}")


_CHECKS = {"qcow2": _check_qcow2, "vmdk": _check_vmdk, "tar": _check_tar, "raw": _check_raw}


def _sha256(path: Path, progress: Progress | None) -> str:
    digest = hashlib.sha256()
    size = path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if progress is not None:
                progress(f"verifying {path.name}", file.tell(), size)
    return digest.hexdigest()


def _decompress(path: Path, kind: str, packed: BinaryIO, unpacked: BinaryIO, progress: Progress | None) -> None:
    size = path.stat().st_size
    zeros = bytes(_SPARSE_CHUNK)
    # Closing it closes nothing else: both leave the file that they were given open.
    whole_chunks = io.BufferedReader(_OPENERS[kind](packed), _SPARSE_CHUNK)
    try:
        while chunk := whole_chunks.read(_SPARSE_CHUNK):
            if chunk == zeros:
                unpacked.seek(_SPARSE_CHUNK, os.SEEK_CUR)
            else:
                unpacked.write(chunk)
            if progress is not None:
                progress(f"decompressing {path.name}", packed.tell(), size)
    except EOFError as e:
        raise ConfigError(f"image {path}: truncated: the {kind} data ends early") from e
    except (lzma.LZMAError, gzip.BadGzipFile, zlib.error) as e:
        raise ConfigError(f"image {path}: the {kind} data is damaged: {e}") from e
    unpacked.truncate()


@contextmanager
def _locked(lock: Path, path: Path, progress: Progress | None) -> Iterator[None]:
    with FileLock(lock) as held:

        def waiting(_elapsed: float) -> None:
            if progress is not None:
                progress(f"waiting for another process that decompresses {path.name}", 0, path.stat().st_size)

        try:
            wait_until(held.try_take, _UNPACK_SECONDS, what=f"another process to decompress {path}", progress=waiting)
        except WaitTimeout as e:
            raise ConfigError(f"image {path}: {e}") from e
        yield
