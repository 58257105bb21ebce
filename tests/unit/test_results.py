from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from kola.errors import ConfigError
from kola.results import (
    ExitCode,
    FirstFailure,
    ImageRecord,
    MachineRecord,
    Outcome,
    RunRecord,
    Share,
    Target,
    TestRecord,
    exit_code,
    read,
)


def record() -> RunRecord:
    image = ImageRecord("testos", sha256="0" * 64)
    target = Target("qemu", "x86_64", "tcg", image, image, "bios", ["1" * 64])
    run = RunRecord("abcd1234", "0.1.0", 1000.0, [target], suites=["basic"], shard=Share(1, 2))
    machine = MachineRecord("kola-abcd1234-main-1", booting=1000.5, up=1003.0, deployment="1" * 64)
    run.machines[machine.name] = machine
    first = FirstFailure("why", "call", "all of it", [machine.name], ["machines/kola-abcd1234-main-1"])
    run.tests["a.py::one"] = TestRecord(
        "a.py::one", Outcome.FLAKY, "basic", duration=1.5, first_failure=first, machines=[machine.name]
    )
    run.tests["a.py::two"] = TestRecord("a.py::two")
    return run


def test_a_record_survives_the_way_through_the_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    record().write(path)
    assert read(path) == record()
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_what_was_not_run_is_counted_as_that() -> None:
    assert record().counts() == {
        "passed": 0, "failed": 0, "flaky": 1, "warned": 0, "skipped": 0, "provider-error": 0, "not-run": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(schema=1), "schema 1 is not known; this version reads 2"),
        (lambda data: data.pop("run_id"), "not a results record of schema 2"),
        (lambda data: data["tests"][0].update(outcome="fine"), "not a results record of schema 2: 'fine'"),
        (lambda data: data["tests"][0].update(colour="blue"), "not a results record of schema 2"),
        (lambda data: data["targets"][0]["image"].update(size=1), "not a results record of schema 2"),
        (lambda data: data["machines"][0].pop("name"), "not a results record of schema 2"),
        (lambda data: data.update(tests=[1]), "not a results record of schema 2"),
        (lambda data: data.update(finished=math.nan), "NaN is no number of JSON"),
        (lambda data: data.update(started=-math.inf), "-Infinity is no number of JSON"),
        (lambda data: data.update(started="x"), "started: expected a number within"),
        (lambda data: data.update(finished=10**400), "finished: expected a number within"),
        (lambda data: data.update(finished=10**12), "finished: expected a number within"),
        (lambda data: data.update(complete="false"), "complete: expected a bool"),
        (lambda data: data.update(exit_code=False), "exit_code: expected a whole number"),
        (lambda data: data.update(exit_code=0.5), "exit_code: expected a whole number"),
        (lambda data: data.update(suites="basic"), "suites: expected a list"),
        (lambda data: data.update(shard={"number": 1, "total": True}), "shard.total: expected a whole number"),
        (lambda data: data["counts"].update(flaky=True), "counts.flaky: expected a whole number"),
        (lambda data: data["machines"][0].update(up=[]), re.escape("machines[0].up: expected a number")),
        (
            lambda data: data["tests"][0].update(phases={"call": "x"}),
            re.escape("tests[0].phases.call: expected a number"),
        ),
        (lambda data: data["targets"][0].update(image=None), re.escape("targets[0].image: expected an object")),
        (lambda data: data["tests"].pop(), "contradicts itself"),
        (lambda data: data["tests"].append(data["tests"][0]), "contradicts itself"),
        (lambda data: data["machines"].append(data["machines"][0]), "contradicts itself"),
    ],
)
def test_another_record_is_refused(tmp_path: Path, change: object, message: str) -> None:
    data = record().to_json()
    assert callable(change)
    change(data)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=message):
        read(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema": 2, "x": ' + "1" * 5000 + "}", '{"a":' * 100_000])
def test_what_json_cannot_hold_is_unreadable(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="not a whole JSON document"):
        read(path)


def test_a_number_beyond_all_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    record().write(path)
    path.write_text(path.read_text().replace("1000.0", "1e999"))
    with pytest.raises(ConfigError, match="started: expected a number within"):
        read(path)


def test_a_truncated_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    record().write(path)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ConfigError, match="not a whole JSON document"):
        read(path)


@pytest.mark.parametrize(
    ("pytest_code", "outcomes", "warnings_fail", "expected"),
    [
        (0, [Outcome.PASSED, Outcome.SKIPPED], False, ExitCode.PASSED),
        (0, [Outcome.PASSED, Outcome.WARNED], False, ExitCode.PASSED),
        (0, [Outcome.PASSED, Outcome.WARNED], True, ExitCode.ONLY_WARNINGS),
        (1, [Outcome.FAILED, Outcome.WARNED], True, ExitCode.FAILED),
        # pytest counts a provider error as a failure
        (1, [Outcome.PROVIDER_ERROR, Outcome.PASSED], False, ExitCode.PROVIDER_ERROR),
        (1, [Outcome.PROVIDER_ERROR, Outcome.FAILED], False, ExitCode.FAILED),
        (1, [Outcome.PROVIDER_ERROR, Outcome.WARNED], True, ExitCode.PROVIDER_ERROR),
        (2, [Outcome.PROVIDER_ERROR, Outcome.FAILED], False, ExitCode.INTERRUPTED),
        (4, [], False, ExitCode.USAGE_ERROR),
        (5, [], False, ExitCode.NOTHING_COLLECTED),
        (117, [Outcome.FAILED], False, 117),
    ],
)
def test_exit_codes(pytest_code: int, outcomes: list[Outcome], warnings_fail: bool, expected: int) -> None:  # noqa: FBT001
    assert exit_code(pytest_code, outcomes, warnings_fail=warnings_fail) == expected


def test_only_a_boot_has_a_boot_time() -> None:
    booted = MachineRecord("m", booting=10.0, up=12.5)
    assert booted.boot_seconds == 2.5
    assert MachineRecord("m", origin="clone", booting=10.0, up=12.5).boot_seconds is None
    assert MachineRecord("m", booting=10.0).boot_seconds is None
