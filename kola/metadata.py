"""Metadata of Fedora CoreOS releases and builds: which image belongs to what, on this host and in clouds. Pure.

Source: coreos/stream-metadata-go for streams and releases, coreos-assembler for ``builds.json`` and ``meta.json``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from kola.errors import ConfigError
from kola.releases import Release
from kola.text import some

_SHA256 = re.compile(r"[0-9a-f]{64}")
_QEMU_FORMATS = ("qcow2.xz", "qcow2.gz", "qcow2")
_CLOUD_FORMATS = (
    *("vhd.xz", "vhd.gz", "vhd", "ova", *_QEMU_FORMATS, "tar.gz", "vmdk.xz", "raw.xz", "raw.gz", "raw.zst"),
    *("vhdx.zip", "qcow2.zst", "ociarchive"),
)


@dataclass(frozen=True)
class Artifact:
    """A disk image somewhere.

    Attributes:
        version: of the operating system.
        stream: it belongs to; empty if unknown.
        location: URL, or a path relative to the metadata.
        sha256: digest of that file.
        signature: URL of its detached OpenPGP signature; empty if there is none.
        unpacked_sha256: digest of the image in it; empty if not known.
        container: path, relative to the metadata, of the same operating system as a container image in an OCI archive;
            empty if there is none.
    """

    version: str
    stream: str
    location: str
    sha256: str
    signature: str = ""
    unpacked_sha256: str = ""
    container: str = ""


@dataclass(frozen=True)
class CloudImage:
    """A release for one platform: an image that is there already, or else the file to make one of.

    Attributes:
        platform: as the metadata calls it: ``aws``, ``gcp``, ``azure``, ``openstack``, ``digitalocean``, ``vmware``...
        version: of the operating system.
        image: what the platform calls it: an AMI's id, the name of an image of Google's; empty if there is a file.
        region: where that is; empty if it is everywhere.
        project: of Google's that it is in; empty elsewhere.
        family: of Google's that it is in; empty elsewhere.
        artifact: the file; None if there is an image.
    """

    platform: str
    version: str
    image: str = ""
    region: str = ""
    project: str = ""
    family: str = ""
    artifact: Artifact | None = None

    @property
    def reference(self) -> str:
        """What the platform takes for the image; empty if there is a file."""
        return f"projects/{self.project}/global/images/{self.image}" if self.project else self.image


@dataclass(frozen=True)
class Document:
    """A JSON object and where it is from; every access says what is missing there."""

    value: Any
    source: str
    path: str = ""

    @classmethod
    def parse(cls, text: bytes, source: str) -> Document:
        """Read one.

        Raises:
            ConfigError: it is no JSON object.
        """
        try:
            value = json.loads(text)
        except ValueError as e:
            raise ConfigError(f"{source}: not JSON: {e}") from e
        except RecursionError as e:
            raise ConfigError(f"{source}: not JSON: nested too deeply") from e
        return cls(value, source).of(dict, "an object")

    def of(self, kind: type, name: str) -> Document:
        """Return this, if it is of a type.

        Raises:
            ConfigError: it is not.
        """
        if not isinstance(self.value, kind):
            raise ConfigError(f"{self.source}: {self.path or 'the document'}: expected {name}")
        return self

    def get(self, key: str) -> Document | None:
        """Return a member; None if there is none.

        Raises:
            ConfigError: this is no object.
        """
        value = self.of(dict, "an object").value.get(key)
        return None if value is None else Document(value, self.source, f"{self.path}.{key}".lstrip("."))

    def need(self, *keys: str) -> Document:
        """Return a member of a member.

        Raises:
            ConfigError: there is none; names those that there are.
        """
        found = self
        for key in keys:
            inner = found.get(key)
            if inner is None:
                known = ", ".join(sorted(found.value)) or "nothing"
                place = f"{found.path}: " if found.path else ""
                raise ConfigError(f"{self.source}: {place}no '{key}'; there is: {known}")
            found = inner
        return found

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string member.

        Raises:
            ConfigError: it is none, or there is none and no default.
        """
        found = self.get(key) if default is not None else self.need(key)
        return default or "" if found is None else str(found.of(str, "a string").value)

    def items(self) -> list[Document]:
        """Return the members of a list.

        Raises:
            ConfigError: this is none.
        """
        values = self.of(list, "a list").value
        return [Document(value, self.source, f"{self.path}[{number}]") for number, value in enumerate(values)]


