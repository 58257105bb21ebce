"""Builds of coreos-assembler in their real format, in a local folder."""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kola.arch import get_arch
from kola.errors import ConfigError
from kola.images import Image, resolve

Make = Callable[..., Path]


@pytest.fixture
def make_build(tmp_path: Path, packed: bytes) -> Make:
    root = tmp_path / "cosa"

    def make(build: str, path: str = "fcos-qemu.qcow2.xz", *, index: Any = None, **meta: Any) -> Path:
        folder = root / "builds" / build / "x86_64"
        folder.mkdir(parents=True)
        data = packed if path.endswith(".xz") else lzma.decompress(packed)
        (folder / path).write_bytes(data)
        qemu = {
            "path": path,
            "sha256": hashlib.sha256(data).hexdigest(),
            "uncompressed-sha256": hashlib.sha256(lzma.decompress(packed)).hexdigest(),
        }
        document = {"buildid": build, "ref": "fedora/x86_64/coreos/testing-devel", "images": {"qemu": qemu}, **meta}
        (folder / "meta.json").write_text(json.dumps(document))
        builds = root / "builds" / "builds.json"
        old = json.loads(builds.read_text())["builds"] if builds.exists() else []
        new = index or {"id": build, "arches": ["x86_64"]}
        builds.write_text(json.dumps({"schema-version": "1.0.0", "builds": [new, *old]}))
        return root

    return make


def build(root: Path, reference: str = "", arch: str = "x86_64") -> Image:
    return resolve(f"build:{root}{reference}", cache=root.parent / "cache", arch=get_arch(arch))


def test_builds(make_build: Make) -> None:
    for name in ("42.1", "42.2", "42.3"):
        root = make_build(name)
    assert [build(root, wanted).version for wanted in ("", "@latest", "@-1", "@-2", "@42.2")] == [
        "42.3", "42.3", "42.2", "42.1", "42.2",
    ]  # fmt: skip
    image = build(root / "builds")
    assert (image.stream, image.distro, image.format) == ("testing-devel", "fcos", "qcow2")


def test_the_container_image_of_a_build(make_build: Make) -> None:
    root = make_build("42.1")
    assert build(root).container == ""
    folder = root / "builds" / "42.1" / "x86_64"
    meta = json.loads((folder / "meta.json").read_text())
    meta["images"]["ostree"] = {"path": "fcos.ociarchive"}
    (folder / "meta.json").write_text(json.dumps(meta))
    assert build(root).container == ""  # is said to be there, and is not
    (folder / "fcos.ociarchive").write_bytes(b"")
    image = build(root)
    assert image.container == str((folder / "fcos.ociarchive").resolve())
    assert Image.from_plain(image.to_plain()) == image


def test_build_of_one_architecture_only(make_build: Make) -> None:
    make_build("42.1")
    root = make_build("42.2", index={"id": "42.2", "arches": ["aarch64"]})
    assert build(root).version == "42.1"
    with pytest.raises(ConfigError, match=r"build 42.2 is for aarch64, not for x86_64"):
        build(root, "@42.2")


def test_oldest_format_of_the_index(make_build: Make) -> None:
    assert build(make_build("42.1", index="42.1"), "@42.1").version == "42.1"


def test_stream_of_a_label(make_build: Make) -> None:
    labels = {"containers.bootc": "1", "com.coreos.osname": "fedora-coreos", "com.coreos.stream": "rawhide"}
    root = make_build("45.1", **{"coreos-assembler.oci-imported": True, "coreos-assembler.oci-imported-labels": labels})
    meta = root / "builds" / "45.1" / "x86_64" / "meta.json"
    document = json.loads(meta.read_text())
    del document["ref"]  # `cosa import` writes none
    meta.write_text(json.dumps(document))
    assert build(root).stream == "rawhide"


def test_image_that_is_unpacked_already(make_build: Make, packed: bytes) -> None:
    root = make_build("42.1")
    folder = root / "builds" / "42.1" / "x86_64"
    (folder / "fcos-qemu.qcow2").write_bytes(lzma.decompress(packed))
    (folder / "fcos-qemu.qcow2.xz").unlink()
    assert build(root).path.name == "fcos-qemu.qcow2"


def test_builds_that_cannot_be_used(make_build: Make) -> None:
    root = make_build("42.1")
    for reference, says in {
        "@42.9": "builds.json: no build 42.9; there are: 42.1",
        "@-1": "builds.json: no build '-1' for x86_64: there are 1",
        "/nowhere": "builds.json; expected the working folder of coreos-assembler",
    }.items():
        with pytest.raises(ConfigError, match=says):
            build(root, reference)
    image = root / "builds" / "42.1" / "x86_64" / "fcos-qemu.qcow2.xz"
    image.write_bytes(lzma.compress(b"QFI\xfb" + bytes(508)))
    with pytest.raises(ConfigError, match=r"truncated or damaged qcow2|its metadata says"):
        build(root)
    image.unlink()
    with pytest.raises(ConfigError, match=r"names the image fcos-qemu.qcow2.xz, which is not there"):
        build(root)
    (image.parent / "meta.json").write_text('{"buildid": "42.1", "images": {"metal": {}}}')
    with pytest.raises(ConfigError, match=r"meta.json: images: no 'qemu'; there is: metal"):
        build(root)
