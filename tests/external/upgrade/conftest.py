"""What every test of updates starts with: a machine of the first release whose updates are on this host."""

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
from tests.external.upgrade.ways import (
    UNVERIFIED,
    CommitsByOstree,
    CommitsByRpmOstree,
    ImagesByRpmOstree,
    Source,
    follow,
)
from tests.external.upgrade.zincati import ONLY_IMAGES, Agent


def rpm_ostree_of(machine: Machine) -> RpmOstree | None:
    """Return rpm-ostree on a machine, None if it has none."""
    there = machine.run("command -v rpm-ostree", check=False).exit_code == 0
    return RpmOstree(machine) if there else None


@pytest.fixture
def releases(flight: Reservation) -> Releases:
    """The releases that the image of this run can be updated to."""
    found = flight.image.updates
    if found is None:
        pytest.skip("the image brings no updates (image.json: updates)")
    return found


@pytest.fixture
def system(
    request: pytest.FixtureRequest,
    machine: Machine,
    http_server: HttpServer,  # noqa: ARG001 - that a server on this host is needed is known before the machine boots
) -> System:
    """The machine, ready to be updated as it was installed: by container images, or by commits."""
    rpm_ostree = rpm_ostree_of(machine)
    by_images = rpm_ostree is not None and bool(rpm_ostree.booted().image)
    found: System = request.getfixturevalue("system_by_images" if by_images else "system_by_commits")
    return found


@pytest.fixture
def system_by_commits(machine: Machine, releases: Releases, http_server: HttpServer) -> System:
    """The machine, ready to be updated from an OSTree repository; skipped where it is updated by images."""
    rpm_ostree = rpm_ostree_of(machine)
    if rpm_ostree is not None and rpm_ostree.booted().image:
        pytest.skip("the image is installed from a container image: it is not updated by OSTree commits")
    if releases.repo is None:
        pytest.skip("there is no OSTree repository with the releases, only container images")
    http_server.mount("/repo", releases.repo)
    follow(machine, releases.remote, http_server.url("/repo"))
    source = Source.repository(http_server)
    if rpm_ostree is None:
        return System(machine, releases, CommitsByOstree(machine, source))
    return System(machine, releases, CommitsByRpmOstree(rpm_ostree, source, releases.remote))


@pytest.fixture
def system_by_images(machine: Machine, releases: Releases, registry: Registry, images: dict[str, str]) -> System:
    """The machine, installed from a container image and ready to be updated to others."""
    rpm_ostree = RpmOstree(machine)
    system = System(machine, releases, ImagesByRpmOstree(rpm_ostree, Source.registry(registry), images))
    first = releases.releases[0]
    if system.booted() != system.name(first):  # the same system, installed from a copy of the image
        rpm_ostree.install(f"{UNVERIFIED}:{system.way.payload(first)}")
    return system


@pytest.fixture
def rpm_ostree(system: System) -> RpmOstree:
    """rpm-ostree on that machine."""
    return RpmOstree(system.machine)


@pytest.fixture
def images(machine: Machine, releases: Releases, registry: Registry) -> dict[str, str]:
    """The releases as images in a registry that the machine trusts: commit -> ``NAME@DIGEST``."""
    archives = [Path(release.image) for release in releases.releases if release.image]
    if len(archives) < len(releases.releases):
        pytest.skip("there is no OCI archive of some release (image.json: updates: image; meta.json: images.ostree)")
    trust = f'[[registry]]\nlocation = "{registry.server.address}:{registry.server.port}"\ninsecure = true\n'
    machine.write_file("/etc/containers/registries.conf.d/99-kola.conf", trust, mode=0o644, sudo=True)
    return push_releases(releases.releases, archives, registry)


@pytest.fixture
def rebased(machine: Machine, releases: Releases, registry: Registry, images: dict[str, str]) -> System:
    """A machine that follows the tag of its stream in the registry of the test, at the first release."""
    first = releases.releases[0]
    registry.tag(NAME, first.version, first.stream)
    rpm_ostree = RpmOstree(machine)
    rpm_ostree.install(f"{UNVERIFIED}:{registry.reference(NAME)}:{first.stream}")
    system = System(machine, releases, ImagesByRpmOstree(rpm_ostree, Source.registry(registry), images))
    system.expect_only(first)
    return system


@pytest.fixture
def agent(request: pytest.FixtureRequest, machine: Machine, update_server: UpdateServer) -> Agent:
    """Zincati, off until it is started, on a machine that is updated as it was installed: by commits, or by images."""
    if RpmOstree(machine).booted().image:
        by_images: Agent = request.getfixturevalue("image_agent")
        return by_images
    if machine.run(ONLY_IMAGES, check=False).exit_code == 0:
        pytest.skip("the image is installed from an OSTree commit, and its Zincati (after 0.0.31) knows only images")
    system: System = request.getfixturevalue("system_by_commits")
    return Agent(system, update_server)


@pytest.fixture
def image_agent(rebased: System, update_server: UpdateServer) -> Agent:
    """Zincati on a machine that is updated by container images; off until it is started."""
    return Agent(rebased, update_server)
