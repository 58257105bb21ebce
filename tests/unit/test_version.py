"""Which kola it was: the version with a digest of the code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from kola import __version__
from kola.version import harness_version

ROOT = Path(__file__).parents[2]
SAY = "from kola.version import harness_version; print(harness_version())"


def say(folder: Path) -> str:
    return subprocess.run([sys.executable, "-c", SAY], cwd=folder, check=True, text=True, capture_output=True).stdout


def test_another_code_is_another_version(tmp_path: Path) -> None:
    assert re.fullmatch(re.escape(__version__) + r"\+[0-9a-f]{12}", harness_version())
    for package in ("kola", "platforms", "rehearsal"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    assert say(tmp_path).strip() == harness_version()
    shutil.rmtree(tmp_path / "rehearsal")
    assert say(tmp_path).strip() != harness_version(), "machines of a rehearsal are made by it"
    shutil.copytree(ROOT / "rehearsal", tmp_path / "rehearsal", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "kola/checks/__init__.py").open("a") as file:
        file.write("# changed\n")
    assert say(tmp_path).strip() != harness_version()
