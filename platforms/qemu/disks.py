"""Disk files through qemu-img."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola.errors import ConfigError, PlatformError

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30
_QCOW2_MAGIC = b"QFI\xfb"


@dataclass(frozen=True)
class ImageInfo:
    """What qemu-img says of an image: its format and the size of the disk that guests see, in bytes."""

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
            kind = "qcow2" if file.read(len(_QCOW2_MAGIC)) == _QCOW2_MAGIC else "raw"
    except OSError as e:
        raise PlatformError(f"image {image}: {e.strerror}") from e
    found = json.loads(qemu_img("info", "--output=json", "-f", kind, str(image)))
    return ImageInfo(kind, int(found["virtual-size"]))


def make_overlay(path: Path, base: Path, size_gib: int | None) -> None:
    """Make a copy-on-write disk over ``base``, which is never written; ``size_gib`` None keeps its size.

    Raises:
        ConfigError: the wanted size is less than the base's.
        PlatformError: the base cannot be read.
    """
    info = image_info(base)
    size = [] if size_gib is None else [str(size_gib * GIB)]
    if size_gib is not None and size_gib * GIB < info.virtual_size:
        raise ConfigError(f"disk_gib={size_gib} is less than the image's own {info.virtual_size / GIB:.1f} GiB")
    qemu_img("create", "-q", "-f", "qcow2", "-F", info.format, "-b", str(base.resolve()), str(path), *size)


def make_empty(path: Path, size_gib: int) -> None:
    """Make an empty disk."""
    qemu_img("create", "-q", "-f", "qcow2", str(path), str(size_gib * GIB))
