"""Images of the real thing -> a file on this host: of a stream, a certain release, a build of coreos-assembler."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kola import metadata
from kola.download import fetch_file, fetch_text
from kola.errors import ConfigError
from kola.signature import keys_at_hand, verify

if TYPE_CHECKING:
    from kola.imagefile import Progress
    from kola.metadata import Artifact

BASE_URL = "https://builds.coreos.fedoraproject.org"
"""Where Fedora CoreOS is published."""
UNSIGNED = "none"
"""Instead of keys: do without the signature."""


@dataclass(frozen=True)
class Sources:
    """Where images come from, and who must have signed them.

    Attributes:
        url: of the server with streams and releases.
        keys: file with the public keys, ``UNSIGNED``, or empty for Fedora's keys on this host.
    """

    url: str = BASE_URL
    keys: str = ""


@dataclass(frozen=True)
class Located:
    """An image file on this host, as it was published, and what its metadata says of it.

    Attributes:
        path: of the image.
        artifact: what is said of it.
        container: OCI archive on this host with the same operating system, or None.
    """

    path: Path
    artifact: Artifact
    container: Path | None = None


def from_stream(name: str, arch: str, sources: Sources, cache: Path, progress: Progress | None = None) -> Located:
    """Fetch the image of a stream, unless it is in the cache, and verify digest and signature.

    Args:
        name: ``STREAM`` for its newest release, ``STREAM@VERSION`` for another.
        arch: of the image.
        sources: where from.
        cache: the user's kola cache; images go to its folder ``downloads``.
        progress: told of the bytes.

    Raises:
        ConfigError: no such stream, release or architecture; a wrong digest; a wrong signature, or none that counts.
    """
    stream, _, version = name.partition("@")
    if not stream or "/" in name:
        raise ConfigError(f"image stream:{name}: expected stream:NAME or stream:NAME@VERSION")
    artifact = _published(stream, version, arch, sources.url.rstrip("/"))
    keys = _keys(sources)
    file = artifact.location.rpartition("/")[2]
    if not file or file.startswith("."):
        raise ConfigError(f"image stream:{name}: its metadata names the file '{artifact.location}'")
    target = cache / "downloads" / artifact.sha256 / file
    fetch_file(artifact.location, target, artifact.sha256, progress)
    if keys is not None:
        _check(target, artifact, keys)
    return Located(target, artifact)


def _published(stream: str, version: str, arch: str, base: str) -> Artifact:
    if not version:
        url = f"{base}/streams/{stream}.json"
        return metadata.of_stream(fetch_text(url), url, arch)
    index = f"{base}/prod/streams/{stream}/releases.json"
    url = metadata.release_url(fetch_text(index), index, version)
    return metadata.of_release(fetch_text(url), url, arch)


def _keys(sources: Sources) -> list[Path] | None:
    if sources.keys == UNSIGNED:
        return None
    keys = [Path(sources.keys).expanduser()] if sources.keys else keys_at_hand()
    if not keys:
        raise ConfigError(
            "there are no keys of Fedora on this host to check the image's signature with: give them with "
            "--image-keys FILE (https://fedoraproject.org/fedora.gpg), or --image-keys none to do without"
        )
    return keys


def _check(file: Path, artifact: Artifact, keys: list[Path]) -> None:
    """Check a signature, once for each file."""
    checked = file.with_name(f"{file.name}.signed")
    if checked.exists():
        return
    if not artifact.signature:
        raise ConfigError(f"{artifact.location}: its metadata names no signature; --image-keys none does without")
    signer = verify(file, fetch_text(artifact.signature), keys)
    checked.write_text(f"{signer}\n")


def from_build(reference: str, arch: str) -> Located:
    """Find the image of a build of coreos-assembler.

    Args:
        reference: ``DIR`` or ``DIR@ID``; the folder with ``builds/``, or that one; the id may be ``latest``, ``-1``...
        arch: of the image.

    Raises:
        ConfigError: no such folder, build, architecture or image.
    """
    folder, _, wanted = reference.partition("@")
    root = Path(folder).expanduser()
    builds = root / "builds" if (root / "builds" / "builds.json").exists() else root
    index = builds / "builds.json"
    build = metadata.choose_build(_read(index), str(index), wanted or "latest", arch)
    meta = builds / build / arch / "meta.json"
    artifact = metadata.of_build(_read(meta), str(meta))
    path = meta.parent / artifact.location
    # As coreos-assembler leaves it while it compresses, and afterwards.
    if not path.exists() and (plain := path.with_suffix("")).exists() and path.suffix in {".xz", ".gz"}:
        path = plain
    if not path.exists():
        raise ConfigError(f"{meta}: names the image {artifact.location}, which is not there")
    container = meta.parent / artifact.container
    return Located(path, artifact, container if container.is_file() else None)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from e
