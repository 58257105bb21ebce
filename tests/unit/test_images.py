"""References to images: the test OS, files with and without metadata, names of Fedora CoreOS, updates."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kola.arch import get_arch
from kola.errors import ConfigError
from kola.images import Image, resolve
from tests.unit.image_files import (
    FCOS,
    get,
    gz,
    metadata,
    refusal,
    sha256,
    xz,
)

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
        artifact_sha256=sha256(disks["plain"]),
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
    assert image.artifact_sha256 == sha256(packed)


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
    "stream:NAME[@VERSION], build:DIR[@ID]; on a cloud also VMDK, fixed VHD, tar.gz with disk.raw, and cloud:ID, "
    "an image that it has already"
)


def test_references_that_name_nothing(tmp_path: Path) -> None:
    assert refusal("build:x@1", tmp_path).startswith("image build:x@1: no x/builds.json; expected the working folder")
    assert refusal("stream:", tmp_path).endswith("expected stream:NAME or stream:NAME@VERSION")
    for nothing in ("tesotos", "http://example.com/x.qcow2", "", f"{tmp_path}/gone"):
        with pytest.raises(ConfigError) as caught:
            get(nothing, tmp_path)
        assert FORMS in str(caught.value)
        assert "\n" not in str(caught.value)
    assert "the folder holds no image.json" in refusal(tmp_path, tmp_path)
    assert refusal("/dev/null", tmp_path) == "image /dev/null: not a regular file"


def test_an_image_that_a_provider_has_is_no_file(tmp_path: Path) -> None:
    image = get("cloud:ami-0123", tmp_path)
    assert (image.format, image.sha256, image.reference) == ("cloud", "", "cloud:ami-0123")
    assert FORMS in refusal("cloud:", tmp_path)


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
    images_only = with_updates(tmp_path / "images", updates | {"repo": None, "package": ""})
    (images_only / "1.0.ociarchive").touch()
    known = resolve(str(images_only), cache=tmp_path / "cache", arch=get_arch("x86_64")).updates
    assert known is not None
    assert (known.repo, known.releases[0].image) == (None, str(images_only / "1.0.ociarchive"))
    assert Image.from_plain(json.loads(json.dumps(image.to_plain()))) == image


@pytest.mark.parametrize(
    ("updates", "message"),
    [
        ("repo", "updates: expected an object with repo, remote"),
        (UPDATES | {"releases": [{"commit": "a"}]}, "each with commit and ref"),
        (UPDATES | {"releases": []}, "expected at least one"),
        (UPDATES | {"repo": "elsewhere"}, "no OSTree repository in"),
        (UPDATES | {"repo": None}, "without a repo every release needs an image"),
    ],
)
def test_broken_updates_are_one_line(tmp_path: Path, updates: object, message: str) -> None:
    folder = with_updates(tmp_path / "image", updates)
    with pytest.raises(ConfigError, match=message):
        resolve(str(folder), cache=tmp_path / "cache", arch=get_arch("x86_64"))


# -- --image-metadata ------------------------------------------------------------------------------------------------

META: dict[str, Any] = {
    "name": "fedora-coreos",
    "buildid": "42.20250901.3.0",
    "ref": "fedora/x86_64/coreos/stable",
    "ostree-commit": "c" * 64,
    "coreos-assembler.basearch": "x86_64",
    "amis": [{"name": "us-east-1", "hvm": "ami-1", "snapshot": "snap-1"}],
}


def described(path: Path, document: object, reference: str = "cloud:ami-1") -> Image:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return get(reference, path.parent, described_by=path)


def test_an_image_of_a_cloud_is_what_its_image_json_says(tmp_path: Path) -> None:
    known = {**KNOWN, "capabilities": ["podman", "updates"], "updates": {"repo": "not here"}, "file": "x", "more": 1}
    image = described(tmp_path / "known.json", {"schema": 1, **known})
    assert image == Image(
        path=Path("ami-1"),
        format="cloud",
        sha256="",
        reference="cloud:ami-1",
        **{**KNOWN, "capabilities": frozenset({"podman"})},
    )
    assert described(tmp_path / "again.json", image.description()) == image
    nothing = described(tmp_path / "nothing.json", {"schema": 1})
    assert (nothing.capabilities, nothing.name) == (None, "")


def test_an_image_of_a_cloud_is_what_the_meta_json_of_its_build_says(tmp_path: Path) -> None:
    image = described(tmp_path / "meta.json", META)
    assert (image.name, image.distro, image.version, image.build_id) == (
        "fedora-coreos", "fcos", "42.20250901.3.0", "42.20250901.3.0",
    )  # fmt: skip
    assert (image.stream, image.arch, image.ignition_max, image.capabilities) == ("stable", "x86_64", None, None)
    assert described(tmp_path / "rhcos.json", {"name": "rhcos", "buildid": "9.6"}).distro == "rhcos"


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{", "known.json: not JSON"),
        ("[]", "known.json: the document: expected an object"),
        ({}, 'known.json: expected an object with "schema": 1'),
        ({"schema": 1, "ignition_max": "3"}, "known.json: ignition_max: expected 3.N.0, found '3'"),
        (
            {"schema": 1, "arch": "aarch64"},
            "image cloud:ami-1: is for aarch64, but the architecture of this run is x86",
        ),
        ({**META, "name": 7}, "known.json: name: expected a string"),
        ({"buildid": "1"}, "known.json: no 'name'; there is: buildid"),
        (
            {**META, "coreos-assembler.basearch": "vax"},
            "known.json: coreos-assembler.basearch: unknown architecture 'vax'",
        ),
    ],
)
def test_a_description_that_is_none(document: object, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        described(tmp_path / "known.json", document)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reference", ["testos", "stream:stable", "build:x", "disk.qcow2"])
def test_what_is_known_already_is_not_described(reference: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        described(tmp_path / "meta.json", META, reference)
    assert str(caught.value) == (
        f"--image-metadata {tmp_path}/meta.json: only with --image cloud:ID, of which nothing is known otherwise; "
        f"the image is {reference}"
    )
