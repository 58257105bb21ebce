"""Images of the real thing -> a file on this host: of a stream, a certain release, a build of coreos-assembler."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kola import metadata
from kola.download import fetch_file, fetch_text
from kola.errors import ConfigError
from kola.signature import keys_at_hand, verify
from kola.sources import UNSIGNED

if TYPE_CHECKING:
    from kola.imagefile import Progress
    from kola.metadata import Artifact, PlatformImage
    from kola.releases import Release
    from kola.sources import Sources


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


def fetch(name: str, artifact: Artifact, sources: Sources, cache: Path, progress: Progress | None = None) -> Located:
    """Fetch an image of a stream, unless it is in the cache, and verify digest and signature.

    Args:
        name: ``STREAM`` for its newest release, ``STREAM@VERSION`` for another.
        artifact: of ``stream_image``.
        sources: where from.
        cache: the user's kola cache; images go to its folder ``downloads``.
        progress: told of the bytes.

    Raises:
        ConfigError: a wrong digest; a wrong signature, or none that counts.
    """
    return Located(_fetched(name, artifact, sources, cache, progress), artifact)


def release_of_stream(name: str, arch: str, sources: Sources, cache: Path, progress: Progress | None = None) -> Release:
    """Return the release of a stream's image, and fetch its container image.

    Args:
        name: as of ``fetch``, like the others.
        arch: of the image.
        sources: where from.
        cache: the user's kola cache.
        progress: told of the bytes.

    Raises:
        ConfigError: no such stream or release; its build's metadata is not published, or the container image is not
            signed as it must be.
    """
    artifact = stream_image(name, metadata.QEMU, "", arch, sources).artifact
    if artifact is None:
        raise ConfigError(f"image stream:{name}: its metadata has no image for QEMU, beside which its build's would be")
    folder = artifact.location.rpartition("/")[0]
    meta = f"{folder}/meta.json"
    release, archive = metadata.release_of_build(fetch_text(meta), meta)
    if archive is None:
        return release
    url = f"{folder}/{archive.location}"
    # It lies beside the file, as that of every file of a build does; the metadata does not name it.
    signed = replace(archive, location=url, signature=f"{url}.sig")
    return replace(release, image=str(_fetched(name, signed, sources, cache, progress)))


def _fetched(name: str, artifact: Artifact, sources: Sources, cache: Path, progress: Progress | None) -> Path:
    keys = _keys(sources)
    file = artifact.location.rpartition("/")[2]
    if not file or file.startswith("."):
        raise ConfigError(f"image stream:{name}: its metadata names the file '{artifact.location}'")
    target = cache / "downloads" / artifact.sha256 / file
    fetch_file(artifact.location, target, artifact.sha256, progress)
    if keys is not None:
        _check(target, artifact, keys)
    return target


def clouds_of_stream(name: str, arch: str, sources: Sources) -> list[PlatformImage]:
    """Return what clouds have of a stream's newest release, or of another.

    Args:
        name: as of ``fetch``.
        arch: of the images.
        sources: where the metadata comes from.

    Raises:
        ConfigError: no such stream, release or architecture.
    """
    return metadata.cloud_images(*_published(name, sources), arch)


def stream_image(name: str, platform: str, region: str, arch: str, sources: Sources) -> PlatformImage:
    """Return what a platform boots of a stream's newest release, or of another.

    Args:
        name: as of ``fetch``.
        platform: as the metadata calls it.
        region: of the platform, where images have one.
        arch: of the image.
        sources: where the metadata comes from.

    Raises:
        ConfigError: no such stream, release or architecture; nothing for that platform or region.
    """
    return metadata.platform_image(*_published(name, sources), platform, arch, region)


def _published(name: str, sources: Sources) -> tuple[bytes, str]:
    """Return the metadata of a stream, or of one of its releases, and where it is from."""
    stream, at, version = name.partition("@")
    if not stream or "/" in name or (at and not version):
        raise ConfigError(f"image stream:{name}: expected stream:NAME or stream:NAME@VERSION")
    base = sources.url.rstrip("/")
    url = f"{base}/streams/{stream}.json"
    if version:
        index = f"{base}/prod/streams/{stream}/releases.json"
        url = metadata.release_url(fetch_text(index), index, version)
    return fetch_text(url), url


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


def build_image(reference: str, platform: str, region: str, arch: str) -> PlatformImage:
    """Return what a platform boots of a build of coreos-assembler.

    Args:
        reference: ``DIR`` or ``DIR@ID``; the folder with ``builds/``, or that one; the id may be ``latest``, ``-1``...
        platform: as the metadata calls it.
        region: of the platform, where images have one.
        arch: of the image.

    Raises:
        ConfigError: no such folder, build, architecture; nothing for that platform or region.
    """
    meta = _meta_of_build(reference, arch)
    return metadata.build_image(_read(meta), str(meta), platform, region)


def find_in_build(reference: str, artifact: Artifact, arch: str) -> Located:
    """Find an image of a build on this host.

    Args:
        reference: as of ``build_image``.
        artifact: what that returned.
        arch: of the image.

    Raises:
        ConfigError: it is not there.
    """
    meta = _meta_of_build(reference, arch)
    path = meta.parent / artifact.location
    # As coreos-assembler leaves it while it compresses, and afterwards.
    if not path.exists() and (plain := path.with_suffix("")).exists() and path.suffix in {".xz", ".gz"}:
        path = plain
    if not path.exists():
        raise ConfigError(f"{meta}: names the image {artifact.location}, which is not there")
    container = meta.parent / artifact.container
    return Located(path, artifact, container if container.is_file() else None)


def release_of_build(reference: str, arch: str) -> Release:
    """Return the release of a build's images, with its container image if that is there.

    Args:
        reference: as of ``build_image``.
        arch: of the image.

    Raises:
        ConfigError: no such folder, build or architecture.
    """
    meta = _meta_of_build(reference, arch)
    release, archive = metadata.release_of_build(_read(meta), str(meta))
    path = meta.parent / archive.location if archive is not None else None
    return release if path is None or not path.is_file() else replace(release, image=str(path.resolve()))


def _meta_of_build(reference: str, arch: str) -> Path:
    folder, _, wanted = reference.partition("@")
    root = Path(folder).expanduser()
    builds = root / "builds" if (root / "builds" / "builds.json").exists() else root
    index = builds / "builds.json"
    if not index.exists():
        raise ConfigError(
            f"image build:{reference}: no {index}; expected the working folder of coreos-assembler, or its builds/"
        )
    build = metadata.choose_build(_read(index), str(index), wanted or "latest", arch)
    return builds / build / arch / "meta.json"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from e
