"""The matrix is run on simulated machines, its results are signed, and the gate believes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from kola.arch import host_arch
from kola.cli import main
from kola.results import Outcome, read

ROOT = Path(__file__).parents[2]
ARCH = host_arch().name
MATRIX = f"""
[streams]
testing.image = "image.raw"
[platforms]
simulated.driver = "tests.simulation.platform:Simulated"
[suites]
basic.paths = ["basic"]
[[cells]]
streams = ["testing"]
platforms = ["simulated"]
arches = ["{ARCH}"]
suites = ["basic"]
cadence = "build"
shards = 2
workers = 1
"""
POLICY = """
[results]
matrix = "matrix.toml"
cadence = "build"
max_age_hours = 1
keys = ["key.pub"]
[history]
required = false
"""
SUITE = """
from pathlib import Path

import pytest

@pytest.mark.kola(isolation="shared")
@pytest.mark.parametrize("number", range(4))
def test_many(machine, number): assert machine.boot_id

@pytest.mark.kola()
def test_alone(machine): assert not Path("broken").exists()

@pytest.mark.kola()
def test_x(machine): assert machine.boot_id
"""


def run_matrix(folder: Path) -> int:
    command = [sys.executable, "-m", "kola", "matrix", "run", "--matrix", "matrix.toml", "--output", "results"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KOLA_CACHE": str(folder / "cache")}
    return subprocess.run(
        [*command, "--sign-key", "key.pem"], cwd=folder, env=environment, stdin=subprocess.DEVNULL, check=False
    ).returncode


def test_the_way_from_the_matrix_to_the_verdict(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    private = Ed25519PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "key.pub").write_bytes(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "image.raw").write_bytes(b"\0" * 510 + b"\x55\xaa")
    known = {"schema": 1, "build_id": "42.1", "stream": "testing", "arch": ARCH}
    (tmp_path / "image.raw.image.json").write_text(json.dumps(known))
    (tmp_path / "matrix.toml").write_text(MATRIX)
    (tmp_path / "gate.toml").write_text(POLICY)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "basic").mkdir()
    (tmp_path / "basic/test_it.py").write_text(SUITE)
    question = ["gate", "--stream=testing", f"--results={tmp_path / 'results'}", f"--policy={tmp_path / 'gate.toml'}"]

    assert run_matrix(tmp_path) == 0, capfd.readouterr()
    assert main([*question, "--build=42.1"]) == 0, capfd.readouterr().out
    records = [read(path) for path in sorted((tmp_path / "results").glob("testing.*/results.json"))]
    assert sum(record.counts()[Outcome.PASSED] for record in records) == 6
    capfd.readouterr()
    assert main([*question, "--build=42.2"]) == 1
    assert "is of build 42.1, not of 42.2" in capfd.readouterr().out

    (tmp_path / "broken").touch()
    for record in records:  # else there would be nothing to run
        (tmp_path / "results" / record.name / "results.json").unlink()
    assert run_matrix(tmp_path) == 1
    capfd.readouterr()
    assert main([*question, "--build=42.1"]) == 1
    output = capfd.readouterr().out
    assert f"failed: testing.simulated.{ARCH}.basic::basic/test_it.py::test_alone: " in output
    assert output.rstrip().endswith("hold: 1 reason")
