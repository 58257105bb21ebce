"""How a machine is updated: by commits of an OSTree repository, with or without rpm-ostree, or by container images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tests.external.upgrade.deployments import Deployment, parse_ostree_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kola.httpd import HttpServer
    from kola.machine import Machine
    from kola.registry import Registry
    from kola.releases import Release
    from tests.external.upgrade.rpmostree import RpmOstree

UNVERIFIED = "ostree-unverified-registry"
"""What rpm-ostree calls an image in a registry that need not be signed."""


@dataclass(frozen=True)
class Source:
    """Where updates are fetched from.

    Attributes:
        server: on this host.
        path: a glob for what nearly all requests of an update are for.
        requests: how many of them every update has at least.
    """

    server: HttpServer
    path: str
    requests: int

    @classmethod
    def repository(cls, server: HttpServer) -> Source:
        """An OSTree repository, mounted at ``/repo``; an update has about 1,300 objects."""
        return cls(server, "/repo/objects/*", 1000)

    @classmethod
    def registry(cls, registry: Registry) -> Source:
        """A registry; of an image's layers only those are fetched that the machine lacks."""
        return cls(registry.server, "/v2/*/blobs/sha256:*", 5)


class Way(Protocol):
    """One way to update a machine."""

    @property
    def source(self) -> Source:
        """Where updates come from."""

    def payload(self, release: Release) -> str:
        """Return what an update server calls a release: the checksum of a commit, or ``NAME@DIGEST`` of an image."""

    def stage_command(self, release: Release) -> list[str]:
        """Return what fetches a release and stages it for the next boot, as root."""

    def rollback_command(self) -> list[str]:
        """Return what lets the deployment before this one boot next, as root."""

    def deployments(self) -> list[Deployment]:
        """Return all of them, in the order of the boot menu."""

    def kernel_arguments(self) -> set[str]:
        """Return those that the booted release brings along, if this way of updating applies them."""


@dataclass(frozen=True)
class CommitsByOstree:
    """As the test OS is updated, by its own ``testos-upgrade``."""

    machine: Machine
    source: Source

    def payload(self, release: Release) -> str:
        """Return its commit."""
        return release.commit

    def stage_command(self, release: Release) -> list[str]:
        """Return what stages it."""
        return ["testos-upgrade", release.commit]

    def rollback_command(self) -> list[str]:
        """Return what makes the deployment behind the booted one the default."""
        there = self.deployments()
        index = next(number for number, found in enumerate(there) if found.booted) + 1
        assert index < len(there), f"there is no deployment to roll back to, only {', '.join(map(str, there))}"
        return ["ostree", "admin", "set-default", str(index)]

    def deployments(self) -> list[Deployment]:
        """Return what OSTree says."""
        return parse_ostree_status(self.machine.run(["ostree", "admin", "status"], sudo=True).stdout)

    def kernel_arguments(self) -> set[str]:
        """Return what is in kargs.d: like bootc, and unlike rpm-ostree, ``testos-upgrade`` applies it."""
        lines = self.machine.run("cat /usr/lib/bootc/kargs.d/*.toml 2>/dev/null", check=False).stdout.splitlines()
        return {word for line in lines if line.startswith("kargs") for word in line.split('"')[1::2]}


@dataclass(frozen=True)
class _ByRpmOstree:
    rpm_ostree: RpmOstree
    source: Source

    def rollback_command(self) -> list[str]:
        """Return what does it."""
        return ["rpm-ostree", "rollback"]

    def deployments(self) -> list[Deployment]:
        """Return what rpm-ostree says."""
        return self.rpm_ostree.status()

    def kernel_arguments(self) -> set[str]:
        """Return none: rpm-ostree does not know what bootc reads."""
        return set()


@dataclass(frozen=True)
class CommitsByRpmOstree(_ByRpmOstree):
    """As Fedora CoreOS was updated before F42."""

    remote: str

    def payload(self, release: Release) -> str:
        """Return its commit."""
        return release.commit

    def stage_command(self, release: Release) -> list[str]:
        """Return what stages it; a rebase to what is followed already would be refused."""
        refspec = f"{self.remote}:{release.ref}"
        if self.deployments()[0].origin == refspec:
            return ["rpm-ostree", "deploy", "--skip-branch-check", f"revision={release.commit}"]
        return ["rpm-ostree", "rebase", refspec, release.commit]


@dataclass(frozen=True)
class ImagesByRpmOstree(_ByRpmOstree):
    """As Fedora CoreOS is updated. ``images``: commit -> ``NAME@DIGEST`` in a registry that the machine trusts."""

    images: Mapping[str, str]

    def payload(self, release: Release) -> str:
        """Return its image."""
        return self.images[release.commit]

    def stage_command(self, release: Release) -> list[str]:
        """Return what stages it."""
        return ["rpm-ostree", "rebase", f"{UNVERIFIED}:{self.payload(release)}"]


def follow(machine: Machine, remote: str, url: str) -> None:
    """Let the remote that the system follows by its own configuration be this one, its trusted keys as they are."""
    machine.run(
        f"file=$(grep -lF '[remote \"{remote}\"]' /etc/ostree/remotes.d/*.conf) && "
        f"sed -i -e 's|^url=.*|url={url}|' -e '/^contenturl=/d' \"$file\"",
        sudo=True,
    )
