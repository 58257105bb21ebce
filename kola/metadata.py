"""Metadata of Fedora CoreOS releases and builds: which disk image belongs to what. Pure.

Source: coreos/stream-metadata-go for streams and releases, coreos-assembler for ``builds.json`` and ``meta.json``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from kola.errors import ConfigError
from kola.text import some

_SHA256 = re.compile(r"[0-9a-f]{64}")


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
    ostree = document.need("images").get("ostree")
    labels = document.get("coreos-assembler.oci-labels")
    stream = labels.text("com.coreos.stream", "") if labels is not None else ""
    return Artifact(
        document.text("buildid"),
        stream or document.text("ref", "").rpartition("/")[2],
        qemu.text("path"),
        _digest(qemu, "sha256"),
        unpacked_sha256=_digest(qemu, "uncompressed-sha256", optional=True),
        container=ostree.text("path") if ostree is not None else "",
    )


def _artifact(formats: Document, version: str, stream: str) -> Artifact:
    disk = next((formats.need(name, "disk") for name in ("qcow2.xz", "qcow2.gz", "qcow2") if formats.get(name)), None)
    if disk is None:
        disk = formats.need("qcow2.xz", "disk")  # says what there is
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


def _words(document: Document) -> list[str]:
    return [str(item.of(str, "a string").value) for item in document.items()]
