"""What releases have for clouds: fetched, verified, and the same disk in whatever form a cloud wants it."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kola.arch import get_arch
from kola.cloud.disks import as_raw, as_vmdk, check_made_for
from kola.errors import ConfigError
from kola.httpd import HttpServer
from kola.imagefile import FORMATS
from kola.images import Cloud, Image, resolve
from kola.sources import UNSIGNED, Sources
from tests.unit.image_files import MIB, get, in_form, metadata, qemu_img, refusal

VERSION = "42.20250901.3.0"
PUBLISHED = {"aws": ("vmdk", ".xz"), "azure": ("vhd", ".xz"), "gcp": ("tar", ".gz"), "qemu": ("qcow2", ".xz")}
"""In which format each platform's image is published, and how it is packed."""
PACK: dict[str, Callable[[bytes], bytes]] = {".xz": lzma.compress, ".gz": gzip.compress}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw disk with holes, of a size that no geometry of a VHD has."""
    raw = tmp_path_factory.mktemp("disk") / "plain.raw"
    content = random.Random(1).randbytes(MIB)  # noqa: S311 - not for security
    raw.write_bytes(content + bytes(3 * MIB) + b"text" * (MIB // 4) + bytes(512 * 7))
    return raw


def file_name(platform: str) -> str:
    form, packed = PUBLISHED[platform]
    return f"fedora-coreos-{VERSION}-{platform}.x86_64.{form}{packed}"


@pytest.fixture
def files(disk: Path, tmp_path: Path) -> dict[str, bytes]:
    """Name -> the file of each platform; each has another byte at its end, to know it by."""
    made = {}
    for number, (platform, (form, packed)) in enumerate(PUBLISHED.items()):
        folder = tmp_path / platform
        folder.mkdir()
        raw = folder / "plain.raw"
        raw.write_bytes(disk.read_bytes()[:-1] + bytes([number + 1]))
        made[file_name(platform)] = PACK[packed](in_form(raw, form, folder).read_bytes())
    return made


@pytest.fixture
def stream(files: dict[str, bytes]) -> Iterator[tuple[HttpServer, dict[str, Any]]]:
    """A server with a stream of which no cloud has an image, and its metadata."""
    with HttpServer() as server:
        artifacts = {}
        for platform, (form, packed) in PUBLISHED.items():
            name = file_name(platform)
            server.add(f"/{name}", files[name])
            where = {"location": server.local_url(f"/{name}"), "sha256": hashlib.sha256(files[name]).hexdigest()}
            published = "tar.gz" if form == "tar" else f"{form}{packed}"
            artifacts[platform] = {"release": VERSION, "formats": {published: {"disk": where}}}
        document = {"stream": "stable", "architectures": {"x86_64": {"artifacts": artifacts, "images": {}}}}
        server.add("/streams/stable.json", json.dumps(document).encode())
        yield server, document


@pytest.fixture
def build(files: dict[str, bytes], tmp_path: Path) -> Path:
    """A build of coreos-assembler that nobody uploaded."""
    folder = tmp_path / "cosa" / "builds" / "42.1" / "x86_64"
    folder.mkdir(parents=True)
    images = {}
    for platform in PUBLISHED:
        name = file_name(platform)
        (folder / name).write_bytes(files[name])
        images[platform] = {"path": name, "sha256": hashlib.sha256(files[name]).hexdigest()}
    (folder / "meta.json").write_text(json.dumps({"buildid": VERSION, "ref": "x/stable", "images": images}))
    index = {"builds": [{"id": "42.1", "arches": ["x86_64"]}]}
    (folder.parents[1] / "builds.json").write_text(json.dumps(index))
    return tmp_path / "cosa"


def last_byte(image: Image, scratch: Path) -> int:
    with as_raw(image, scratch) as raw:
        return raw.read_bytes()[-1]


@pytest.mark.parametrize("scheme", ["stream", "build"])
def test_each_platform_gets_the_file_that_was_made_for_it(
    scheme: str, stream: tuple[HttpServer, Any], build: Path, tmp_path: Path
) -> None:
    reference = "stream:stable" if scheme == "stream" else f"build:{build}"
    for number, (platform, (form, _)) in enumerate(PUBLISHED.items()):
        image = resolve(
            reference,
            cache=tmp_path / "cache",
            arch=get_arch("x86_64"),
            sources=Sources(stream[0].local_url(), UNSIGNED),
            cloud=None if platform == "qemu" else Cloud(platform, "anywhere"),
        )
        assert (image.platform, image.format, image.version, image.stream) == (platform, form, VERSION, "stable")
        assert last_byte(image, tmp_path) == number + 1
        if platform != "qemu":
            check_made_for(image, platform)
    asked = [len(stream[0].requests(f"/{file_name(platform)}")) for platform in PUBLISHED]
    assert asked == [1 if scheme == "stream" else 0] * len(PUBLISHED)


def test_a_file_of_a_cloud_with_another_digest_is_refused(
    stream: tuple[HttpServer, Any], build: Path, tmp_path: Path
) -> None:
    server, document = stream
    formats = document["architectures"]["x86_64"]["artifacts"]["aws"]["formats"]
    formats["vmdk.xz"]["disk"]["sha256"] = "0" * 64
    server.add("/streams/stable.json", json.dumps(document).encode())
    wanted: Any = {"cloud": Cloud("aws", "x"), "sources": Sources(server.local_url(), UNSIGNED)}
    assert "has the SHA-256" in refusal("stream:stable", tmp_path / "cache", **wanted)
    wrong = build / "builds" / "42.1" / "x86_64" / file_name("azure")
    wrong.write_bytes(lzma.compress(bytes(MIB)))
    assert "its metadata says" in refusal(f"build:{build}", tmp_path / "cache", cloud=Cloud("azure"))


@pytest.mark.parametrize("form", list(FORMATS))
def test_any_form_becomes_the_same_disk(form: str, disk: Path, tmp_path: Path) -> None:
    path = in_form(disk, form, tmp_path)
    path = path.rename(tmp_path / f"with:a, {path.name}")
    image = get(path, tmp_path, cloud=Cloud("aws"))
    assert image.format == form
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with as_raw(image, scratch) as raw, as_vmdk(image, scratch) as vmdk:
        assert raw.name == "disk.raw"
        assert raw.read_bytes() == disk.read_bytes()
        assert raw.stat().st_blocks * 512 < 3 * MIB, "holes are filled"
        qemu_img("convert", "-f", "vmdk", "-O", "raw", vmdk, tmp_path / "back.raw")
        assert b'createType="streamOptimized"' in vmdk.read_bytes()
        assert (vmdk == image.path) is (form == "vmdk")
    assert (tmp_path / "back.raw").read_bytes() == disk.read_bytes()
    with as_raw(image, scratch, keep=(form,)) as kept:
        assert kept == image.path
    assert list(scratch.iterdir()) == []


def test_a_vmdk_of_another_kind_is_converted(disk: Path, tmp_path: Path) -> None:
    qemu_img("convert", "-f", "raw", "-O", "vmdk", disk, tmp_path / "sparse.vmdk")
    with as_vmdk(get(tmp_path / "sparse.vmdk", tmp_path, cloud=Cloud("aws")), tmp_path) as vmdk:
        assert b'createType="streamOptimized"' in vmdk.read_bytes()


def test_a_vhd_that_another_program_wrote_has_the_size_that_it_says(disk: Path, tmp_path: Path) -> None:
    """QEMU goes by the geometry otherwise, which is rounded down."""
    vhd = in_form(disk, "vhd", tmp_path)
    data = bytearray(vhd.read_bytes())
    footer = data[-512:]
    footer[28:32] = b"vpc "  # Virtual PC
    tracks = disk.stat().st_size // 512 // (4 * 17)
    footer[56:60] = tracks.to_bytes(2, "big") + bytes([4, 17])
    footer[64:68] = bytes(4)
    footer[64:68] = (~sum(footer) & 0xFFFF_FFFF).to_bytes(4, "big")
    vhd.write_bytes(data[:-512] + footer)
    with as_raw(get(vhd, tmp_path, cloud=Cloud("gcp")), tmp_path) as raw:
        assert raw.read_bytes() == disk.read_bytes()


@pytest.mark.parametrize(
    ("form", "what"), [("vmdk", "a VMDK image"), ("vhd", "a VHD image"), ("tar", "a tar archive of a disk")]
)
def test_machines_on_this_host_boot_none_of_them(form: str, what: str, disk: Path, tmp_path: Path) -> None:
    path = in_form(disk, form, tmp_path)
    assert refusal(path, tmp_path) == (
        f"image {path}: is {what}, for clouds; accepted: qcow2 and raw, also as .xz or .gz"
    )


@pytest.mark.parametrize("form", ["vmdk", "tar"])
def test_what_is_cut_short_is_refused(form: str, disk: Path, tmp_path: Path) -> None:
    path = in_form(disk, form, tmp_path)
    data = path.read_bytes()
    for size in (len(data) // 2, 70_000, 2048):
        path.write_bytes(data[:size])
        assert "truncated or damaged" in refusal(path, tmp_path, cloud=Cloud("aws"))


def test_an_archive_of_something_else_is_refused(disk: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tar"
    with tarfile.open(other, "w") as tar:
        tar.add(disk, "disk.raw")
        tar.add(disk, "more")
    assert "not of disk.raw alone" in refusal(other, tmp_path, cloud=Cloud("gcp"))


def test_a_vhd_that_grows_is_refused(disk: Path, tmp_path: Path) -> None:
    qemu_img("convert", "-f", "raw", "-O", "vpc", disk, tmp_path / "grows.vhd")
    assert "is a VHD image that grows" in refusal(tmp_path / "grows.vhd", tmp_path, cloud=Cloud("azure"))


@pytest.mark.parametrize(
    ("name", "platform"),
    [
        ("fedora-coreos-42.20250901.3.0-qemu.x86_64.qcow2", "qemu"),
        ("rhcos-9.6-qemu.x86_64.qcow2", "qemu"),
        ("my-qemu.qcow2", "qemu"),
        ("fedora-coreos-42.20250901.3.0-metal4k.x86_64.raw", "metal4k"),
        ("fedora-coreos-42.20250901.3.0-azure.x86_64.qcow2", "azure"),
        ("disk.qcow2", ""),
        ("my-server.x86_64.qcow2", ""),
    ],
)
def test_the_name_says_whose_ignition_it_is(name: str, platform: str, disk: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    qemu_img("convert", "-f", "raw", "-O", "raw" if name.endswith("raw") else "qcow2", disk, path)
    image = get(path, tmp_path)
    assert image.platform == platform
    if platform in {"", "azure"}:
        check_made_for(image, "azure")
        return
    with pytest.raises(ConfigError) as caught:
        check_made_for(image, "azure")
    assert str(caught.value) == (
        f"--image {path}: is made for {platform}: on azure its Ignition would find no config; give the release's image "
        "for azure, or stream:NAME or build:DIR, which find it"
    )


def test_the_test_os_is_for_rehearsals_of_any_cloud(disk: Path, tmp_path: Path) -> None:
    folder = tmp_path / "testos" / "x86_64"
    metadata(folder, file="disk.qcow2", name="testos", arch="x86_64")
    qemu_img("convert", "-f", "raw", "-O", "qcow2", disk, folder / "disk.qcow2")
    for platform in ("aws", "azure", "gcp"):
        check_made_for(get("testos", tmp_path, cloud=Cloud(platform)), platform)
