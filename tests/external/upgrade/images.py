"""Releases as container images: from an OCI archive on this host into the registry of the test."""

from __future__ import annotations

import json
import tarfile
import urllib.request
from typing import IO, TYPE_CHECKING

from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kola.registry import Registry
    from kola.releases import Release

NAME = "kola/os"


def push_archive(archive: Path, registry: Registry, name: str, tag: str) -> str:
    """Push the image of an OCI archive (a tar of an OCI image layout) and tag it; returns its digest.

    Raises:
        ConfigError: no archive of one image for one architecture, or what it names is not in it.
    """
    try:
        with tarfile.open(archive) as tar:
            index = json.load(_member(tar, "index.json"))
            (entry,) = index["manifests"]
            manifest = _blob(tar, entry["digest"]).read()
            described = json.loads(manifest)
            for blob in (described["config"], *described["layers"]):
                _send(registry, "POST", f"{name}/blobs/uploads/?digest={blob['digest']}", _blob(tar, blob["digest"]))
    except (tarfile.TarError, ValueError, KeyError, TypeError) as e:
        raise ConfigError(f"{archive}: no OCI archive of one image: {type(e).__name__}: {e}") from e
    _send(registry, "PUT", f"{name}/manifests/{tag}", manifest, entry["mediaType"])
    return str(entry["digest"])


def push_releases(releases: Sequence[Release], archives: Sequence[Path], registry: Registry) -> dict[str, str]:
    """Push the image of each release, tagged with its version; returns what ``NAME@DIGEST`` each commit is there."""
    return {
        release.commit: registry.reference(f"{NAME}@{push_archive(archive, registry, NAME, release.version)}")
        for release, archive in zip(releases, archives, strict=True)
    }


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    for spelling in (name, f"./{name}"):
        if spelling in tar.getnames() and (file := tar.extractfile(spelling)) is not None:
            return file
    raise KeyError(name)


def _blob(tar: tarfile.TarFile, digest: str) -> IO[bytes]:
    return _member(tar, f"blobs/{digest.replace(':', '/')}")


def _send(registry: Registry, method: str, path: str, body: bytes | IO[bytes], media_type: str = "") -> None:
    size = len(body) if isinstance(body, bytes) else body.seek(0, 2)
    if not isinstance(body, bytes):
        body.seek(0)
    headers = {"Content-Type": media_type or "application/octet-stream", "Content-Length": str(size)}
    url = registry.server.local_url(f"/v2/{path}")
    with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method)):  # noqa: S310 - http
        pass
