"""What every test of updates starts with: a machine of the first release that follows a repository on this host."""

from __future__ import annotations

from pathlib import Path

import pytest

from kola.flight import Reservation
from kola.httpd import HttpServer
from kola.machine import Machine
from kola.registry import Registry
from kola.releases import Releases
from kola.updates import UpdateServer
from tests.external.upgrade.images import NAME, push_releases
from tests.external.upgrade.rpmostree import RpmOstree
from tests.external.upgrade.system import System
from tests.external.upgrade.zincati import Agent


@pytest.fixture
def releases(flight: Reservation) -> Releases:
    """The releases that the image of this run can be updated to."""
    found = flight.image.updates
    if found is None:
        pytest.skip("the image brings no updates (image.json: updates)")
    return found


@pytest.fixture
def system(machine: Machine, releases: Releases, http_server: HttpServer) -> System:
    """The machine, ready to be updated from an OSTree repository."""
    if releases.repo is None:
        pytest.skip("there is no OSTree repository with the releases, only container images")
    http_server.mount("/repo", releases.repo)
    system = System(machine, releases)
    system.follow(http_server.url("/repo"))
    return system


@pytest.fixture
def rpm_ostree(system: System) -> RpmOstree:
    """rpm-ostree on that machine, booted from a commit."""
    rpm_ostree = RpmOstree(system.machine)
    if rpm_ostree.booted().image:
        pytest.skip("the image is installed from a container image, not from an OSTree commit")
    return rpm_ostree


@pytest.fixture
def images(machine: Machine, releases: Releases, registry: Registry) -> dict[str, str]:
    """The releases as images in a registry that the machine trusts: commit -> ``NAME@DIGEST``."""
    archives = [Path(release.image) for release in releases.releases if release.image]
    if len(archives) < len(releases.releases):
        pytest.skip("the image brings no OCI archive for some of its releases (image.json: updates)")
    trust = f'[[registry]]\nlocation = "{registry.server.address}:{registry.server.port}"\ninsecure = true\n'
    machine.write_file("/etc/containers/registries.conf.d/99-kola.conf", trust, mode=0o644, sudo=True)
    return push_releases(releases.releases, archives, registry)


@pytest.fixture
def rebased(machine: Machine, releases: Releases, registry: Registry, images: dict[str, str]) -> RpmOstree:
    """rpm-ostree on a machine that follows the tag ``stable`` in the registry of the test, at the first release."""
    first = releases.releases[0]
    registry.tag(NAME, first.version, "stable")
    rpm_ostree = RpmOstree(machine)
    rpm_ostree("rebase", f"ostree-unverified-registry:{registry.reference(NAME)}:stable")
    machine.reboot()
    assert rpm_ostree.booted().is_release(first, images[first.commit].partition("@")[2]), "the rebase did not take"
    return rpm_ostree


@pytest.fixture
def agent(request: pytest.FixtureRequest, machine: Machine, update_server: UpdateServer) -> Agent:
    """Zincati, off until it is started, on a machine that is updated as it was installed: by commits, or by images."""
    rpm_ostree = RpmOstree(machine)
    if rpm_ostree.booted().image:
        by_images: Agent = request.getfixturevalue("image_agent")
        return by_images
    system: System = request.getfixturevalue("system")
    return Agent(system, rpm_ostree, update_server, {})


@pytest.fixture
def image_agent(
    machine: Machine, releases: Releases, rebased: RpmOstree, update_server: UpdateServer, images: dict[str, str]
) -> Agent:
    """Zincati on a machine that is updated by container images; off until it is started."""
    return Agent(System(machine, releases), rebased, update_server, images)
