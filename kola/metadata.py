"""Metadata of Fedora CoreOS releases and builds: which image belongs to what, on this host and in clouds. Pure.

Source: coreos/stream-metadata-go for streams and releases, coreos-assembler for ``builds.json`` and ``meta.json``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kola.arch import get_arch
from kola.document import Document
from kola.errors import ConfigError
from kola.releases import Release
from kola.text import some

_SHA256 = re.compile(r"[0-9a-f]{64}")
QEMU = "qemu"
_DISTROS = {"fedora-coreos": "fcos"}
"""What kola calls an operating system that coreos-assembler calls otherwise."""
_FORMATS = (
    *("vhd.xz", "vhd.gz", "vhd", "ova", "qcow2.xz", "qcow2.gz", "qcow2", "tar.gz", "vmdk.xz", "raw.xz", "raw.gz"),
    *("raw.zst", "vhdx.zip", "qcow2.zst", "ociarchive"),
)
"""Of disk images; a platform has one of them, or several of which the first one here is taken."""


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
class PlatformImage:
    """A release for one platform: an image that is there already, or else the file to make one of.

    Attributes:
        platform: as the metadata calls it: ``qemu``, ``aws``, ``gcp``, ``azure``, ``openstack``, ``digitalocean``...
        version: of the operating system.
        image: what the platform calls it: an AMI's id, the name of an image of Google's; empty if there is a file.
        region: where that is; empty if it is everywhere.
        project: of Google's that it is in; empty elsewhere.
        family: of Google's that it is in; empty elsewhere.
        artifact: the file; None if there is an image.
        stream: that the release is of; empty if unknown.
    """

    platform: str
    version: str
    image: str = ""
    region: str = ""
    project: str = ""
    family: str = ""
    artifact: Artifact | None = None
    stream: str = ""

    @property
    def reference(self) -> str:
        """What the platform takes for the image; empty if there is a file."""
        return f"projects/{self.project}/global/images/{self.image}" if self.project else self.image


def platform_image(text: bytes, source: str, platform: str, arch: str, region: str = "") -> PlatformImage:
    """Return what a platform boots, from ``streams/STREAM.json`` or ``release.json``.

    Args:
        text: of the file.
        source: names it in messages.
        platform: as in ``PlatformImage``.
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


def cloud_images(text: bytes, source: str, arch: str) -> list[PlatformImage]:
    """Return ``platform_image`` for every platform and region, but for QEMU and real hardware.

    Raises:
        ConfigError: not in that format, or nothing for the architecture.
    """
    document = Document.parse(text, source)
    of_arch = document.need("architectures", arch)
    parts = [_object(of_arch, key) for key in ("artifacts", "images", "media")]
    names = {name for part in parts if part is not None for name in part.value}
    found = []
    for platform in sorted(names - {QEMU, "metal"}):
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
    stream: str

    @classmethod
    def of(cls, document: Document, arch: str, platform: str) -> _Offer:
        of_arch, stream = document.need("architectures", arch), document.text("stream", "")
        if of_arch.get("media") is not None:  # a release
            media = of_arch.need("media", platform)
            regions, image = _object(media, "images"), media.get("image")
            formats = media.need("artifacts") if regions is image is None else None
            return cls(platform, regions, image, formats, document.text("release"), stream)
        images = of_arch.get("images")
        image = images.get(platform) if images is not None else None
        if image is not None:
            return cls(platform, _object(image, "regions"), image, None, image.text("release", ""), stream)
        artifact = of_arch.need("artifacts", platform)
        return cls(platform, None, None, artifact.need("formats"), artifact.text("release"), stream)

    def choose(self, region: str) -> PlatformImage:
        if self.regions is not None:
            there = self.regions.need(region)
            version = there.text("release", self.version)
            return PlatformImage(self.platform, version, there.text("image"), region, stream=self.stream)
        if self.formats is not None:
            artifact = _artifact(self.formats, self.version, self.stream)
            return PlatformImage(self.platform, self.version, artifact=artifact, stream=self.stream)
        assert self.image is not None  # noqa: S101 - for the type checker
        if self.image.get("project") is None:
            return PlatformImage(self.platform, self.version, self.image.text("image"), stream=self.stream)
        return PlatformImage(
            self.platform,
            self.version,
            self.image.text("name"),
            project=self.image.text("project"),
            family=self.image.text("family", ""),
            stream=self.stream,
        )


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


