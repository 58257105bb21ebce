"""``--from-image``: what is booted, what it is updated to, and which pairs of images make no sense."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kola.arch import get_arch
from kola.errors import ConfigError
from kola.httpd import HttpServer
from kola.images import Image, resolve
from kola.keys import generate_key, write_client_key
from kola.metadata import release_of_build
from kola.needs import UPDATES, Needs
from kola.platform import Prepared
from kola.releases import Release, Releases
from kola.run import CLIENT_KEY, RunInfo
from kola.sources import Sources
from kola.upgrades import updated_to

OLD, NEW, NEWER = ("a" * 64, "b" * 64, "c" * 64)
ARCH = get_arch("x86_64")

Make = Callable[..., str]


def folder(path: Path, number: int, *commits: str, lacks: str = "", **known: Any) -> str:
    """A folder with an image and, if there are commits, a repository with them."""
    path.mkdir()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path / "disk.qcow2", f"{number}M"], check=True)
    described = {"schema": 1, "file": "disk.qcow2", "distro": "testos", "capabilities": ["podman"], **known}
    if commits:
        (path / "repo").mkdir()
        (path / "repo/config").write_text("[core]\nmode=archive-z2\n")
        for commit in commits:
            (path / "repo/objects" / commit[:2]).mkdir(parents=True)
            if commit != lacks:
                (path / "repo/objects" / commit[:2] / f"{commit[2:]}.commit").write_bytes(b"")
        releases = [{"commit": c, "ref": "r", "version": c[0]} for c in commits]
        described["updates"] = {"repo": "repo", "remote": f"remote-{path.name}", "releases": releases}
    (path / "image.json").write_text(json.dumps(described))
    return str(path)


def build(root: Path, number: int, commit: str, *, archive: str = "os.ociarchive", there: bool = True) -> str:
    """A build of coreos-assembler."""
    at = root / "builds" / f"42.{number}" / "x86_64"
    at.mkdir(parents=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", at / "os.qcow2", f"{number}M"], check=True)
    digest = hashlib.sha256((at / "os.qcow2").read_bytes()).hexdigest()
    images: dict[str, Any] = {"qemu": {"path": "os.qcow2", "sha256": digest}}
    if archive:
        images["ostree"] = {"path": archive, "sha256": hashlib.sha256(b"archive").hexdigest()}
        if there:
            (at / archive).write_bytes(b"archive")
    meta = {"buildid": f"42.{number}", "ostree-commit": commit, "ref": "fedora/x86_64/coreos/stable", "images": images}
    (at / "meta.json").write_text(json.dumps(meta))
    index = root / "builds" / "builds.json"
    builds = json.loads(index.read_text())["builds"] if index.exists() else []
    index.write_text(json.dumps({"builds": [{"id": f"42.{number}", "arches": ["x86_64"]}, *builds]}))
    return f"build:{root}@42.{number}"


def updated(cache: Path, start: str, target: str, sources: Sources | None = None) -> Image:
    found = resolve(target, cache=cache, arch=ARCH, sources=sources)
    return updated_to(found, start, cache=cache, arch=ARCH, sources=sources or Sources())


def test_by_the_repository_of_the_image_to_update_to(tmp_path: Path) -> None:
    start = folder(tmp_path / "start", 1, OLD, NEW, NEWER)
    target = folder(tmp_path / "target", 2, NEW, NEWER)
    image = updated(tmp_path / "cache", start, target)
    assert image.path == tmp_path / "start/disk.qcow2"
    assert image.capabilities == frozenset({"podman", UPDATES})
    assert image.updates is not None
    assert image.updates.repo == tmp_path / "target/repo"
    assert image.updates.remote == "remote-start", "that is the one that it follows"
    assert [release.commit for release in image.updates.releases] == [OLD, NEW]


def test_by_the_archives_of_builds(tmp_path: Path) -> None:
    start, target = build(tmp_path, 1, OLD), build(tmp_path, 2, NEW)
    image = updated(tmp_path / "cache", start, target)
    archive = tmp_path / "builds/42.{}/x86_64/os.ociarchive"
    ref = "fedora/x86_64/coreos/stable"
    old = Release(OLD, ref, "42.1", image=str(archive).format(1))
    new = Release(NEW, ref, "42.2", image=str(archive).format(2))
    assert image.updates == Releases(None, "", (old, new))
    assert Image.from_plain(json.loads(json.dumps(image.to_plain()))) == image, "the way to the workers"


def test_from_a_stream_to_a_build(tmp_path: Path) -> None:
    build(tmp_path / "published", 1, OLD)
    target = build(tmp_path / "own", 2, NEW)
    files = tmp_path / "published/builds/42.1/x86_64"
    with HttpServer("10.0.2.2") as server:
        for file in files.iterdir():
            server.add(f"/prod/{file.name}", file.read_bytes())
        digest = hashlib.sha256((files / "os.qcow2").read_bytes()).hexdigest()
        disk = {"disk": {"location": server.local_url("/prod/os.qcow2"), "sha256": digest}}
        qemu = {"release": "42.1", "formats": {"qcow2": disk}}
        stream = {"stream": "stable", "architectures": {"x86_64": {"artifacts": {"qemu": qemu}}}}
        server.add("/streams/stable.json", json.dumps(stream).encode())
        sources = Sources(server.local_url(), "none")
        image = updated(tmp_path / "cache", "stream:stable", target, sources)
    assert image.updates is not None
    old, new = image.updates.releases
    assert (old.commit, new.commit) == (OLD, NEW)
    assert Path(old.image).read_bytes() == b"archive"


@pytest.mark.parametrize("archive", ["", "os.tar"])
def test_a_build_without_a_container_image(tmp_path: Path, archive: str) -> None:
    start, target = build(tmp_path, 1, OLD), build(tmp_path, 2, NEW, archive=archive)
    with pytest.raises(ConfigError, match=r"^--image build:.*@42\.2: no update leads to it: it has neither an OSTree "):
        updated(tmp_path / "cache", start, target)


def test_a_build_whose_archive_is_not_there(tmp_path: Path) -> None:
    start, target = build(tmp_path, 1, OLD), build(tmp_path, 2, NEW, there=False)
    with pytest.raises(ConfigError, match=r"no update leads to it"):
        updated(tmp_path / "cache", start, target)


def test_pairs_that_make_no_sense(tmp_path: Path) -> None:
    target = folder(tmp_path / "target", 2, NEW, NEWER)
    other = folder(tmp_path / "other", 3, OLD, distro="fcos")
    again = folder(tmp_path / "again", 4, NEW)
    bare = folder(tmp_path / "bare", 5)
    lacking = folder(tmp_path / "lacking", 6, NEWER, lacks=NEWER)
    start = folder(tmp_path / "start", 7, OLD)
    for first, second, expected in (
        (target, target, f"--from-image {target}: is the same image as --image {target}: there is nothing to update"),
        (other, target, f"--from-image {other}: is of fcos, --image {target} of testos: no update leads from one"),
        (again, target, f"--from-image {again}: has the same release as --image {target}: b ({NEW})"),
        (bare, target, f"image {bare}: nothing says which commit it has installed; for updates give a folder with"),
        (start, bare, f"image {bare}: nothing says which commit it has installed; for updates give a folder with"),
        (start, lacking, f"--image {lacking}: its repository {lacking}/repo lacks its commit {NEWER}"),
        ("/nowhere", target, "image /nowhere: no such file; accepted: "),
    ):
        with pytest.raises(ConfigError) as caught:
            updated(tmp_path / "cache", first, second)
        assert str(caught.value).startswith(expected), caught.value


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (b"[]", "meta.json: the document: expected an object"),
        (b'{"buildid": "1"}', "meta.json: no 'ostree-commit'; there is: buildid"),
        (b'{"buildid": "1", "ostree-commit": "c", "images": {"ostree": {}}}', "meta.json: images.ostree: no 'path'"),
    ],
)
def test_a_build_that_says_too_little(meta: bytes, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        release_of_build(meta, "meta.json")
    assert str(caught.value).startswith(expected)


def test_a_build_that_was_imported() -> None:
    """The keys that ``cosa import`` writes: no ``ref``, the labels of the image that it was made of."""
    name = "fedora-coreos-45.20260917.1.2-ostree.x86_64"
    meta = {
        "ostree-commit": OLD,
        "ostree-version": "45.20260917.1.2",
        "buildid": "45.20260917.1.2",
        "name": "fedora-coreos",
        "coreos-assembler.basearch": "x86_64",
        "coreos-assembler.oci-imported": True,
        "coreos-assembler.oci-imported-labels": {
            "com.coreos.osname": "fedora-coreos",
            "com.coreos.stream": "next",
            "containers.bootc": "1",
            "org.opencontainers.image.version": "45.20260917.1.2",
        },
        "images": {
            "ostree": {"path": f"{name}.ociarchive", "sha256": NEW, "size": 1, "skip-compression": True},
            "oci-manifest": {"path": f"{name}-manifest.json", "sha256": NEWER, "size": 1, "skip-compression": True},
        },
    }
    release, archive = release_of_build(json.dumps(meta).encode(), "meta.json")
    assert (release.commit, release.stream, release.version) == (OLD, "next", "45.20260917.1.2")
    assert archive is not None
    assert (archive.location, archive.sha256) == (f"{name}.ociarchive", NEW)


def test_a_machine_of_one_image_serves_no_test_of_the_other() -> None:
    plain = Needs(needs=(UPDATES,))
    assert replace(plain, from_image=True).machine_key() != plain.machine_key() == Needs().machine_key()


def test_the_run_as_tests_of_updates_see_it(tmp_path: Path) -> None:
    write_client_key(tmp_path / CLIENT_KEY, generate_key())
    image, start = (Image(tmp_path / name, "raw", name[0] * 64, name) for name in ("new", "old"))
    info = RunInfo(
        run_id="0" * 8, owner="me", platform="qemu", options=None, arch="x86_64", image=image,
        prepared=Prepared("new", "tcg"), output=tmp_path, scratch=tmp_path, cache=tmp_path, budget_mib=1,
        keep_machines="never", workers=1, from_image=start, from_prepared=Prepared("old", "tcg"),
    )  # fmt: skip
    seen = info.for_updates()
    assert (seen.image, seen.prepared.image_ref) == (start, "old")
    without = replace(info, from_image=None, from_prepared=None)
    assert without.for_updates() is without
