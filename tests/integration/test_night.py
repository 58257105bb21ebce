"""``ci/nightly``, stopped: the test OS is the image, machines are simulated, one test waits until it is let go on."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kola.results import ExitCode, read
from kola.wait import wait_until
from tests.integration.conftest import ROOT, heed_signals, needs_testos

MATRIX = """
streams.testos.image = "testos"
platforms.sim.driver = "tests.simulation.platform:Simulated"
suites.slow.paths = ["{folder}/test_slow.py"]

[[cells]]
streams = ["testos"]
platforms = ["sim"]
arches = ["x86_64"]
suites = ["slow"]
cadence = "build"
workers = 1
"""
POLICY = """
[results]
matrix = "matrix.toml"
cadence = "build"
max_age_hours = 1
[history]
required = false
"""
SLOW = """
import os, pathlib, time

def test_it():
    folder = pathlib.Path(__file__).parent
    (folder / "began").write_text(str(os.getpid()))
    while not (folder / "go").exists():
        time.sleep(0.05)
"""
JOB = "testos.sim.x86_64.slow"
pytestmark = [needs_testos, pytest.mark.timeout(300)]


class Night:
    """Calls of ``ci/nightly`` for one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.called: list[subprocess.Popen[str]] = []
        (folder / "matrix.toml").write_text(MATRIX.format(folder=folder))
        (folder / "gate.toml").write_text(POLICY)
        (folder / "test_slow.py").write_text(SLOW)

    def call(self) -> subprocess.Popen[str]:
        command: list[str | Path] = [ROOT / "ci/nightly", "matrix", "--stream=testos"]
        command += ["--policy", self.folder / "gate.toml", "--output", self.folder / "night"]
        process = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=heed_signals,  # noqa: PLW1509 - no threads here
        )  # fmt: skip
        self.called.append(process)
        return process

    def wait_for_test(self) -> None:
        night = self.called[-1]
        wait_until(
            lambda: (self.folder / "began").exists() or night.poll() is not None, 120, what="the test that waits"
        )
        assert night.poll() is None, night.communicate()[0]

    def matrix_run(self) -> psutil.Process:
        """Return the process of ``kola matrix run`` that works on the folder."""
        (found,) = [
            process
            for process in psutil.process_iter(["cmdline"])
            if process.info["cmdline"] and {"matrix", "run", str(self.folder / "night")} <= set(process.info["cmdline"])
        ]
        return found


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    made = Night(tmp_path)
    yield made
    (tmp_path / "go").touch()
    for process in made.called:
        process.communicate(timeout=120)


def test_ctrl_c_asks_for_no_verdict_and_the_same_command_goes_on(night: Night) -> None:
    process = night.call()
    night.wait_for_test()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    assert "interrupted: the same command goes on with it" in out
    assert not list((night.folder / "night").glob("verdict-*"))

    (night.folder / "go").touch()
    process = night.call()
    out, _ = process.communicate(timeout=120)
    record = read(night.folder / "night" / JOB / "results.json")
    assert (record.complete, record.exit_code, record.counts()["passed"]) == (True, ExitCode.PASSED, 1), out
    assert (night.folder / "night/verdict-testos.json").exists()
    assert out.splitlines()[-1] == f"report: {night.folder}/night/report.html"


def test_a_run_that_outlived_its_night_is_named(night: Night) -> None:
    process = night.call()
    night.wait_for_test()
    run = night.matrix_run()
    process.kill()  # the script alone: what it called goes on
    process.wait()
    other = night.call()
    out, _ = other.communicate(timeout=120)
    assert other.returncode == ExitCode.USAGE_ERROR, out
    assert f"pid {run.pid} works on it still; wait for it, or end it by 'kill PID'" in out
    run.terminate()
    run.wait(60)


@pytest.mark.slow
def test_a_job_over_its_time_is_the_gates_to_judge(night: Night) -> None:
    matrix = night.folder / "matrix.toml"
    matrix.write_text(matrix.read_text() + "timeout_min = 1\n")
    out, _ = night.call().communicate(timeout=240)
    night.called[-1].wait()
    assert night.called[-1].returncode == ExitCode.FAILED, out
    assert "not over after 1 min" in out
    assert (night.folder / "night/verdict-testos.json").exists()
    assert out.splitlines()[-1] == f"report: {night.folder}/night/report.html"
