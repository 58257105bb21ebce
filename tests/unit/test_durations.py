from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kola.durations import LOOKED_AT, RUNS, Durations, read_durations
from kola.results import ImageRecord, Outcome, RunRecord, Target, TestRecord

TARGET = {"platform": "qemu", "arch": "x86_64", "accelerator": "tcg"}


def record(name: str, setup: float, call: float, teardown: float = 0.0, **facts: Any) -> TestRecord:
    phases = {"setup": setup, "call": call, "teardown": teardown}
    return TestRecord(name, **{"outcome": Outcome.PASSED, "phases": phases, "isolation": "shared", **facts})


def write_run(folder: Path, name: str, *tests: TestRecord, **target: str) -> Path:
    run = folder / name
    run.mkdir(parents=True)
    wanted = {**TARGET, **target}
    run_record = RunRecord(
        name,
        "0",
        0.0,
        [Target(wanted["platform"], wanted["arch"], wanted["accelerator"], ImageRecord("testos"))],
        {test.nodeid: test for test in tests},
    )
    run_record.write(run / "results.json")
    return run / "results.json"


def durations(folder: Path) -> Durations:
    return read_durations(folder, **TARGET)


def test_without_any_record_all_tests_are_alike(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        known = durations(folder)
        assert known.expected("a") == known.expected("b") > 0
        assert known.boot == 0


def test_one_slow_run_of_several_changes_little(tmp_path: Path) -> None:
    for number, call in enumerate((10, 11, 99)):
        write_run(tmp_path, f"run-{number}", record("a", 0, call, 1))
    assert durations(tmp_path).expected("a") == 12


def test_waiting_before_the_test_does_not_count(tmp_path: Path) -> None:
    write_run(tmp_path, "run-1", record("a", 2, 10))
    write_run(tmp_path, "run-2", record("a", 300, 10))
    assert durations(tmp_path).expected("a") == 12


def test_a_test_without_record_counts_as_the_median(tmp_path: Path) -> None:
    write_run(tmp_path, "run", *(record(str(call), 0, call) for call in (1, 5, 100)))
    assert durations(tmp_path).expected("new") == 5


def test_the_boot_is_what_tests_with_a_machine_of_their_own_wait_for(tmp_path: Path) -> None:
    alone: dict[str, Any] = {"isolation": "fresh", "machines": ["m"]}
    tests = [record(str(setup), setup, 1, **alone) for setup in (30, 32, 40)]
    write_run(tmp_path, "run", *tests, record("shared", 0, 1, machines=["n"]), record("none", 0, 1))
    assert durations(tmp_path).boot == 32


@pytest.mark.parametrize(
    "facts", [{"outcome": Outcome.SKIPPED}, {"outcome": Outcome.NOT_RUN}, {"outcome": Outcome.PROVIDER_ERROR},
              {"outcome": Outcome.FAILED, "phases": {"setup": 120.0}}],
)  # fmt: skip
def test_what_did_not_run_says_nothing(tmp_path: Path, facts: dict[str, Any]) -> None:
    write_run(tmp_path, "run", record("a", 1, 60, **facts), record("b", 0, 2))
    assert durations(tmp_path).tests == {"b": 2}


def test_a_failed_test_says_as_much_as_a_passed_one(tmp_path: Path) -> None:
    write_run(tmp_path, "run", record("a", 1, 60, outcome=Outcome.FAILED))
    assert durations(tmp_path).tests == {"a": 61}


@pytest.mark.parametrize("other", [{"platform": "aws"}, {"arch": "aarch64"}, {"accelerator": "kvm"}])
def test_another_target_says_nothing(tmp_path: Path, other: dict[str, str]) -> None:
    write_run(tmp_path, "run", record("a", 0, 60), **other)
    assert durations(tmp_path).tests == {}


def test_only_the_newest_runs_that_ran_something_count(tmp_path: Path) -> None:
    for number in range(RUNS + 2):
        write_run(tmp_path, f"run-{number}", record("a", 0, 100 if number < 2 else 1))
    write_run(tmp_path, "run-9", record("a", 0, 0, outcome=Outcome.NOT_RUN))  # the one that is beginning
    (tmp_path / "latest").symlink_to("run-0")
    assert durations(tmp_path).tests == {"a": 1}
    assert RUNS < LOOKED_AT


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b'{"schema": 2}',
        b'{"schema": 1}',
        b'{"schema": 1, "targets": [], "tests": null}',
        b'{"schema": 1, "targets": [], "tests": [1]}',
    ],
)
def test_what_is_no_record_is_ignored(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run-2").mkdir()
    (tmp_path / "run-2/results.json").write_bytes(content)
    (tmp_path / "run-3").mkdir()
    (tmp_path / "a file").touch()
    write_run(tmp_path, "run-1", record("a", 0, 3))
    assert durations(tmp_path).tests == {"a": 3}


@pytest.mark.parametrize("phases", [None, [], {"call": "long"}, {"setup": None, "call": 1}, "call"])
def test_a_record_with_odd_phases_is_ignored(tmp_path: Path, phases: object) -> None:
    path = write_run(tmp_path, "run-2", record("a", 0, 9))
    data = json.loads(path.read_text())
    data["tests"][0]["phases"] = phases
    path.write_text(json.dumps(data))
    write_run(tmp_path, "run-1", record("a", 0, 3))
    assert durations(tmp_path).tests == {"a": 3}
