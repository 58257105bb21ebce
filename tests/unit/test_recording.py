"""The recorder is fed with the reports of a real pytest run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kola.clonecache import Limits
from kola.external.sharding import Shard
from kola.images import Image
from kola.lives import FILE, Lives
from kola.platform import Prepared
from kola.recording import ARTIFACTS, MACHINE, OUTCOME, Recorder, suite_of
from kola.rerun import Reruns
from kola.results import Outcome, RunRecord, Share, read
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
    prepared = Prepared("ami-1", "cloud")
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
    assert "ValueError: the reason" in tests["test_bad"].text
    assert "tear-down went wrong" in tests["test_no_teardown"].text
    assert not tests["test_good"].text
    assert not tests["test_left_out"].text
    assert tests["test_never"].started is None
    assert record.started - 1 < (tests["test_good"].started or 0) < (record.finished or 0)
    assert tests["test_good"].first_failure is None


def test_the_target_is_what_machines_booted_of_the_image_itself(tmp_path: Path) -> None:
    recorder = Recorder(info(tmp_path), shard=Shard(2, 3))
    lives = Lives(tmp_path / FILE)
    lives.reached("one", "created", worker="gw0", origin="boot", memory_mib=1024, artifacts="machines/one")
    lives.reached("one", "up")
    recorder.finish(0, complete=True)
    lives.tell("one", deployment="1" * 64)
    lives.tell("before", deployment="0" * 64, updated=True)
    lives.tell("silent", deployment="")
    with (tmp_path / FILE).open("a") as file:
        file.write('{"name": "half')  # of a process that writes just now
    recorder.finish(0, complete=True)
    record = read(tmp_path / "results.json")
    (target,) = record.targets
    assert (target.deployments, target.image.platform_id) == (["1" * 64], "ami-1")
    assert sorted(record.machines) == ["before", "one", "silent"]
    one = record.machines["one"]
    assert (one.worker, one.memory_mib, one.gone) == ("gw0", 1024, None)
    assert (one.created or 0) <= (one.up or 0)
    assert record.shard == Share(2, 3)
    assert record.artifacts == ["machines.jsonl"]


@pytest.mark.parametrize(
    ("nodeid", "suite"),
    [
        ("tests/external/basic/test_ssh.py::test_login[a/b::c]", "basic"),
        ("test_ssh.py::test_login", "tests"),
        ("../config/tests/kola/files/test.sh::ext.config.files", "config"),
    ],
)
def test_a_suite_is_a_folder_or_a_project(nodeid: str, suite: str) -> None:
    assert suite_of(nodeid) == suite


def test_the_first_try_of_a_test_that_was_run_again(pytester: pytest.Pytester, tmp_path: Path) -> None:
    recorder = Recorder(info(tmp_path), suite="mine")
    path = pytester.makepyfile(f"""
        from pathlib import Path

        def test_it(record_property):
            again = Path("tried").exists()
            record_property("{MACHINE}", "second" if again else "first")
            Path("tried").touch()
            assert again, "only the first time"
    """)
    facts = {"description": "", "covers": "", "tags": [], "isolation": ""}
    recorder.plan({f"{path.name}::test_it": facts})
    pytester.inline_run("-p", "no:xdist", "-p", "no:cacheprovider", plugins=[Reruns(), Feed(recorder)])
    (test,) = recorder.record.tests.values()
    assert (test.outcome, test.machines, test.suite) == (Outcome.FLAKY, ["second"], "mine")
    assert recorder.record.suites == ["mine"]
    first = test.first_failure
    assert first is not None
    assert (first.phase, first.machines) == ("call", ["first"])
    assert first.reason == "AssertionError: only the first time"
    assert "only the first time" in first.text
    assert not test.text


@pytest.mark.parametrize(
    ("image", "reference", "platform_id"),
    [
        (Image(Path("/x.qcow2"), "qcow2", "0" * 64, "x"), "/x.qcow2", ""),
        (Image(Path("/x.qcow2"), "qcow2", "0" * 64, "x"), "ami-1", "ami-1"),
        (Image(Path("ami-1"), "cloud", "", "cloud:ami-1"), "ami-1", "ami-1"),
    ],
)
def test_what_a_cloud_calls_the_image(tmp_path: Path, image: Image, reference: str, platform_id: str) -> None:
    """A file that is booted as it is has no other name; one that was uploaded, or was there already, has."""
    recorder = Recorder(replace(info(tmp_path), image=image, prepared=Prepared(reference, "x")))
    assert recorder.record.targets[0].image.platform_id == platform_id
