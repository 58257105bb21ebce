"""What a build is: its ``meta.json`` for one architecture, as coreos-assembler writes it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kola.document import Document
from kola.errors import ConfigError
from kola.metadata import stream_of_build

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kola.results import Target

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_BYTES = 2**50
"""Of an image."""


@dataclass(frozen=True)
class ImageFile:
    """An image of a build: digests of the file and of what is packed in it, ``size`` in bytes or None."""

    digests: frozenset[str]
    size: int | None


@dataclass(frozen=True)
class Build:
    """A build for one architecture.

    Attributes:
        build_id: of the build.
        arch: rpm spelling.
        stream: that it was made for; empty if it does not say.
        commit: checksum of its OSTree commit.
        images: platform -> its image, of those that are files.
        cloud_ids: platform -> what the cloud calls its images.
        parent_version: the release that it follows; empty if it does not say.
        parent_commit: of that release.
        container_digest: ``sha256:...`` of the container image that was pushed; empty if none was.
        manifest_digest: ``sha256:...`` of the manifest of the container image that disks were made of; likewise.
    """

    build_id: str
    arch: str
    stream: str
    commit: str
    images: Mapping[str, ImageFile]
    cloud_ids: Mapping[str, frozenset[str]] = field(default_factory=dict)
    parent_version: str = ""
    parent_commit: str = ""
    container_digest: str = ""
    manifest_digest: str = ""

    def deployment_problem(self, deployment: str) -> str | None:
        """Say why what a machine had booted is not this build; None if it is.

        Args:
            deployment: as ``kola.results.MachineRecord.deployment``.
        """
        if not deployment.startswith("sha256:"):
            wanted = [self.commit]
        elif not (wanted := [digest for digest in (self.manifest_digest, self.container_digest) if digest]):
            return f"{deployment}, a container image, and meta.json names none"
        return None if deployment in wanted else f"{deployment}, but the build is {' or '.join(wanted)}"

    def image_problem(self, target: Target) -> str | None:
        """Say why what a target booted is no image of this build; None if it is one."""
        platform, image = target.platform, target.image
        name = image.platform_id.rpartition("/")[2]  # Google's are paths
        if name and name in self.cloud_ids.get(platform, frozenset()):
            return None
        known = self.images.get(platform)
        if known is not None and {image.sha256, image.artifact_sha256} & known.digests:
            return None
        if known is None and platform not in self.cloud_ids:
            names = ", ".join(sorted({*self.images, *self.cloud_ids})) or "none"
            return f"meta.json has no image for {platform}; it has: {names}"
        return f"booted {image.platform_id or image.sha256 or 'an unknown image'}, which is none of meta.json"


def parse_build(text: bytes, source: str, arch: str = "") -> Build:
    """Read ``meta.json``.

    Args:
        text: of the file.
        source: names it in messages.
        arch: that it is for; empty: it has to say it itself.

    Raises:
        ConfigError: not in that format.
    """
    document = Document.parse(text, source)
    container = document.get("base-oscontainer")
    commit = document.text("ostree-commit")
    if not _SHA256.fullmatch(commit):
        raise ConfigError(f"{source}: ostree-commit: '{commit}' is not a SHA-256 digest")
    made_for = document.text("coreos-assembler.basearch", arch or None)
    if arch and made_for != arch:
        raise ConfigError(f"{source}: is for {made_for}, not for {arch}")
    images = document.need("images").of(dict, "an object")
    manifest = images.get("oci-manifest")
    return Build(
        build_id=document.text("buildid"),
        arch=made_for,
        stream=stream_of_build(document),
        commit=commit,
        images={name: _image(images.need(name)) for name in images.value},
        cloud_ids=_cloud_ids(document),
        parent_version=document.text("fedora-coreos.parent-version", ""),
        parent_commit=document.text("fedora-coreos.parent-commit", ""),
        container_digest=container.text("digest", "") if container is not None else "",
        manifest_digest=f"sha256:{manifest.text('sha256')}" if manifest is not None else "",
    )


def _image(image: Document) -> ImageFile:
    digests = {image.text(key, "") for key in ("sha256", "uncompressed-sha256")} - {""}
    size = image.get("size")
    length = None if size is None else int(size.of(int, "a number").value)
    if length is not None and not 0 < length < _MOST_BYTES:
        raise ConfigError(f"{image.source}: {image.path}: size: expected a number of bytes, found {str(length)[:20]}")
    return ImageFile(frozenset(digests), length)


def _cloud_ids(document: Document) -> dict[str, frozenset[str]]:
    amis, gcp = document.get("amis"), document.get("gcp")
    found = {}
    if amis is not None:
        found["aws"] = frozenset(ami.text("hvm") for ami in amis.items())
    if gcp is not None:
        found["gcp"] = frozenset({gcp.text("image")})
    return found


@dataclass(frozen=True)
class StreamRelease:
    """A release in the index of its stream. ``commits``: architecture -> checksum of the OSTree commit."""

    version: str
    commits: Mapping[str, str]


def parse_releases(text: bytes, source: str) -> tuple[StreamRelease, ...]:
    """Read the index of a stream's releases (``releases.json``); oldest first.

    Raises:
        ConfigError: not in that format.
    """
    return tuple(
        StreamRelease(
            release.text("version"),
            {commit.text("architecture"): commit.text("checksum") for commit in release.need("commits").items()},
        )
        for release in Document.parse(text, source).need("releases").items()
    )
