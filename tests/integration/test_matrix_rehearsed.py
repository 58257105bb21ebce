"""`kola matrix run` of a cell on a cloud that this host serves itself; no machine is booted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kola.results import read

ROOT = Path(__file__).parents[2]
MATRIX = """
streams.os.image = "testos"
platforms.aws = {}
suites.good.paths = ["test_good.py"]

[[cells]]
streams = ["os"]
platforms = ["aws"]
arches = ["x86_64"]
suites = ["good"]
cadence = "build"
runner = "rehearse"
workers = 1
"""
JOB = "os.aws.x86_64.good"


@pytest.mark.timeout(300)
def test_a_rehearsed_cell(tmp_path: Path) -> None:
    (tmp_path / "matrix.toml").write_text(MATRIX)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_good.py").write_text("def test_it(): pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "kola", "matrix", "--matrix=matrix.toml", "run", "--output=out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    log = tmp_path / f"out/jobs/{JOB}.log"
    assert done.returncode == 0, done.stdout + done.stderr + (log.read_text() if log.exists() else "")
    record = read(tmp_path / "out" / JOB / "results.json")
    assert (record.name, record.complete, record.targets[0].platform) == (JOB, True, "aws")
    assert record.targets[0].image.reference.startswith("cloud:")
