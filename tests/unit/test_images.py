"""References to images: real qcow2, raw, xz and gz files, whole and damaged."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kola.arch import get_arch
from kola.errors import ConfigError
from kola.images import Image, resolve

X86 = get_arch("x86_64")
MIB = 1 << 20
FCOS = "fedora-coreos-40.20240101.3.0-qemu.x86_64.qcow2"


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One disk of 2 MiB in every form: random bytes, zeros, and text at the end, which can be compressed."""
    folder = tmp_path_factory.mktemp("disks")
    rng = random.Random(1)  # noqa: S311 - not for security
    text = b"".join(b"line %d\n" % n for n in range(100_000))
    raw = folder / "plain.raw"
    half = MIB // 2
    raw.write_bytes(rng.randbytes(half) + bytes(2 * half) + text[:half])
    made = {"raw": raw}
    for name, options in {
        "plain": [],
        "compressed": ["-c"],
        "zstd": ["-c", "-o", "compression_type=zstd"],
        "small clusters": ["-o", "cluster_size=4k"],
        "version 2": ["-o", "compat=0.10"],
        "wide entries": ["-o", "extended_l2=on,cluster_size=128k"],
    }.items():
        made[name] = folder / f"{name.replace(' ', '-')}.qcow2"
        qemu_img("convert", "-f", "raw", "-O", "qcow2", *options, raw, made[name])
    made["empty"] = folder / "empty.qcow2"
    qemu_img("create", "-f", "qcow2", made["empty"], "1G")
    made["table at the end"] = folder / "zeroed.qcow2"
    qemu_img("create", "-f", "qcow2", made["table at the end"], "1G")
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "write -z 600M 64k", made["table at the end"]],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    made["odd size"] = folder / "odd.qcow2"
    (folder / "odd.raw").write_bytes(rng.randbytes(MIB + 512))
    qemu_img("convert", "-f", "raw", "-O", "qcow2", folder / "odd.raw", made["odd size"])
    return made


QCOW2 = [
    "plain",
    "compressed",
    "zstd",
    "small clusters",
    "version 2",
    "wide entries",
    "empty",
    "table at the end",
    "odd size",
]


