"""One run: its record, its time limit, its end by Ctrl-C. What stands for pytest is a script that writes a record."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kola.filelock import FileLock
from kola.jobs.process import Interrupts
from kola.results import ExitCode, MachineRecord, Outcome, RunRecord, TestRecord
from trust.faults import Fault, Kind
from trust.kolafault import APPLIED
from trust.planning import Key
from trust.running import Bench, Interrupted, Job
from trust.store import RUN

ROOT = Path(__file__).parents[3]
TEST = "tests/external/basic/test_health.py::test_units"


class Scripted(Bench):
    """Runs a line of shell script instead of pytest."""

    def command(self, job: Job) -> list[str]:
        return ["bash", "-c", job.arguments[0]]


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    with Interrupts() as counted:
        yield counted


@pytest.fixture
def bench(tmp_path: Path, interrupts: Interrupts) -> Iterator[Bench]:
    with FileLock(tmp_path / ".lock") as lock:
        yield Scripted(root=ROOT, lock=lock, interrupts=interrupts)


def fault(kind: Kind = Kind.LIVE) -> Fault:
    return Fault(name="some", title="x", why="y", kind=kind, suites=("a",), names=("x",), source=Path("some"))


def job(folder: Path, script: str, *, seconds: float = 60.0, about: Fault | None = None) -> Job:
    return Job(name="some", folder=folder, arguments=(script,), key=Key("f", "s"), fault=about, seconds=seconds)


def prepared(folder: Path, outcome: Outcome, *, given: bool = True) -> str:
    """A record that the script puts into its place; returns the script."""
    test = TestRecord(TEST, outcome, started=1005.0, duration=1.0, text="unit", reason="unit", machines=["one"])
    record = RunRecord("id", "0.1", 1000.0, tests={TEST: test}, machines={"one": MachineRecord("one", up=1004.0)})
    record.complete, record.exit_code = True, ExitCode.FAILED if outcome is Outcome.FAILED else ExitCode.PASSED
    folder.mkdir(exist_ok=True)
    record.write(folder / "made.json")
    machine = folder / RUN / "machines/one"
    applied = f"&& touch {machine}/{APPLIED}" if given else ""
    return f"mkdir -p {machine} {applied} && cp {folder}/made.json {folder / RUN}/results.json; echo the end"


def test_a_run_and_what_it_showed(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    found = bench.run(job(folder, prepared(folder, Outcome.FAILED), about=fault()))
    assert found.key == Key("f", "s")
    assert [(failure.test, failure.seconds) for failure in found.seen.failures] == [
        ("basic/test_health.py::test_units", 2)
    ]
    assert found.is_result
    assert len(found.seen.commit) == 40
    assert (folder / "pytest.log").read_text() == "the end\n"


def test_a_machine_without_the_fault(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    found = bench.run(job(folder, prepared(folder, Outcome.PASSED, given=False), about=fault()))
    assert (found.seen.not_applied, found.seen.problem) == (True, "machines without the fault: one")
    clean = bench.run(job(folder, prepared(folder, Outcome.PASSED, given=False)))
    assert clean.is_result, "a clean run has none"


def test_an_earlier_record_is_not_taken_for_this_ones(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    bench.run(job(folder, prepared(folder, Outcome.PASSED), about=fault()))
    found = bench.run(job(folder, "echo; echo no such option >&2; exit 4", about=fault()))
    assert found.seen.problem == "pytest ended with 4 and left no record: no such option"
    assert not found.is_result


def test_a_run_that_takes_too_long_is_ended(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    script = prepared(folder, Outcome.PASSED) + "; sleep 100"
    found = bench.run(job(folder, script, seconds=1.0, about=fault()))
    assert found.seen.cut_short
    assert found.seen.seconds < 60


def test_ctrl_c_ends_the_run_and_leaves_no_result(bench: Bench, interrupts: Interrupts, tmp_path: Path) -> None:
    signal.raise_signal(signal.SIGINT)
    assert interrupts.count == 1
    with pytest.raises(Interrupted):
        bench.run(job(tmp_path / "some", "exec sleep 100", about=fault()))


def test_a_fault_of_the_test_os_does_not_come_into_another_image(interrupts: Interrupts, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock") as lock:
        other = Scripted(root=ROOT, image="other.qcow2", lock=lock, interrupts=interrupts)
        found = other.run(job(tmp_path / "some", "exit 1", about=fault(Kind.IMAGE)))
    assert found.seen.not_applied
    assert found.seen.problem == "it is a fault of the test OS's image, not of other.qcow2"


def test_an_image_that_cannot_be_built(interrupts: Interrupts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    build = tmp_path / "ci/testos/build"
    build.parent.mkdir(parents=True)
    build.write_text('#!/bin/sh\necho "ERROR: no $2" >&2\nexit 1\n')
    build.chmod(0o755)
    with FileLock(tmp_path / ".lock") as lock:
        bench = Scripted(root=tmp_path, lock=lock, interrupts=interrupts)
        found = bench.run(job(tmp_path / "some", "exit 1", about=fault(Kind.IMAGE)))
    assert (found.seen.not_applied, found.seen.problem) == (True, "the image could not be built: ERROR: no some")


def test_what_pytest_is_told(interrupts: Interrupts, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock") as lock:
        bench = Bench(root=ROOT, image="good", lock=lock, interrupts=interrupts, workers=2, beside=3)
        live = bench.command(job(tmp_path, "some_test.py", about=fault()))
        image = bench.command(job(tmp_path, "some_test.py", about=fault(Kind.IMAGE)))
        clean = bench.command(job(tmp_path, "some_test.py"))
    assert live[:4] == [sys.executable, "-m", "pytest", "-v"]
    assert live[live.index("--kola-fault") + 1] == "some"
    assert {"--image=good", "--platform=qemu", f"--kola-output={tmp_path}", "--run-name=run"} <= set(live)
    assert live[live.index("-n") + 1] == "2"
    assert "--memory-budget=26%" in live
    assert "--image=testos:some" in image
    assert "--kola-fault" not in {*image, *clean}
    assert "--image=good" in clean
