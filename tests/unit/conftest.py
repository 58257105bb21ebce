"""What several unit tests need."""

from __future__ import annotations

import lzma
import random
import subprocess
from pathlib import Path

import pytest

from tests.unit.image_files import make_disks


@pytest.fixture(scope="session")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One disk in every form of image file; not to be changed."""
    return make_disks(tmp_path_factory.mktemp("disks"))


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An image as it is published: qcow2, xz."""
    disk = tmp_path_factory.mktemp("disk") / "disk.qcow2"
    raw = disk.with_name("disk.raw")
    raw.write_bytes(random.Random(1).randbytes(1 << 17) + bytes(1 << 20))  # noqa: S311 - not for security
    subprocess.run(["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", raw, disk], check=True)
    return lzma.compress(disk.read_bytes())