def build_image(text: bytes, source: str, platform: str, region: str = "") -> PlatformImage:
    """Return what a platform boots of a build (``meta.json``); the location of a file is relative to that one.

    What coreos-assembler writes under ``azure`` is a blob, of which nobody has made an image: there it is the file.

    Args:
        text: of the file.
        source: names it in messages.
        platform: as in ``PlatformImage``.
        region: of the platform, where images have one.

    Raises:
        ConfigError: not in that format, or nothing for the platform or region; names what there is.
    """
    document = Document.parse(text, source)
    version, stream = document.text("buildid"), stream_of_build(document)
    amis, google = document.get("amis"), _object(document, "gcp")
    if platform == "aws" and amis is not None and amis.items():
        found = {ami.text("name"): ami.text("hvm") for ami in amis.items()}
        if region not in found:
            where = f"not in {region}" if region else "name a region"
            raise ConfigError(f"{source}: amis: {where}; there is: {', '.join(sorted(found))}")
        return PlatformImage(platform, version, found[region], region, stream=stream)
    if platform == "gcp" and google is not None:
        project, family = google.text("project", ""), google.text("family", "")
        return PlatformImage(platform, version, google.text("image"), project=project, family=family, stream=stream)
    images = document.need("images")
    disk, archive = images.need(platform), _oci_archive(images)
    artifact = Artifact(
        version,
        stream,
        disk.text("path"),
        _digest(disk, "sha256"),
        unpacked_sha256=_digest(disk, "uncompressed-sha256", optional=True),
        container=archive.text("path") if archive is not None else "",
    )
    return PlatformImage(platform, version, artifact=artifact, stream=stream)


def describe_build(document: Document) -> dict[str, str]:
    """Return what a build (``meta.json``) says of all its images, by fields of ``kola.images.Image``.

    Raises:
        ConfigError: not in that format.
    """
    name, version = document.text("name"), document.text("buildid")
    arch = document.text("coreos-assembler.basearch", "")
    try:
        known = get_arch(arch).name if arch else ""
    except ConfigError as e:
        raise ConfigError(f"{document.source}: coreos-assembler.basearch: {e}") from e
    return {
        "name": name,
        "version": version,
        "build_id": version,
        "arch": known,
        "distro": _DISTROS.get(name, name),
        "stream": stream_of_build(document),
    }


def stream_of_build(document: Document) -> str:
    """Return the stream that a build (``meta.json``) is for; empty if it does not say.

    A build that ``cosa import`` made of a container image has that one's labels, and no ``ref``.
    """
    labels = _object(document, "coreos-assembler.oci-imported-labels")
    stream = labels.text("com.coreos.stream", "") if labels is not None else ""
    return stream or document.text("ref", "").rpartition("/")[2]


def release_of_build(text: bytes, source: str) -> tuple[Release, Artifact | None]:
    """Return the release that a build's images have (``meta.json``), and its OCI archive, or None.

    Raises:
        ConfigError: not in that format.
    """
    document = Document.parse(text, source)
    version, ref = document.text("buildid"), document.text("ref", "") or stream_of_build(document)
    release = Release(document.text("ostree-commit"), ref, version)
    archive = _oci_archive(_object(document, "images"))
    if archive is None:
        return release, None
    return release, Artifact(version, "", archive.text("path"), _digest(archive, "sha256"))


def _oci_archive(images: Document | None) -> Document | None:
    """Return what is said of the operating system's container image; years ago it was a tar of an OSTree repository."""
    archive = images.get("ostree") if images is not None else None
    return archive if archive is not None and archive.text("path").endswith(".ociarchive") else None


def _artifact(formats: Document, version: str, stream: str) -> Artifact:
    known = next((name for name in _FORMATS if formats.get(name) is not None), "")
    if not known:
        there = ", ".join(sorted(formats.value)) or "nothing"
        raise ConfigError(f"{formats.source}: {formats.path}: no disk image ({', '.join(_FORMATS)}); there is: {there}")
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
