"""Disks that kola writes itself: what QEMU's own tools say of them, and what is in them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kola import qcow2
from kola.errors import ConfigError, PlatformError
from platforms.qemu.disks import GIB, image_info, make_empty, make_overlay, qemu_img

MIB = 1 << 20
DATA = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "base.raw"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def packed(raw: Path) -> Path:
    path = raw.with_suffix(".qcow2")
    qemu_img("convert", "-O", "qcow2", str(raw), str(path))
    return path


def described(path: Path) -> Any:
    """Return all that qemu-img knows of a disk, but its name and what it takes on this one."""
    found = json.loads(qemu_img("info", "--output=json", str(path)))
    return {key: value for key, value in found.items() if key not in {"filename", "actual-size", "children"}}


@pytest.mark.parametrize("size", [512, 65536, 3 * GIB + 512, 4096 * GIB, 5000 * GIB])
@pytest.mark.parametrize("base", [None, "raw", "qcow2"])
def test_it_is_what_qemu_img_makes(tmp_path: Path, raw: Path, packed: Path, size: int, base: str | None) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    backing = None if base is None else (str(raw if base == "raw" else packed), base)
    qcow2.write_empty(ours, size, backing)
    options = [] if backing is None else ["-b", backing[0], "-F", backing[1]]
    qemu_img("create", "-q", "-f", "qcow2", *options, str(theirs), str(size))
    assert described(ours) == described(theirs)
    assert "No errors were found" in qemu_img("check", str(ours))
    with ours.open("rb") as file:
        assert qcow2.read_header(file).virtual_size == size
        assert qcow2.data_end(file, qcow2.read_header(file)) <= ours.stat().st_size


def test_an_overlay_shows_its_base_and_takes_what_is_written(tmp_path: Path, packed: Path) -> None:
    disk, whole = tmp_path / "disk", tmp_path / "whole"
    before = packed.read_bytes()
    make_overlay(disk, packed, 1)
    for offset in (65536, 600 * MIB):  # the second one in another table
        command = ["qemu-io", "-f", "qcow2", "-c", f"write -P 7 {offset} 1000", str(disk)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert "No errors were found" in qemu_img("check", str(disk))
    qemu_img("convert", "-O", "raw", str(disk), str(whole))
    expected = bytearray(DATA)
    expected[65536:66536] = bytes([7]) * 1000
    with whole.open("rb") as file:
        assert file.read(MIB) == expected
        file.seek(600 * MIB - 8)
        assert file.read(1016) == bytes(8) + bytes([7]) * 1000 + bytes(8)
    assert whole.stat().st_size == GIB
    assert packed.read_bytes() == before


def test_no_process_is_needed(tmp_path: Path, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    make_overlay(tmp_path / "one", packed, None)
    make_overlay(tmp_path / "two", tmp_path / "one", None)
    make_empty(tmp_path / "three", 2)
    assert image_info(tmp_path / "two").virtual_size == MIB
    assert image_info(tmp_path / "three").virtual_size == 2 * GIB


def test_what_an_image_is(raw: Path, packed: Path) -> None:
    for path, kind in ((raw, "raw"), (packed, "qcow2")):
        assert (image_info(path).format, image_info(path).virtual_size) == (kind, MIB)
    os.truncate(raw, MIB + 1)
    assert image_info(raw).virtual_size == MIB + 512, "QEMU makes whole sectors of it"


def test_what_cannot_be_made_is_one_clear_error(tmp_path: Path, packed: Path) -> None:
    os.truncate(packed, 8)
    with pytest.raises(PlatformError, match=r"image .*base\.qcow2: the header is cut short"):
        make_overlay(tmp_path / "disk", packed, None)
    with pytest.raises(PlatformError, match=r"image .*none: No such file"):
        make_overlay(tmp_path / "disk", tmp_path / "none", None)
    make_empty(tmp_path / "two", 2)
    with pytest.raises(ConfigError, match=r"disk_gib=1 is less than the image's own 2\.0 GiB"):
        make_overlay(tmp_path / "disk", tmp_path / "two", 1)
    with pytest.raises(PlatformError, match=r"disk .*two: File exists"):
        make_empty(tmp_path / "two", 2)
    with pytest.raises(ValueError, match="has 1024 bytes, at most 1023"):
        qcow2.write_empty(tmp_path / "disk", GIB, ("/" * 1024, "raw"))
