"""rpm-ostree on a machine: what it says of the deployments, and what only it can do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kola.command import CommandResult
    from kola.machine import Machine
    from kola.releases import Release

# To fetch and deploy, on a fast machine.
_SECONDS = 300.0


@dataclass(frozen=True)
class Deployment:
    """One entry of ``rpm-ostree status --json``; the first is what boots next.

    Attributes:
        checksum: of the release's commit, that under the layered packages if there are such.
        image: such as ``ostree-unverified-registry:HOST/NAME:TAG``; empty for a commit.
        digest: of that image.
        locked: staged, but a reboot does not take it.
        packages: files and names that are layered on it.
    """

    checksum: str
    version: str
    booted: bool
    staged: bool
    locked: bool
    image: str
    digest: str
    packages: tuple[str, ...]

    def is_release(self, release: Release, digest: str = "") -> bool:
        """Tell whether it is that release: by the digest of its image if there is one, else by its commit."""
        return self.digest == digest if digest else self.checksum == release.commit


def parse_status(text: str) -> list[Deployment]:
    """Read ``rpm-ostree status --json``; fields that say no are left out by older versions."""
    return [
        Deployment(
            checksum=found.get("base-checksum") or found["checksum"],
            version=found.get("version", ""),
            booted=found["booted"],
            staged=found.get("staged", False),
            locked=found.get("finalization-locked", False),
            image=found.get("container-image-reference", ""),
            digest=found.get("container-image-reference-digest", ""),
            packages=(*found.get("requested-packages", ()), *found.get("requested-local-packages", ())),
        )
        for found in json.loads(text)["deployments"]
    ]


class RpmOstree:
    """``rpm-ostree`` as root."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.patience = _SECONDS * machine.slowness

    def __call__(self, *arguments: str, check: bool = True) -> CommandResult:
        """Run one command of it."""
        return self.machine.run(["rpm-ostree", *arguments], sudo=True, check=check, timeout=self.patience)

    def status(self) -> list[Deployment]:
        """Return the deployments, in the order of the boot menu."""
        return parse_status(self("status", "--json").stdout)

    def booted(self) -> Deployment:
        """Return what runs."""
        running = [found for found in self.status() if found.booted]
        assert len(running) == 1, f"one deployment should be booted, not {running}"
        return running[0]

    def staged(self) -> Deployment | None:
        """Return what waits for the next boot."""
        return next((found for found in self.status() if found.staged), None)

    def deploy_locked(self, release: Release) -> None:
        """Stage a release as Zincati does: the next boot does not take it."""
        self("deploy", "--lock-finalization", "--skip-branch-check", f"revision={release.commit}")

    def finalize(self, checksum: str) -> None:
        """Unlock what is staged; the machine reboots by itself and is up again afterwards."""
        before = self.machine.boot_id
        # The reboot would cut the command off.
        self.machine.run(["systemd-run", "--collect", "rpm-ostree", "finalize-deployment", checksum], sudo=True)
        self.machine.await_boot(before)
