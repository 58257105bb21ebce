"""Streams and releases in their real formats, from a local server."""

from __future__ import annotations

import hashlib
import json
import lzma
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kola import download
from kola.arch import get_arch
from kola.cli import main
from kola.errors import ConfigError
from kola.faults import Corrupted, Outage, Truncated
from kola.httpd import HttpServer
from kola.images import Cloud, Image, resolve
from kola.releaseimages import release_of_stream
from kola.sources import Sources

VERSION, OLDER = "42.20250901.3.0", "42.20250818.3.0"
NAME = f"fedora-coreos-{VERSION}-qemu.x86_64.qcow2.xz"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two keys: ``trusted.gpg`` and ``trusted.asc`` are of one of them."""
    if shutil.which("gpg") is None:
        pytest.skip("needs gpg to sign")
    home = tmp_path_factory.mktemp("gpg", numbered=False)
    home.chmod(0o700)
    for name in ("trusted", "other"):
        gpg(home, "--passphrase", "", "--quick-generate-key", f"{name} <{name}@example.com>", "ed25519", "sign")
    (home / "trusted.gpg").write_bytes(gpg(home, "--export", "trusted@example.com"))
    (home / "trusted.asc").write_bytes(gpg(home, "--armor", "--export", "trusted@example.com"))
    return home


def gpg(home: Path, *arguments: str, data: bytes = b"") -> bytes:
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode=loopback", *arguments]
    return subprocess.run(command, check=True, capture_output=True, input=data).stdout


def sign(home: Path, data: bytes, who: str = "trusted") -> bytes:
    return gpg(home, "--passphrase", "", "--local-user", f"{who}@example.com", "--detach-sign", data=data)


class Published:
    """A server with a stream, its releases and one image."""

    def __init__(self, server: HttpServer, packed: bytes, keys: Path, cache: Path) -> None:
        self.server = server
        self.cache = cache
        self.sources = Sources(server.local_url(), str(keys / "trusted.gpg"))
        self.unpacked = hashlib.sha256(lzma.decompress(packed)).hexdigest()
        self.disk = {
            "location": server.local_url(f"/prod/{NAME}"),
            "signature": server.local_url(f"/prod/{NAME}.sig"),
            "sha256": hashlib.sha256(packed).hexdigest(),
            "uncompressed-sha256": self.unpacked,
        }
        server.add(f"/prod/{NAME}", packed)
        server.add(f"/prod/{NAME}.sig", sign(keys, packed))
        self.publish()

    def publish(self) -> None:
        server = self.server
        stream = {
            "stream": "stable",
            "metadata": {"last-modified": "2025-09-02T00:00:00Z"},
            "architectures": {
                "x86_64": {
                    "artifacts": {
                        "metal": {"release": VERSION, "formats": {"iso": {"disk": self.disk}}},
                        "qemu": {"release": VERSION, "formats": {"qcow2.xz": {"disk": self.disk}}},
                    },
                    "images": {"aws": {"regions": {"us-east-1": {"release": VERSION, "image": "ami-1"}}}},
                },
                "s390x": {"artifacts": {"metal": {"release": VERSION, "formats": {}}}},
            },
        }
        release = {
            "release": OLDER,
            "stream": "stable",
            "architectures": {"x86_64": {"media": {"qemu": {"artifacts": {"qcow2.xz": {"disk": self.disk}}}}}},
        }
        index = {
            "stream": "stable",
            "releases": [
                {"version": OLDER, "metadata": server.local_url("/prod/older/release.json")},
                {"version": VERSION, "metadata": server.local_url("/prod/newest/release.json")},
            ],
        }
        server.add("/streams/stable.json", json.dumps(stream).encode())
        server.add("/prod/streams/stable/releases.json", json.dumps(index).encode())
        server.add("/prod/older/release.json", json.dumps(release).encode())

    def get(self, reference: str, arch: str = "x86_64", cloud: Cloud | None = None, **sources: str) -> Image:
        return resolve(
            reference, cache=self.cache, arch=get_arch(arch), sources=replace(self.sources, **sources), cloud=cloud
        )

    def refusal(self, reference: str, arch: str = "x86_64", **sources: str) -> str:
        with pytest.raises(ConfigError) as caught:
            self.get(reference, arch, None, **sources)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def downloads(self) -> list[str]:
        """Names of what is in the cache, but for the lock."""
        found = self.cache.glob("downloads/*/*")
        return sorted(path.name for path in found if not path.name.endswith(".lock"))


@pytest.fixture
def published(packed: bytes, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Published]:
    monkeypatch.setattr(download, "PAUSE", 0.01)
    with HttpServer() as server:
        yield Published(server, packed, keys, tmp_path / "cache")


def asked(published: Published, path: str) -> int:
    return len(published.server.requests(path))


def test_an_image_that_a_cloud_has_is_named_and_not_fetched(published: Published) -> None:
    def of(platform: str, region: str) -> Image:
        return published.get("stream:stable", cloud=Cloud(platform, region))

    image = of("aws", "us-east-1")
    assert (image.format, image.reference, image.version) == ("cloud", "cloud:ami-1", VERSION)
    assert (image.stream, image.distro, image.platform, image.arch) == ("stable", "fcos", "aws", "x86_64")
    assert published.downloads() == []
    for platform, region, problem in (("aws", "mars-1", "mars-1"), ("aws", "", "us-east-1"), ("moon", "", "moon")):
        with pytest.raises(ConfigError, match=problem):
            of(platform, region)


def test_info_tells_what_clouds_have(published: Published, capsys: pytest.CaptureFixture[str]) -> None:
    where = [
        "--image-url", published.server.local_url(), "--image-keys", "none", "--arch", "x86_64",
        "--kola-cache", str(published.cache),
    ]  # fmt: skip
    assert main(["image", "info", "stream:stable", *where]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == ["aws", "ami-1", "us-east-1"]
    assert main(["image", "info", "--json", "stream:stable", *where]) == 0
    (aws,) = json.loads(capsys.readouterr().out)["clouds"]
    assert (aws["platform"], aws["image"], aws["region"]) == ("aws", "ami-1", "us-east-1")
    assert main(["image", "fetch", "stream:stable", *where]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_newest_of_a_stream(published: Published) -> None:
    image = published.get("stream:stable")
    assert (image.name, image.version, image.build_id, image.stream) == ("fedora-coreos", VERSION, VERSION, "stable")
    assert (image.distro, image.arch, image.format, image.sha256) == ("fcos", "x86_64", "qcow2", published.unpacked)
    assert image.platform == "qemu"
    assert published.downloads() == [NAME, f"{NAME}.signed"]
    assert published.get("stream:stable") == image
    assert asked(published, f"/prod/{NAME}") == 1  # the second time it is there


def test_a_certain_release(published: Published) -> None:
    assert published.get(f"stream:stable@{OLDER}").version == OLDER


def test_keys_may_be_armored(published: Published, keys: Path) -> None:
    published.get("stream:stable", keys=str(keys / "trusted.asc"))


@pytest.mark.parametrize(
    ("reference", "arch", "says"),
    [
        ("stream:nope", "x86_64", "/streams/nope.json: 404 Not Found"),
        ("stream:stable@", "x86_64", "expected stream:NAME or stream:NAME@VERSION"),
        ("stream:a/b", "x86_64", "expected stream:NAME or stream:NAME@VERSION"),
        ("stream:stable", "aarch64", "streams/stable.json: architectures: no 'aarch64'; there is: s390x, x86_64"),
        ("stream:stable", "s390x", "architectures.s390x.artifacts: no 'qemu'; there is: metal"),
        ("stream:stable@1.2.3", "x86_64", f"releases.json: no release 1.2.3; the newest are: {VERSION}, {OLDER}"),
        (f"stream:stable@{OLDER}", "aarch64", "release.json: architectures: no 'aarch64'; there is: x86_64"),
    ],
)
def test_what_is_not_published(published: Published, reference: str, arch: str, says: str) -> None:
    assert says in published.refusal(reference, arch)


def test_wrong_digest(published: Published) -> None:
    published.disk["sha256"] = "0" * 64
    published.publish()
    assert f"{NAME}: has the SHA-256 " in published.refusal("stream:stable")
    assert published.downloads() == []


def test_digest_that_is_none(published: Published) -> None:
    published.disk["sha256"] = "abc"
    published.publish()
    assert "qcow2.xz.disk.sha256: 'abc' is not a SHA-256 digest" in published.refusal("stream:stable")


def test_wrong_signature(published: Published, keys: Path) -> None:
    published.server.add(f"/prod/{NAME}.sig", sign(keys, b"something else"))
    for _ in range(2):  # what is in the cache then is not trusted either
        assert "its signature is wrong: the file is not what was signed" in published.refusal("stream:stable")


def test_signature_of_somebody_else(published: Published, packed: bytes, keys: Path) -> None:
    published.server.add(f"/prod/{NAME}.sig", sign(keys, packed, "other"))
    assert "which is not among those that are trusted; keys: " in published.refusal("stream:stable")


def test_signature_that_is_none(published: Published) -> None:
    published.server.add(f"/prod/{NAME}.sig", b"no signature")
    assert "its signature cannot be checked: gpgv: " in published.refusal("stream:stable")


def test_without_signature(published: Published) -> None:
    del published.disk["signature"]
    published.publish()
    assert "its metadata names no signature; --image-keys none does without" in published.refusal("stream:stable")
    assert published.get("stream:stable", keys="none").version == VERSION


def test_without_keys(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kola.releaseimages.keys_at_hand", list)
    assert "give them with --image-keys FILE" in published.refusal("stream:stable", keys="")
    assert "missing.gpg: No such file or directory" in published.refusal("stream:stable", keys="/missing.gpg")


def test_download_that_breaks_off_again_and_again(published: Published) -> None:
    """It is gone on with where it broke off, as often as it comes further."""
    with published.server.fault(Truncated(30000), path=f"/prod/{NAME}"):
        assert published.get("stream:stable").version == VERSION
    ranges = [request.headers.get("range") for request in published.server.requests(f"/prod/{NAME}")]
    assert ranges[:3] == [None, "bytes=30000-", "bytes=60000-"]


def test_download_that_is_taken_up_later(published: Published, packed: bytes) -> None:
    partial = published.cache / "downloads" / published.disk["sha256"] / f"{NAME}.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(packed[:1500])
    with published.server.fault(Outage(), path=f"/prod/{NAME}"):
        assert "what there is of it stays, and is gone on with" in published.refusal("stream:stable")
    published.get("stream:stable")
    assert published.server.requests(f"/prod/{NAME}")[-1].headers["range"] == "bytes=1500-"


@pytest.mark.parametrize("more", [b"", b"not of this file"])
def test_what_an_earlier_try_left_is_all_of_it_or_too_much(published: Published, packed: bytes, more: bytes) -> None:
    partial = published.cache / "downloads" / published.disk["sha256"] / f"{NAME}.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(packed + more)
    assert published.get("stream:stable").version == VERSION


def test_short_outage(published: Published) -> None:
    with published.server.fault(Outage(), path="/streams/stable.json", first=2):
        assert published.get("stream:stable").version == VERSION


def test_long_outage(published: Published) -> None:
    with published.server.fault(Outage()):
        assert "; tried 5 times" in published.refusal("stream:stable")


def test_damaged_on_the_way(published: Published) -> None:
    with published.server.fault(Corrupted(100), path=f"/prod/{NAME}"):
        assert "what was fetched is removed" in published.refusal("stream:stable")
    assert published.get("stream:stable").version == VERSION


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"architectures": []}',
        b'{"architectures": {"x86_64": 5}}',
        b"\xff\xfe",
        b"[" * 10**5,
    ],
)
def test_metadata_that_is_none(published: Published, text: bytes) -> None:
    published.server.add("/streams/stable.json", text)
    assert "/streams/stable.json: " in published.refusal("stream:stable")


@pytest.mark.parametrize("signer", ["trusted", "other", ""])
def test_the_container_image_of_a_stream_is_signed_too(published: Published, keys: Path, signer: str) -> None:
    archive = b"an archive"
    images = {"ostree": {"path": "os.ociarchive", "sha256": hashlib.sha256(archive).hexdigest()}}
    meta = {"buildid": VERSION, "ostree-commit": "c" * 64, "images": images}
    published.server.add("/prod/meta.json", json.dumps(meta).encode())
    published.server.add("/prod/os.ociarchive", archive)
    if signer:
        published.server.add("/prod/os.ociarchive.sig", sign(keys, archive, signer))
    wanted: Any = ("stable", "x86_64", published.sources, published.cache)
    if signer == "trusted":
        assert Path(release_of_stream(*wanted).image).read_bytes() == archive
    else:
        with pytest.raises(ConfigError, match=r"os\.ociarchive"):
            release_of_stream(*wanted)