class Counter:
    """A progress callback that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []

    def __call__(self, what: str, done: int, total: int, /) -> None:
        self.calls.append((what, done, total))


def get(reference: object, cache: Path, **options: Any) -> Image:
    return resolve(str(reference), cache=cache, arch=options.pop("arch", X86), **options)


def refusal(reference: object, cache: Path, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        get(reference, cache, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def metadata(folder: Path, at: str = "image.json", /, **members: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / at).write_text(json.dumps({"schema": 1, **members}))


@pytest.mark.parametrize("name", [*QCOW2, "raw"])
def test_whole_images_are_accepted(name: str, disks: dict[str, Path], tmp_path: Path) -> None:
    image = get(disks[name], tmp_path)
    assert image == Image(
        path=disks[name],
        format="raw" if name == "raw" else "qcow2",
        sha256=sha256(disks[name]),
        reference=str(disks[name]),
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
        (b"KDMV" + bytes(508), "is a VMDK image; accepted: qcow2 and raw, also as .xz or .gz"),
        (b"\x28\xb5\x2f\xfd" + bytes(508), "is compressed with zstd"),
        (b"QFI\xfb", "truncated or damaged qcow2: the header is cut short"),
    ],
)
def test_other_files_are_refused(contents: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "file.img"
    file.write_bytes(contents)
    assert refusal(file, tmp_path).startswith(f"image {file}: {says}")


def xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


def gz(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1)


PACKERS = {".xz": xz, ".gz": gz}


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


KNOWN: dict[str, Any] = {
    "name": "testos",
    "version": "1.2",
    "build_id": "1.2-abc",
    "arch": "x86_64",
    "distro": "debian",
    "stream": "dev",
    "ignition_max": "3.3.0",
    "capabilities": ["ostree", "podman"],
}


def test_test_os(disks: dict[str, Path], tmp_path: Path) -> None:
    build = tmp_path / "builds" / "abc"
    metadata(build, file="disk.qcow2", sha256=sha256(disks["plain"]), **KNOWN)
    shutil.copyfile(disks["plain"], build / "disk.qcow2")
    (tmp_path / "testos").mkdir()
    (tmp_path / "testos" / "x86_64").symlink_to("../builds/abc")
    assert get("testos", tmp_path) == Image(
        # Not through the symlink, which may come to name another build while machines run on this one.
        path=build / "disk.qcow2",
        format="qcow2",
        sha256=sha256(disks["plain"]),
        reference="testos",
        name="testos",
        version="1.2",
        build_id="1.2-abc",
        arch="x86_64",
        distro="debian",
        stream="dev",
        ignition_max="3.3.0",
        capabilities=frozenset({"ostree", "podman"}),
    )
    assert get(build, tmp_path) == replace(get("testos", tmp_path), reference=str(build))


def test_test_os_that_is_not_built(tmp_path: Path) -> None:
    assert refusal("testos", tmp_path) == (
        f"image testos: not built for x86_64 (no {tmp_path}/testos/x86_64/image.json); "
        "run ci/testos/build (as root) or ci/demo"
    )


def test_metadata_beside_a_file(disks: dict[str, Path], tmp_path: Path) -> None:
    disk = tmp_path / "my.qcow2"
    shutil.copyfile(disks["plain"], disk)
    metadata(tmp_path, file="other.qcow2", name="of another")
    assert get(disk, tmp_path).name == ""
    metadata(tmp_path, file="my.qcow2", name="shared")
    assert get(disk, tmp_path).name == "shared"
    metadata(tmp_path, "my.qcow2.image.json", name="own", ignition_max="3.4.0")
    assert (get(disk, tmp_path).name, get(disk, tmp_path).ignition_max) == ("own", "3.4.0")
    metadata(tmp_path, "my.qcow2.image.json", name="own", file="x.qcow2")
    assert "file: names 'x.qcow2', but the file beside it is 'my.qcow2'" in refusal(disk, tmp_path)


def test_sidecar_of_a_compressed_file_has_the_digest_of_that_file(disks: dict[str, Path], tmp_path: Path) -> None:
    packed = tmp_path / "my.qcow2.gz"
    packed.write_bytes(gz(disks["plain"].read_bytes()))
    metadata(tmp_path, "my.qcow2.gz.image.json", name="own", sha256=sha256(packed))
    image = get(packed, tmp_path)
    assert (image.name, image.sha256) == ("own", sha256(disks["plain"]))


def test_digest_that_does_not_fit(disks: dict[str, Path], tmp_path: Path) -> None:
    disk = tmp_path / "my.qcow2"
    shutil.copyfile(disks["plain"], disk)
    metadata(tmp_path, "my.qcow2.image.json", sha256="0" * 64)
    message = refusal(disk, tmp_path)
    assert f"has the SHA-256 {sha256(disk)}, its image.json says {'0' * 64}" in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", 'expected an object with "schema": 1'),
        ('{"schema": 2}', 'expected an object with "schema": 1'),
        ('{"schema": 1}', "file: required, but missing"),
        ('{"schema": 1, "file": "../x"}', "file: expected the name of a file in the same folder, found '../x'"),
        ('{"schema": 1, "file": ".."}', "file: expected the name of a file"),
        ('{"schema": 1, "file": 5}', "file: expected the name of a file in the same folder, found 5"),
        ('{"schema": 1, "file": "gone.qcow2"}', "names gone.qcow2, which is not there"),
        ('{"schema": 1, "file": "a", "sha256": "abc"}', "sha256: expected 64 hexadecimal digits"),
        ('{"schema": 1, "file": "a", "ignition_max": "3.4"}', "ignition_max: expected 3.N.0, found '3.4'"),
        ('{"schema": 1, "file": "a", "arch": "vax"}', "arch: unknown architecture 'vax'"),
        ('{"schema": 1, "file": "a", "capabilities": "x"}', "capabilities: expected a list of strings"),
        ('{"schema": 1, "file": "a", "name": 3}', "name: expected a string, found 3"),
    ],
)
def test_bad_metadata(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "image.json").write_text(text)
    assert says in refusal(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        (FCOS, ("40.20240101.3.0", "x86_64", "stable")),
        ("fedora-coreos-41.20241215.1.12-qemu.aarch64.qcow2", ("41.20241215.1.12", "aarch64", "next")),
        ("fedora-coreos-42.20250101.2.0-metal4k.s390x.raw", ("42.20250101.2.0", "s390x", "testing")),
        ("fedora-coreos-42.20250101.10.0-qemu.x86_64.qcow2", ("42.20250101.10.0", "x86_64", "next-devel")),
        ("fedora-coreos-42.20250101.20.3-qemu.x86_64.qcow2", ("42.20250101.20.3", "x86_64", "testing-devel")),
        ("fedora-coreos-43.20250101.91.0-qemu.x86_64.qcow2", ("43.20250101.91.0", "x86_64", "rawhide")),
        ("fedora-coreos-43.20250101.92.0-qemu.x86_64.qcow2", ("43.20250101.92.0", "x86_64", "branched")),
        ("fedora-coreos-43.20250101.dev.0-qemu.x86_64.qcow2", ("43.20250101.dev.0", "x86_64", "")),
    ],
)
def test_names_of_fedora_coreos(name: str, known: tuple[str, str, str], disks: dict[str, Path], tmp_path: Path) -> None:
    disk = tmp_path / name
    shutil.copyfile(disks["raw" if name.endswith(".raw") else "plain"], disk)
    image = get(disk, tmp_path, arch=get_arch(known[1]))
    assert (image.name, image.distro) == ("fedora-coreos", "fcos")
    assert (image.version, image.arch, image.stream) == known
    assert image.build_id == image.version
    assert (image.ignition_max, image.capabilities) == (None, None)


def test_name_of_a_compressed_fedora_coreos(disks: dict[str, Path], tmp_path: Path) -> None:
    packed = tmp_path / f"{FCOS}.xz"
    packed.write_bytes(xz(disks["plain"].read_bytes()))
    image = get(packed, tmp_path)
    assert (image.path.name, image.stream, image.version) == (FCOS, "stable", "40.20240101.3.0")


def test_other_architecture(disks: dict[str, Path], tmp_path: Path) -> None:
    disk = tmp_path / FCOS
    shutil.copyfile(disks["plain"], disk)
    assert refusal(disk, tmp_path, arch=get_arch("aarch64")) == (
        f"image {disk}: is for x86_64, but the architecture of this run is aarch64"
    )
    metadata(tmp_path, f"{FCOS}.image.json", arch="arm64")  # Debian's spelling
    assert get(disk, tmp_path, arch=get_arch("aarch64")).arch == "aarch64"


FORMS = (
    "accepted: testos[:VARIANT], a path (qcow2 or raw, also .xz or .gz, or a folder with image.json), "
    "stream:NAME[@VERSION], build:DIR[@ID]"
)


def test_references_that_name_nothing(tmp_path: Path) -> None:
    assert refusal("stream:stable", tmp_path).startswith("image stream:stable: not available yet in this version")
    assert refusal("build:x@1", tmp_path).startswith("image build:x@1: not available yet in this version")
    for nothing in ("tesotos", "http://example.com/x.qcow2", "", f"{tmp_path}/gone"):
        with pytest.raises(ConfigError) as caught:
            get(nothing, tmp_path)
        assert FORMS in str(caught.value)
        assert "\n" not in str(caught.value)
    assert "the folder holds no image.json" in refusal(tmp_path, tmp_path)
    assert refusal("/dev/null", tmp_path) == "image /dev/null: not a regular file"


def test_home_is_expanded(disks: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(disks["plain"].parent))
    assert get(f"~/{disks['plain'].name}", tmp_path).path == disks["plain"]


def test_without_qemu_img(disks: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "ci/setup" in refusal(disks["plain"], tmp_path)


def test_cache_that_cannot_be_written(disks: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = refusal(disks["plain"], tmp_path / "file")
    assert message == f"image {disks['plain']}: {tmp_path / 'file' / 'digests'}: Not a directory"


def with_updates(folder: Path, updates: object) -> Path:
    """A folder with a tiny image whose image.json says this of its updates."""
    folder.mkdir()
    (folder / "repo").mkdir()
    (folder / "repo/config").write_text("[core]\nmode=archive-z2\n")
    (folder / "disk.raw").write_bytes(b"\0" * 1024 * 1024)
    (folder / "image.json").write_text(json.dumps({"schema": 1, "file": "disk.raw", "updates": updates}))
    return folder


UPDATES: dict[str, Any] = {
    "repo": "repo",
    "remote": "os",
    "releases": [{"commit": "a" * 64, "ref": "os/stable", "version": "1.0"}],
}


def test_updates_are_found_beside_the_image_and_travel_to_workers(tmp_path: Path) -> None:
    folder = with_updates(tmp_path / "image", UPDATES | {"unsigned": {"commit": "b" * 64, "ref": "os/unsigned"}})
    image = resolve(str(folder), cache=tmp_path / "cache", arch=get_arch("x86_64"))
    assert image.updates is not None
    assert image.updates.repo == folder / "repo"
    assert image.updates.releases[0].version == "1.0"
    assert image.updates.wrongly_signed is None
    assert Image.from_plain(json.loads(json.dumps(image.to_plain()))) == image


def test_files_that_come_with_updates(tmp_path: Path) -> None:
    (release,) = UPDATES["releases"]
    updates = UPDATES | {"releases": [release | {"image": "1.0.ociarchive"}], "package": "p.rpm"}
    folder = with_updates(tmp_path / "image", updates)
    with pytest.raises(ConfigError, match=r"updates: no such file: .*1\.0\.ociarchive"):
        resolve(str(folder), cache=tmp_path / "cache", arch=get_arch("x86_64"))
    for name in ("1.0.ociarchive", "p.rpm"):
        (folder / name).touch()
    image = resolve(str(folder), cache=tmp_path / "cache", arch=get_arch("x86_64"))
    assert image.updates is not None
    assert image.updates.releases[0].image == str(folder / "1.0.ociarchive")
    assert image.updates.package == str(folder / "p.rpm")
    assert Image.from_plain(json.loads(json.dumps(image.to_plain()))) == image


@pytest.mark.parametrize(
    ("updates", "message"),
    [
        ("repo", "updates: expected an object with repo, remote"),
        (UPDATES | {"releases": [{"commit": "a"}]}, "each with commit and ref"),
        (UPDATES | {"releases": []}, "expected at least one"),
        (UPDATES | {"repo": "elsewhere"}, "no OSTree repository in"),
    ],
)
def test_broken_updates_are_one_line(tmp_path: Path, updates: object, message: str) -> None:
    folder = with_updates(tmp_path / "image", updates)
    with pytest.raises(ConfigError, match=message):
        resolve(str(folder), cache=tmp_path / "cache", arch=get_arch("x86_64"))
