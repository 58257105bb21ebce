"""The fixtures that tests get: machines, and services on this host for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kola.errors import ConfigError
from kola.needs import Needs
from kola.platform import load_platform
from kola.spec import Capability

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from kola.fleetlock import FleetLock
    from kola.flight import Reservation
    from kola.httpd import HttpServer
    from kola.machine import Machine
    from kola.registry import Registry
    from kola.services import Services
    from kola.updates import UpdateServer

NEEDS = pytest.StashKey[Needs]()
"""What a test needs, of its marker or of its own metadata; it has one if it gets machines."""
WARN = pytest.StashKey[str]()
"""Why a test's failure is only a warning."""
RESERVATION = pytest.StashKey["Reservation"]()
"""What the test may launch; there while its fixtures live."""

MACHINES = frozenset({"machine", "machines", "flight"})
SERVICES = frozenset({"http_server", "https_server", "registry", "update_server", "fleet_lock"})


def used_by(item: pytest.Item) -> frozenset[str]:
    """Return which fixtures of this module the test gets, not those of its own that have the same names."""
    definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    ours = (name for name, found in definitions.items() if found[-1].func.__module__ == __name__)
    return (MACHINES | SERVICES).intersection(ours)


def capabilities(names: Collection[str]) -> frozenset[Capability]:
    """Return what a platform must be able to do for these fixtures."""
    return frozenset({Capability.HOST_SERVICES}) if SERVICES.intersection(names) else frozenset()


def _reservation(request: pytest.FixtureRequest) -> Reservation:
    reservation: Reservation | None = request.node.stash.get(RESERVATION, None)
    if reservation is None:
        raise ConfigError("machines and services are for tests only, not for fixtures of wider scope")
    return reservation


@pytest.fixture
def kola_attempt(request: pytest.FixtureRequest) -> int:
    """Which of the times this is that ``--multiply`` runs a test, from 0 on."""
    return int(request.param)


@pytest.fixture
def machine(request: pytest.FixtureRequest) -> Machine:
    """One machine, as the test's kola marker wants it; up, and SSH answers."""
    return _reservation(request).launch()


@pytest.fixture
def machines(request: pytest.FixtureRequest) -> list[Machine]:
    """As many machines as the marker's ``machines=`` says; all up."""
    return _reservation(request).launch_all()


@pytest.fixture
def flight(request: pytest.FixtureRequest) -> Reservation:
    """For tests that launch their machines themselves: ``flight.launch(config)``, up to ``machines=`` of them."""
    return _reservation(request)


@pytest.fixture
def http_server(request: pytest.FixtureRequest) -> Iterator[HttpServer]:
    """An HTTP server on this host that guests reach at ``http_server.url(path)``; see docs/services.md."""
    with _services(request).http() as server:
        yield server


@pytest.fixture
def https_server(request: pytest.FixtureRequest) -> Iterator[HttpServer]:
    """The same with TLS, by a certificate authority of its own: ``https_server.authority.pem``."""
    with _services(request).https() as server:
        yield server


@pytest.fixture
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """An empty container registry on this host; guests name its images ``registry.reference("app:v1")``."""
    with _services(request).registry(tmp_path / "registry") as registry:
        yield registry


@pytest.fixture
def update_server(request: pytest.FixtureRequest) -> Iterator[UpdateServer]:
    """A server of update graphs, as Zincati asks for them at ``update_server.base_url``; nothing is published yet."""
    with _services(request).updates() as updates:
        yield updates


@pytest.fixture
def fleet_lock(request: pytest.FixtureRequest) -> Iterator[FleetLock]:
    """A lock manager for reboots, which Zincati reaches at ``fleet_lock.base_url``; one slot, free."""
    with _services(request).fleet_lock() as lock:
        yield lock


def _services(request: pytest.FixtureRequest) -> Services:
    info = _reservation(request).flight.info
    # These fixtures are known to every pytest process, HTTP and TLS are loaded in one whose tests get them.
    from kola.services import Services  # noqa: PLC0415

    return Services(load_platform(info.platform).host_address, info.prepared.slowness)
