"""Image files, whole and damaged: real qcow2, raw, xz and gz."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kola.images import Image
from tests.unit.image_files import (
    MIB,
    PACKERS,
    QCOW2,
    Counter,
    get,
    gz,
    qemu_img,
    refusal,
    sha256,
    xz,
)


@pytest.mark.parametrize("name", [*QCOW2, "raw"])
def test_whole_images_are_accepted(name: str, disks: dict[str, Path], tmp_path: Path) -> None:
    image = get(disks[name], tmp_path)
    assert image == Image(
        path=disks[name],
        format="raw" if name == "raw" else "qcow2",
        sha256=sha256(disks[name]),
        reference=str(disks[name]),
        artifact_sha256=sha256(disks[name]),
    )


@pytest.mark.parametrize("name", QCOW2)
def test_truncated_qcow2_is_refused_wherever_it_was_cut(name: str, disks: dict[str, Path], tmp_path: Path) -> None:
    whole = disks[name].read_bytes()
    # Behind the last byte of data there may be padding up to a sector or cluster, whose loss does no harm.
    padding = {"small clusters": 4096, "version 2": 65536, "wide entries": 131072, "odd size": 65536}.get(name, 0)
    cut = tmp_path / "cut.qcow2"
    sizes = {len(whole) - padding - lost for lost in (1, 511, 512, 4096, 65535, 65536, 70000)}
    sizes |= {len(whole) * tenth // 10 for tenth in range(1, 10)} | {4, 71, 72, 79, 80, 104}
    for size in sorted(size for size in sizes if 0 < size < len(whole) - padding):
        cut.write_bytes(whole[:size])
        message = refusal(cut, tmp_path)
        assert message.startswith(f"image {cut}: truncated or damaged qcow2: "), f"{size} of {len(whole)}: {message}"


def test_damaged_qcow2_is_refused(disks: dict[str, Path], tmp_path: Path) -> None:
    for offset, length in ((4, 4), (20, 4), (40, 8), (48, 8), (65536, 4096)):
        data = bytearray(disks["plain"].read_bytes())
        data[offset : offset + length] = b"\xff" * length
        broken = tmp_path / "broken.qcow2"
        broken.write_bytes(data)
        assert refusal(broken, tmp_path).startswith(f"image {broken}: truncated or damaged qcow2: ")


def test_qcow2_with_a_backing_file_is_refused(disks: dict[str, Path], tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    qemu_img("create", "-f", "qcow2", "-b", disks["plain"], "-F", "qcow2", overlay)
    assert "needs a backing file; make one file of it" in refusal(overlay, tmp_path)


def _partitioned(path: Path, label: str) -> None:
    with path.open("wb") as file:
        file.truncate(16 * MIB)
    sfdisk = shutil.which("sfdisk", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert sfdisk, "sfdisk is not installed"
    subprocess.run([sfdisk, "-q", path], input=f"label: {label}\n,4M\n,,\n", text=True, check=True)


@pytest.mark.parametrize(
    ("label", "says"), [("gpt", "GPT's backup header reaches to byte"), ("dos", "MBR partition 2 reaches to byte")]
)
def test_truncated_raw_is_refused(label: str, says: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    _partitioned(disk, label)
    assert get(disk, tmp_path).format == "raw"
    for size in (16 * MIB - 512, 10 * MIB, 6 * MIB):
        os.truncate(disk, size)
        message = refusal(disk, tmp_path)
        assert message == f"image {disk}: truncated: {says} {16 * MIB}, the file ends at {size}"
    os.truncate(disk, 0)
    assert "0 bytes are neither qcow2 nor a raw disk" in refusal(disk, tmp_path)


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (b"<html>not found</html>", "22 bytes are neither qcow2 nor a raw disk"),
        (b"vhdxfile" + bytes(504), "is a VHDX image; accepted: qcow2 and raw, also as .xz or .gz"),
        (b"\x28\xb5\x2f\xfd" + bytes(508), "is compressed with zstd"),
        (b"QFI\xfb", "truncated or damaged qcow2: the header is cut short"),
    ],
)
def test_other_files_are_refused(contents: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "file.img"
    file.write_bytes(contents)
    assert refusal(file, tmp_path).startswith(f"image {file}: {says}")


@pytest.mark.parametrize("suffix", PACKERS)
def test_compressed_images_are_unpacked_once_and_sparse(suffix: str, disks: dict[str, Path], tmp_path: Path) -> None:
    packed = tmp_path / f"disk.raw{suffix}"
    plain = disks["raw"].read_bytes() + bytes(MIB)
    packed.write_bytes(PACKERS[suffix](plain))
    seen = Counter()
    image = get(packed, tmp_path / "cache", progress=seen)
    assert image.path == tmp_path / "cache" / "images" / sha256(packed) / "disk.raw"
    assert (image.format, image.sha256) == ("raw", hashlib.sha256(plain).hexdigest())
    assert image.path.read_bytes() == plain
    assert image.path.stat().st_blocks * 512 <= MIB + 65536
    steps = {what: (done, total) for what, done, total in seen.calls}
    assert steps[f"decompressing disk.raw{suffix}"] == (packed.stat().st_size, packed.stat().st_size)
    again = Counter()
    assert get(packed, tmp_path / "cache", progress=again) == image
    assert again.calls == []


@pytest.mark.parametrize("suffix", PACKERS)
def test_damaged_compressed_images_are_one_line_and_leave_nothing(
    suffix: str, disks: dict[str, Path], tmp_path: Path
) -> None:
    whole = PACKERS[suffix](disks["plain"].read_bytes())
    packed = tmp_path / f"disk.qcow2{suffix}"
    for size in (20, len(whole) // 2, len(whole) - 1):
        packed.write_bytes(whole[:size])
        assert refusal(packed, tmp_path) == f"image {packed}: truncated: the {suffix} data ends early"
    middle = len(whole) // 2
    packed.write_bytes(whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :])
    assert f"image {packed}: the {suffix} data is damaged:" in refusal(packed, tmp_path)
    packed.write_bytes(disks["raw"].read_bytes())
    assert f"the name ends in {suffix}, but the contents" in refusal(packed, tmp_path)
    left = [path for path in (tmp_path / "images").rglob("*") if path.is_file() and path.name != ".lock"]
    assert left == []


def test_compressed_twice_or_truncated_inside_is_refused(disks: dict[str, Path], tmp_path: Path) -> None:
    twice = tmp_path / "disk.qcow2.xz.gz"
    twice.write_bytes(gz(xz(disks["plain"].read_bytes())))
    assert "is compressed twice" in refusal(twice, tmp_path)
    cut = tmp_path / "cut.qcow2.gz"
    cut.write_bytes(gz(disks["plain"].read_bytes()[:-100_000]))
    assert "cut.qcow2: truncated or damaged" in refusal(cut, tmp_path)


def test_several_processes_unpack_once(disks: dict[str, Path], tmp_path: Path) -> None:
    packed = tmp_path / "disk.qcow2.xz"
    packed.write_bytes(xz(disks["plain"].read_bytes()))
    script = (
        "import sys; from pathlib import Path; from kola.arch import get_arch; from kola.images import resolve\n"
        "seen = []\n"
        "image = resolve(sys.argv[1], cache=Path(sys.argv[2]), arch=get_arch('x86_64'),"
        " progress=lambda what, *_: seen.append(what))\n"
        "print(image.sha256, any(what.startswith('decompressing') for what in seen))\n"
    )
    command = [sys.executable, "-c", script, str(packed), str(tmp_path / "cache")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate(timeout=60)[0].split() for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert {digest for digest, _ in said} == {sha256(disks["plain"])}
    assert [unpacked for _, unpacked in said].count("True") == 1


def test_what_a_killed_process_left_is_removed(disks: dict[str, Path], tmp_path: Path) -> None:
    packed = tmp_path / "disk.qcow2.gz"
    packed.write_bytes(gz(disks["plain"].read_bytes()))
    folder = tmp_path / "images" / sha256(packed)
    folder.mkdir(parents=True)
    (folder / "disk.qcow2.partial").write_bytes(b"half")
    image = get(packed, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "disk.qcow2"]
    assert image.sha256 == sha256(disks["plain"])


def test_the_verdict_is_remembered_until_the_file_changes(disks: dict[str, Path], tmp_path: Path) -> None:
    disk = tmp_path / "disk.qcow2"
    shutil.copyfile(disks["plain"], disk)
    first = get(disk, tmp_path)
    seen = Counter()
    began = time.process_time()
    assert get(disk, tmp_path, progress=seen) == first
    assert time.process_time() - began < 0.05
    assert seen.calls == []
    with disk.open("r+b") as file:  # same size, same inode
        file.seek(500_000)
        file.write(b"changed")
    os.utime(disk, ns=(0, disk.stat().st_mtime_ns + 1))
    assert get(disk, tmp_path, progress=seen).sha256 == sha256(disk) != first.sha256
    assert seen.calls


def test_a_damaged_record_is_not_trusted(disks: dict[str, Path], tmp_path: Path) -> None:
    first = get(disks["plain"], tmp_path)
    (record,) = (tmp_path / "digests").iterdir()
    for text in ("", "{", "[]", "{}", '{"file": 1, "verdict": {}}'):
        record.write_text(text)
        assert get(disks["plain"], tmp_path) == first