def of_stream(text: bytes, source: str, arch: str) -> Artifact:
    """Return the newest QEMU image of a stream (``streams/STREAM.json``).

    Raises:
        ConfigError: not in that format, or nothing for the architecture; names what there is.
    """
    document = Document.parse(text, source)
    qemu = document.need("architectures", arch, "artifacts", "qemu")
    return _artifact(qemu.need("formats"), qemu.text("release"), document.text("stream", ""))


def of_release(text: bytes, source: str, arch: str) -> Artifact:
    """Return the QEMU image of one release (``release.json``).

    Raises:
        ConfigError: as ``of_stream``.
    """
    document = Document.parse(text, source)
    artifacts = document.need("architectures", arch, "media", "qemu", "artifacts")
    return _artifact(artifacts, document.text("release"), document.text("stream", ""))


def cloud_image(text: bytes, source: str, platform: str, arch: str, region: str = "") -> CloudImage:
    """Return what a platform boots, from ``streams/STREAM.json`` or ``release.json``.

    Args:
        text: of the file.
        source: names it in messages.
        platform: as in ``CloudImage``.
        arch: of the machine.
        region: of the platform, where images have one.

    Raises:
        ConfigError: not in that format, or nothing for the platform, architecture or region; names what there is.
    """
    offer = _Offer.of(Document.parse(text, source), arch, platform)
    if offer.regions is not None and not region:
        known = ", ".join(sorted(offer.regions.value))
        raise ConfigError(f"{source}: {platform} on {arch}: has an image in each region, name one: {known}")
    return offer.choose(region)


def cloud_images(text: bytes, source: str, arch: str) -> list[CloudImage]:
    """Return ``cloud_image`` for every platform and region, but for QEMU and real hardware.

    Raises:
        ConfigError: not in that format, or nothing for the architecture.
    """
    document = Document.parse(text, source)
    of_arch = document.need("architectures", arch)
    parts = [_object(of_arch, key) for key in ("artifacts", "images", "media")]
    names = {name for part in parts if part is not None for name in part.value}
    found = []
    for platform in sorted(names - {"qemu", "metal"}):
        offer = _Offer.of(document, arch, platform)
        regions = [""] if offer.regions is None else sorted(offer.regions.value)
        found += [offer.choose(region) for region in regions]
    return found


@dataclass(frozen=True)
class _Offer:
    """What a document has for one platform, whichever of the two kinds it is: one of regions, image and formats."""

    platform: str
    regions: Document | None
    image: Document | None
    formats: Document | None
    version: str

    @classmethod
    def of(cls, document: Document, arch: str, platform: str) -> _Offer:
        of_arch = document.need("architectures", arch)
        if of_arch.get("media") is not None:  # a release
            media = of_arch.need("media", platform)
            regions, image = _object(media, "images"), media.get("image")
            formats = media.need("artifacts") if regions is image is None else None
            return cls(platform, regions, image, formats, document.text("release"))
        images = of_arch.get("images")
        image = images.get(platform) if images is not None else None
        if image is not None:
            return cls(platform, _object(image, "regions"), image, None, image.text("release", ""))
        artifact = of_arch.need("artifacts", platform)
        return cls(platform, None, None, artifact.need("formats"), artifact.text("release"))

    def choose(self, region: str) -> CloudImage:
        if self.regions is not None:
            there = self.regions.need(region)
            version = there.text("release", self.version)
            return CloudImage(self.platform, version, there.text("image"), region)
        if self.formats is not None:
            artifact = _artifact(self.formats, self.version, "", _CLOUD_FORMATS)
            return CloudImage(self.platform, self.version, artifact=artifact)
        assert self.image is not None  # noqa: S101 - for the type checker
        if self.image.get("project") is None:
            return CloudImage(self.platform, self.version, self.image.text("image"))
        project, family = self.image.text("project"), self.image.text("family", "")
        return CloudImage(self.platform, self.version, self.image.text("name"), project=project, family=family)


