from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.unit.gate.world import World, make_world


@pytest.fixture(scope="session")
def good_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(good_world: World, tmp_path: Path) -> World:
    """One to break."""
    folder = tmp_path / "world"
    shutil.copytree(good_world.folder, folder)
    return World(folder, good_world.now)
