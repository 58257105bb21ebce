"""Real guests in rehearsed clouds: SDK, endpoint, guest, that provider's part of Ignition, SSH, console, nothing left.

pytest runs in a process of its own, as a user starts it. One machine a cloud here; whole suites are ``slow``.
"""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
CLOUDS = ["aws", "azure", "gcp"]
SUITE = """
import pytest

from kola.machine import Machine

CONFIG = {"ignition": {"version": "3.0.0"}, "storage": {"files": [
    {"path": "/etc/rehearsed", "contents": {"source": "data:,%s"}}]}}


@pytest.mark.kola(ignition=CONFIG)
def test_provisioned(machine: Machine) -> None:
    assert machine.run("head -c 4 /etc/rehearsed").stdout == "aaaa"
    assert f"ignition.platform.id={%r}" in machine.run("cat /proc/cmdline").stdout
    assert "login:" in machine.instance.console()


@pytest.mark.kola(needs=["docker"])
def test_what_the_image_lacks(machine: Machine) -> None:
    raise AssertionError("it is not known what the image has")
"""


def rehearse(cloud: str, *arguments: str, folder: Path) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
    """Run pytest on a rehearsed cloud; return how it ended, and the outcome of each test."""
    output = folder / "runs"
    kola = str(Path(sys.executable).with_name("kola"))
    command = [kola, "rehearse", cloud, "--", f"--kola-output={output}", "-v", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=570, check=False)
    results = json.loads((output / "latest" / "results.json").read_text())
    return done, {test["nodeid"]: test["outcome"] for test in results["tests"]}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_one_machine(cloud: str, tmp_path: Path) -> None:
    """Its config is larger than the user data may be, and so is packed."""
    suite = tmp_path / "test_rehearsed.py"
    suite.write_text(SUITE % ("a" * 300_000, cloud))
    done, outcomes = rehearse(cloud, str(suite), folder=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert list(outcomes.values()) == ["passed", "skipped"]
    assert " instance-hours (1 x " in done.stdout
    ours = [
        process for process in psutil.process_iter(["cmdline"]) if "127.18." in " ".join(process.info["cmdline"] or ())
    ]
    assert ours == []


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["basic", "containers", "selinux"])
@pytest.mark.parametrize("cloud", CLOUDS)
def test_suites(cloud: str, suite: str, tmp_path: Path) -> None:
    done, outcomes = rehearse(cloud, f"tests/external/{suite}", folder=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "passed" in outcomes.values()
