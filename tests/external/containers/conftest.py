"""podman for root and for an ordinary user."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kola.machine import Machine
from tests.external.containers.podman import Podman


@pytest.fixture(params=["root", "core"], ids=["root", "rootless"])
def podman(request: pytest.FixtureRequest, machine: Machine) -> Iterator[Podman]:
    """podman as each of both; the machine may be shared, so what the test made goes."""
    podman = Podman(machine, request.param)
    yield podman
    podman.remove_all()
