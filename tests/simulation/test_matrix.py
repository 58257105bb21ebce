"""`kola matrix run`: real runs of pytest on simulated machines' platform, stopped in all ways and gone on with."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from kola import matrix
from kola.jobs.board import Board
from kola.jobs.folder import Subject, locked
from kola.jobs.running import Runs, Share
from kola.results import ExitCode, RunRecord, read
from kola.wait import wait_until

ROOT = Path(__file__).parents[2]
MATRIX = """
[streams]
os.image = "image.raw"

[platforms]
sim.driver = "tests.simulation.platform:Simulated"

[suites]
good.paths = ["good.py"]
bad.paths = ["bad.py"]
slow.paths = ["slow.py"]

[[cells]]
streams = ["os"]
platforms = ["sim"]
arches = ["x86_64"]
suites = ["good", "bad", "slow"]
cadence = "build"
workers = 1
timeout_min = 5
"""
GOOD, BAD, SLOW = "os.sim.x86_64.good", "os.sim.x86_64.bad", "os.sim.x86_64.slow"
SUITES = {
    "good.py": "def test_it(): pass",
    "bad.py": "def test_it(): assert False",
    # On a machine, with a program of its own, until it is told to go on.
    "slow.py": """
import os, pathlib, subprocess, time, pytest

@pytest.mark.kola(isolation="fresh", memory_mib=256)
def test_first(machine):
    child = subprocess.Popen(["sleep", "1000"])
    pathlib.Path("began").write_text(f"{os.getpgrp()}")
    while not os.path.exists("go"):
        time.sleep(0.05)
    child.kill()
    child.wait()

def test_second(): pass
""",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "image.raw").write_bytes(b"\0" * 510 + b"\x55\xaa")
    (tmp_path / "pytest.ini").write_text("[pytest]\npython_files = *.py\n")
    (tmp_path / "m.toml").write_text(MATRIX)
    for name, text in SUITES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "kola", "matrix", "--matrix=m.toml", "run", "--output=out", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "KOLA_CACHE": str(Path.cwd() / "cache"), "KOLA_SIMULATED_TESTS": "0"}


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments),
        env=environment(),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def run(*arguments: str) -> tuple[int, str]:
    process = start(*arguments)
    out, _ = process.communicate(timeout=120)
    return process.returncode, out


def record(job: str) -> RunRecord:
    return read(Path("out") / job / "results.json")


def states() -> dict[str, dict[str, Any]]:
    return {job["name"]: job for job in json.loads(Path("out/matrix.json").read_text())["jobs"]}


def began() -> int:
    """Wait for the test that waits; return the process group of its job."""
    return int(wait_until(lambda: Path("began").exists() and Path("began").read_text(), 60, what="the slow test"))


def processes() -> list[str]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return found


def of_group(group: int) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.Error, ProcessLookupError):
            continue
    return found


def nothing_left(group: int) -> None:
    wait_until(lambda: not of_group(group), 30, what=f"the end of {of_group(group)}")
    wait_until(lambda: not list(Path("cache/runs").glob("*")), 30, what="the reaper")


def test_a_whole_run_and_another_of_the_same(project: Path) -> None:
    (project / "go").touch()
    code, out = run("--jobs=2")
    assert code == ExitCode.FAILED, out
    assert {name: (state["phase"], state["code"]) for name, state in states().items()} == {
        GOOD: ("done", 0),
        BAD: ("done", 1),
        SLOW: ("done", 0),
    }
    first = {name: record(name) for name in (GOOD, BAD, SLOW)}
    assert {each.name for each in first.values()} == {GOOD, BAD, SLOW}
    assert all(each.complete for each in first.values())
    assert "3 jobs: 2 passed, 1 failed" in out
    assert "1/1 tests, 1 failed" in out
    assert "assert False" in (project / f"out/jobs/{BAD}.log").read_text()
    log = (project / "out/matrix.log").read_text()
    assert log.count("begins") == 3
    assert f" {BAD}: failed, 1/1 tests, 1 failed" in log

    code, out = run()
    assert code == ExitCode.FAILED
    assert out.count("run before") == 6, "a line each, and the table"
    assert {name: record(name).run_id for name in first} == {name: each.run_id for name, each in first.items()}


def test_after_sigkill_only_the_rest_is_run(project: Path) -> None:
    process = start("--suite=good", "--suite=slow")
    group = began()
    good = record(GOOD).run_id
    status = subprocess.run(
        [sys.executable, "-m", "kola", "matrix", "status", "--output=out"],
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"{SLOW}  running" in status.stdout
    assert f"pid {process.pid} works on it" in status.stdout
    process.kill()
    process.communicate()
    (project / "go").touch()  # for the next; this one has been interrupted, or goes on to be
    code, out = run("--suite=good", "--suite=slow")
    assert code == ExitCode.PASSED, out
    nothing_left(group)
    assert record(GOOD).run_id == good
    assert record(SLOW).counts()["passed"] == 2


def test_ctrl_c_ends_jobs_in_good_order(project: Path) -> None:
    process = start("--suite=slow", "--suite=good", "--jobs=1")
    group = began()
    other = run("--suite=good")
    assert other[0] == ExitCode.USAGE_ERROR
    assert f"'kola matrix run' works there already (pid {process.pid})" in other[1]
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=100)
    assert process.returncode == ExitCode.INTERRUPTED, out
    nothing_left(group)
    cut_short = record(SLOW)
    assert (cut_short.complete, cut_short.exit_code) == (False, ExitCode.INTERRUPTED)
    assert cut_short.counts()["not-run"] == 1, "pytest wrote its record when it ended"
    assert (states()[SLOW]["code"], states()[SLOW]["phase"]) == (2, "done")
    (project / "go").touch()
    code, out = run("--suite=slow", "--suite=good")
    assert code == ExitCode.PASSED, out
    assert out.count("run before") == 2, "good was done before slow began"
    assert record(SLOW).counts()["passed"] == 2


def test_a_job_that_takes_too_long_is_ended_and_the_others_go_on(project: Path) -> None:
    made = matrix.read(project / "m.toml")
    with locked(project / "out", print) as folder, (project / "shown").open("w") as stream:
        runs = Runs(
            made.jobs(matrix.Choice(jobs=[GOOD, SLOW])),
            folder,
            Board(stream, folder.path / "matrix.log"),
            Share(2, 2),
            subject=lambda job: Subject(job.arguments, "x"),
            environment=environment(),
        )
        runs.states[SLOW].limit = 1.0
        assert runs.run() == ExitCode.INTERRUPTED
    assert [line for line in processes() if f"--run-name={SLOW}" in line and str(project) in line] == []
    assert (runs.states[SLOW].verdict, runs.states[SLOW].why) == ("interrupted", "not over after 5 min")
    assert runs.states[GOOD].verdict == "passed"
    assert f"{SLOW}: interrupted, " in (project / "shown").read_text()
