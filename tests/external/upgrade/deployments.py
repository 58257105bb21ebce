"""What is installed on a machine, side by side, as ``rpm-ostree status`` and ``ostree admin status`` say. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_LINE = re.compile(r"^(?P<booted>[* ]) \S+ (?P<commit>[0-9a-f]{64})\.\d+(?: \((?P<state>.*)\))?$")


@dataclass(frozen=True)
class Deployment:
    """One of the systems that a machine can boot; all but the first three only rpm-ostree says.

    Attributes:
        checksum: of the release's commit, that under the layered packages if there are such.
        booted: it runs.
        staged: it waits for the next shutdown.
        locked: staged, but a reboot does not take it.
        version: of the release.
        origin: what it follows, such as ``fedora:fedora/x86_64/coreos/stable``; empty for an image.
        image: such as ``ostree-unverified-registry:HOST/NAME:TAG``; empty for a commit.
        digest: of that image.
        packages: files and names that are layered on it.
    """

    checksum: str
    booted: bool
    staged: bool = False
    locked: bool = False
    version: str = ""
    origin: str = ""
    image: str = ""
    digest: str = ""
    packages: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What tells which release it is: the digest of its image, else its commit.

        The commit of an image is one that the machine itself makes of the layers.
        """
        return self.digest or self.checksum

    def __str__(self) -> str:
        state = "booted" if self.booted else "staged" if self.staged else "not booted"
        return f"{self.version or self.name[:17]} ({state})"


def parse_status(text: str) -> list[Deployment]:
    """Read ``rpm-ostree status --json``; fields that say no are left out by older versions, or null."""
    return [
        Deployment(
            checksum=found.get("base-checksum") or found["checksum"],
            booted=found["booted"],
            staged=found.get("staged") or False,
            locked=found.get("finalization-locked") or False,
            version=found.get("version") or "",
            origin=found.get("origin") or "",
            image=found.get("container-image-reference") or "",
            digest=found.get("container-image-reference-digest") or "",
            packages=(*(found.get("requested-packages") or ()), *(found.get("requested-local-packages") or ())),
        )
        for found in json.loads(text)["deployments"]
    ]


def parse_ostree_status(text: str) -> list[Deployment]:
    """Read ``ostree admin status``."""
    found = [match for match in map(_LINE.match, text.splitlines()) if match]
    return [Deployment(match["commit"], match["booted"] == "*", match["state"] == "staged") for match in found]
