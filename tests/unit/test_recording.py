"""The recorder is fed with the reports of a real pytest run."""

from __future__ import annotations

from pathlib import Path

import pytest

from kola.clonecache import Limits
from kola.images import Image
from kola.platform import Prepared
from kola.recording import ARTIFACTS, MACHINE, OUTCOME, Recorder
from kola.results import Outcome, RunRecord, read
from kola.run import RunInfo

TESTS = f"""
import pytest

def test_good(record_property):
    record_property("{MACHINE}", "kola-x-main-1")
    record_property("{ARTIFACTS}", "machines/kola-x-main-1")

def test_bad():
    raise ValueError("the reason")

@pytest.mark.skip(reason="not here")
def test_left_out():
    pass

@pytest.fixture
def broken():
    raise RuntimeError("set-up went wrong")

def test_no_setup(broken):
    pass

@pytest.fixture
def untidy():
    yield
    raise RuntimeError("tear-down went wrong")

def test_no_teardown(untidy):
    pass

def test_provider(record_property):
    record_property("{OUTCOME}", "provider-error")
    raise OSError("no quota")
"""


def info(output: Path) -> RunInfo:
    image = Image(Path("x.qcow2"), "qcow2", "0" * 64, "testos")
    prepared = Prepared("x.qcow2", "tcg")
    return RunInfo(
        "abcd", "me", "qemu", None, "x86_64", image, prepared, output, output, output, 1000, "never", 1, False, Limits()
    )


class Feed:
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.recorder.report(report)


@pytest.fixture
def record(pytester: pytest.Pytester, tmp_path: Path) -> RunRecord:
    recorder = Recorder(info(tmp_path))
    assert read(tmp_path / "results.json").complete is False
    path = pytester.makepyfile(TESTS)
    facts = {"description": "", "covers": "", "tags": [], "isolation": ""}
    recorder.plan({f"{path.name}::test_good": facts, f"{path.name}::test_never": facts})
    pytester.inline_run("-p", "no:xdist", "-p", "no:cacheprovider", plugins=[Feed(recorder)])
    recorder.finish(1, complete=True)
    return read(tmp_path / "results.json")


def test_every_phase_counts(record: RunRecord) -> None:
    outcomes = {nodeid.partition("::")[2]: test.outcome for nodeid, test in record.tests.items()}
    assert outcomes == {
        "test_good": Outcome.PASSED,
        "test_bad": Outcome.FAILED,
        "test_left_out": Outcome.SKIPPED,
        "test_no_setup": Outcome.FAILED,
        "test_no_teardown": Outcome.FAILED,
        "test_provider": Outcome.PROVIDER_ERROR,
        "test_never": Outcome.NOT_RUN,
    }
    assert (record.complete, record.exit_code) == (True, 1)


def test_reasons_machines_and_phases(record: RunRecord) -> None:
    tests = {nodeid.partition("::")[2]: test for nodeid, test in record.tests.items()}
    assert tests["test_bad"].reason == "ValueError: the reason"
    assert tests["test_left_out"].reason == "not here"
    assert tests["test_no_setup"].reason == "RuntimeError: set-up went wrong"
    assert tests["test_good"].machines == ["kola-x-main-1"]
    assert tests["test_good"].artifacts == ["machines/kola-x-main-1"]
    assert set(tests["test_good"].phases) == {"setup", "call", "teardown"}