def release_url(text: bytes, source: str, version: str) -> str:
    """Return where the metadata of a release is, from a stream's index (``releases.json``).

    Raises:
        ConfigError: not in that format, or no such release; names the newest ones.
    """
    releases = Document.parse(text, source).need("releases").items()
    for release in releases:
        if release.text("version") == version:
            return release.text("metadata")
    known = ", ".join(release.text("version") for release in reversed(releases[-5:])) or "none"
    raise ConfigError(f"{source}: no release {version}; the newest are: {known}")


def choose_build(text: bytes, source: str, wanted: str, arch: str) -> str:
    """Return the id of a build, from ``builds.json``.

    Args:
        text: of the file.
        source: names it in messages.
        wanted: an id, ``latest``, or ``-1`` for the one before that, ``-2``...
        arch: that it must have been built for.

    Raises:
        ConfigError: not in that format, or no such build.
    """
    builds = Document.parse(text, source).need("builds").items()
    # The newest comes first. In the oldest format a build is only its id, and for one architecture.
    known = [
        (build.value, [arch]) if isinstance(build.value, str) else (build.text("id"), _words(build.need("arches")))
        for build in builds
    ]
    if wanted == "latest" or re.fullmatch(r"-\d+", wanted):
        matching = [name for name, arches in known if arch in arches]
        number = 0 if wanted == "latest" else -int(wanted)
        if number < len(matching):
            return matching[number]
        raise ConfigError(f"{source}: no build '{wanted}' for {arch}: there are {len(matching)}")
    for name, arches in known:
        if name == wanted:
            if arch in arches:
                return name
            raise ConfigError(f"{source}: build {wanted} is for {', '.join(arches)}, not for {arch}")
    raise ConfigError(f"{source}: no build {wanted}; there are: {some(name for name, _ in known)}")


def of_build(text: bytes, source: str) -> Artifact:
    """Return the QEMU image of a build (``meta.json``); its location is relative to that file.

    Raises:
        ConfigError: not in that format, or there is none.
    """
    document = Document.parse(text, source)
    qemu = document.need("images", "qemu")
    archive = _oci_archive(document.need("images"))
    labels = document.get("coreos-assembler.oci-labels")
    stream = labels.text("com.coreos.stream", "") if labels is not None else ""
    return Artifact(
        document.text("buildid"),
        stream or document.text("ref", "").rpartition("/")[2],
        qemu.text("path"),
        _digest(qemu, "sha256"),
        unpacked_sha256=_digest(qemu, "uncompressed-sha256", optional=True),
        container=archive.text("path") if archive is not None else "",
    )


def release_of_build(text: bytes, source: str) -> tuple[Release, Artifact | None]:
    """Return the release that a build's images have (``meta.json``), and its OCI archive, or None.

    Raises:
        ConfigError: not in that format.
    """
    document = Document.parse(text, source)
    version, ref = document.text("buildid"), document.text("ref", "")
    release = Release(document.text("ostree-commit"), ref, version)
    archive = _oci_archive(_object(document, "images"))
    if archive is None:
        return release, None
    return release, Artifact(version, "", archive.text("path"), _digest(archive, "sha256"))


def _oci_archive(images: Document | None) -> Document | None:
    """Return what is said of the operating system's container image; years ago it was a tar of an OSTree repository."""
    archive = images.get("ostree") if images is not None else None
    return archive if archive is not None and archive.text("path").endswith(".ociarchive") else None


def _artifact(formats: Document, version: str, stream: str, names: tuple[str, ...] = _QEMU_FORMATS) -> Artifact:
    # With none of them, asking for the first one says what there is.
    known = next((name for name in names if formats.get(name) is not None), names[0])
    disk = formats.need(known, "disk")
    return Artifact(
        version,
        stream,
        disk.text("location"),
        _digest(disk, "sha256"),
        disk.text("signature", ""),
        _digest(disk, "uncompressed-sha256", optional=True),
    )


def _digest(document: Document, key: str, *, optional: bool = False) -> str:
    found = document.text(key, "" if optional else None)
    if found and not _SHA256.fullmatch(found):
        raise ConfigError(f"{document.source}: {document.path}.{key}: '{found}' is not a SHA-256 digest")
    return found


def _object(document: Document, key: str) -> Document | None:
    found = document.get(key)
    return None if found is None else found.of(dict, "an object")


def _words(document: Document) -> list[str]:
    return [str(item.of(str, "a string").value) for item in document.items()]
