"""What every test of updates starts with: a machine of the first release that follows a repository on this host."""

from __future__ import annotations

import pytest

from kola.flight import Reservation
from kola.httpd import HttpServer
from kola.machine import Machine
from kola.releases import Releases
from tests.external.upgrade.system import System


@pytest.fixture
def releases(flight: Reservation) -> Releases:
    """The releases that the image of this run can be updated to."""
    found = flight.flight.info.image.updates
    if found is None:
        pytest.skip("the image brings no updates (image.json: updates)")
    return found


@pytest.fixture
def system(machine: Machine, releases: Releases, http_server: HttpServer) -> System:
    """The machine, ready to be updated."""
    http_server.mount("/repo", releases.repo)
    system = System(machine, releases)
    system.follow(http_server.url("/repo"))
    return system
