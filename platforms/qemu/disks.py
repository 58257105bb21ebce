"""Disk files: new ones are written here, everything else is qemu-img's."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola import qcow2
from kola.errors import ConfigError, PlatformError

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30
_SECTOR = 512


@dataclass(frozen=True)
class ImageInfo:
    """What an image is: its format and the size of the disk that guests see, in bytes."""

    format: str
    virtual_size: int


def qemu_img(*arguments: str) -> str:
    """Run qemu-img and return what it prints.

    Raises:
        PlatformError: it failed; the last line that it printed.
    """
    done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        complaint = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PlatformError(f"{complaint.removeprefix('qemu-img: ')} (qemu-img {arguments[0]})")
    return done.stdout


def image_info(image: Path) -> ImageInfo:
    """Look at an image; only raw and qcow2 are told apart, so that no other format is ever guessed.

    Raises:
        PlatformError: it cannot be read.
    """
    try:
        with image.open("rb") as file:
            if file.read(len(qcow2.MAGIC)) == qcow2.MAGIC:
                return ImageInfo("qcow2", qcow2.read_header(file).virtual_size)
            size = file.seek(0, os.SEEK_END)
            return ImageInfo("raw", -(-size // _SECTOR) * _SECTOR)
    except OSError as e:
        raise PlatformError(f"image {image}: {e.strerror}") from e
    except ValueError as e:
        raise PlatformError(f"image {image}: {e}") from e


def make_overlay(path: Path, base: Path, size_gib: int | None) -> None:
    """Make a copy-on-write disk over ``base``, which is never written; ``size_gib`` None keeps its size.

    Raises:
        ConfigError: the wanted size is less than the base's.
        PlatformError: the base cannot be read, or the disk not be written.
    """
    info = image_info(base)
    size = info.virtual_size if size_gib is None else size_gib * GIB
    if size < info.virtual_size:
        raise ConfigError(f"disk_gib={size_gib} is less than the image's own {info.virtual_size / GIB:.1f} GiB")
    _make(path, size, (str(base.resolve()), info.format))


def make_empty(path: Path, size_gib: int) -> None:
    """Make an empty disk.

    Raises:
        PlatformError: it cannot be written.
    """
    _make(path, size_gib * GIB)


def _make(path: Path, size: int, backing: tuple[str, str] | None = None) -> None:
    try:
        qcow2.write_empty(path, size, backing)
    except OSError as e:
        raise PlatformError(f"disk {path}: {e.strerror}") from e
    except ValueError as e:
        raise PlatformError(f"disk {path}: {e}") from e
