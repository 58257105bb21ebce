"""``--from-image``: the image that tests of updates boot, and the way from its release to that of ``--image``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kola.errors import ConfigError
from kola.images import Cloud, resolve
from kola.needs import UPDATES
from kola.releaseimages import release_of_build, release_of_stream
from kola.releases import Releases

if TYPE_CHECKING:
    from pathlib import Path

    from kola.arch import Arch
    from kola.imagefile import Progress
    from kola.images import Image
    from kola.releases import Release
    from kola.sources import Sources


def updated_to(
    target: Image,
    reference: str,
    *,
    cache: Path,
    arch: Arch,
    sources: Sources,
    progress: Progress | None = None,
    cloud: Cloud | None = None,
) -> Image:
    """Find the image that a user wants to update from; its updates lead to another image, and to nothing else.

    Args:
        target: the image to update to.
        reference: of the one to update from, as of ``images.resolve``; so are the others.
        cache: the user's kola cache folder.
        arch: of both.
        sources: where images are fetched from.
        progress: told of long steps.
        cloud: where both shall boot.

    Raises:
        ConfigError: there is no such image, or no update leads from it to the target; says why.
    """
    start = resolve(reference, cache=cache, arch=arch, progress=progress, sources=sources, cloud=cloud)
    why = f"--from-image {reference}"
    if (start.sha256 or start.reference) == (target.sha256 or target.reference):
        raise ConfigError(f"{why}: is the same image as --image {target.reference}: there is nothing to update to")
    if start.distro and target.distro and start.distro != target.distro:
        raise ConfigError(
            f"{why}: is of {start.distro}, --image {target.reference} of {target.distro}: no update leads from one "
            "distribution to another"
        )
    old, new = (_release_of(image, arch.name, sources, cache, progress) for image in (start, target))
    if old.commit == new.commit:
        raise ConfigError(f"{why}: has the same release as --image {target.reference}: {new.version} ({new.commit})")
    return replace(
        start,
        updates=_way(old, new, start, target),
        capabilities=None if start.capabilities is None else start.capabilities | {UPDATES},
    )


def _way(old: Release, new: Release, start: Image, target: Image) -> Releases:
    known = target.updates
    if known is not None and known.repo is not None:
        if not (known.repo / "objects" / new.commit[:2] / f"{new.commit[2:]}.commit").is_file():
            raise ConfigError(f"--image {target.reference}: its repository {known.repo} lacks its commit {new.commit}")
        return replace(known, remote=(start.updates or known).remote, releases=(old, new))
    if new.image:
        return Releases(None, "", (old, new))
    raise ConfigError(
        f"--image {target.reference}: no update leads to it: it has neither an OSTree repository (image.json: updates) "
        "nor an OCI archive beside it (meta.json: images.ostree)"
    )


def _release_of(image: Image, arch: str, sources: Sources, cache: Path, progress: Progress | None) -> Release:
    """Return the release that an image has installed."""
    if image.updates is not None:
        return image.updates.releases[0]
    scheme, _, rest = image.reference.partition(":")
    if scheme == "build":
        return release_of_build(rest, arch)
    if scheme == "stream":
        return release_of_stream(rest, arch, sources, cache, progress)
    raise ConfigError(
        f"image {image.reference}: nothing says which commit it has installed; for updates give a folder with an "
        "image.json that has 'updates', build:DIR[@ID], or stream:NAME[@VERSION]"
    )
