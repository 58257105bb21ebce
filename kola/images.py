"""From what the user says (``testos``, a path, later a stream or a build) to a verified local image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Image:
    """A disk image on this host, and what is known of it.

    Attributes:
        path: a qcow2 or raw file, never compressed as a whole.
        format: ``qcow2`` or ``raw``.
        sha256: digest of that file.
        reference: what the user asked for.
        name: such as ``testos`` or ``fedora-coreos``.
        version: of the operating system; empty if unknown.
        build_id: empty if unknown.
        arch: rpm spelling; empty if unknown.
        distro: such as ``fcos``; empty if unknown.
        stream: empty if unknown.
        ignition_max: the highest Ignition spec version that it understands, such as ``3.4.0``; None if unknown.
        capabilities: what its operating system has (``ostree``, ``podman``...); None if unknown, then all is assumed.
    """

    path: Path
    format: str
    sha256: str
    reference: str
    name: str = ""
    version: str = ""
    build_id: str = ""
    arch: str = ""
    distro: str = ""
    stream: str = ""
    ignition_max: str | None = None
    capabilities: frozenset[str] | None = None
