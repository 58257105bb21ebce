"""What several unit tests need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.image_files import make_disks


@pytest.fixture(scope="session")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One disk in every form of image file; not to be changed."""
    return make_disks(tmp_path_factory.mktemp("disks"))
