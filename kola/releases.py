"""The releases that an image can be updated to: what its ``image.json`` says, or those of ``--from-image``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kola.errors import ConfigError


@dataclass(frozen=True)
class Release:
    """One commit of an operating system.

    Attributes:
        commit: OSTree checksum.
        ref: the branch that it is on, which ends with its stream; the stream alone if there are no commits to fetch.
        version: empty if unknown.
        kernel: as ``uname -r`` prints it; empty if unknown.
        image: file on this host with the release as a container image, in an OCI archive; empty if there is none.
    """

    commit: str
    ref: str
    version: str = ""
    kernel: str = ""
    image: str = ""

    @property
    def stream(self) -> str:
        """The stream that it is of."""
        return self.ref.rpartition("/")[2]


@dataclass(frozen=True)
class Releases:
    """What on this host there is of updates for an image.

    Attributes:
        repo: folder of an OSTree repository with the releases, in archive mode: what a web server gives out; None if
            there are container images only.
        remote: the remote that the image follows by its own configuration; empty if there is no repository.
        releases: first to last; the first is what the image has installed.
        unsigned: the last release again, as a commit that nobody signed; None if there is none.
        wrongly_signed: the same, signed by a key that the image does not trust; None if there is none.
        package: an RPM file on this host that can be layered on every release; empty if there is none.
    """

    repo: Path | None
    remote: str
    releases: tuple[Release, ...]
    unsigned: Release | None = None
    wrongly_signed: Release | None = None
    package: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Return builtin types only."""
        return asdict(self) | {"repo": None if self.repo is None else str(self.repo)}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Releases:
        """Return what ``to_plain`` took apart."""
        return cls(
            repo=None if plain["repo"] is None else Path(plain["repo"]),
            remote=plain["remote"],
            releases=tuple(Release(**one) for one in plain["releases"]),
            package=plain.get("package", ""),
            **{name: Release(**plain[name]) for name in ("unsigned", "wrongly_signed") if plain.get(name) is not None},
        )


def read_releases(known: object, source: Path) -> Releases:
    """Check what an ``image.json`` says under ``updates``.

    Args:
        known: the value.
        source: the file; what is named is relative to its folder.

    Raises:
        ConfigError: not what it should be, or the repository or a file is not there.
    """
    expected = "an object with repo, remote and a list of releases, each with commit and ref"
    try:
        releases = Releases.from_plain(known)  # type: ignore[arg-type]
    except (KeyError, TypeError):
        raise ConfigError(f"{source}: updates: expected {expected}") from None
    if not releases.releases:
        raise ConfigError(f"{source}: updates: releases: expected at least one")
    listed = tuple(replace(release, image=_file(source, release.image)) for release in releases.releases)
    repo = None if releases.repo is None else (source.parent / releases.repo).resolve()
    if repo is None and not all(release.image for release in listed):
        raise ConfigError(f"{source}: updates: without a repo every release needs an image")
    if repo is not None and not (repo / "config").is_file():
        raise ConfigError(f"{source}: updates: no OSTree repository in {repo}")
    return replace(releases, repo=repo, releases=listed, package=_file(source, releases.package))


def _file(source: Path, name: str) -> str:
    path = source.parent / name
    if name and not path.is_file():
        raise ConfigError(f"{source}: updates: no such file: {path}")
    return str(path.resolve()) if name else ""
