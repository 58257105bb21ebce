"""From a run's record to the verdict on its fault."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kola.errors import ConfigError
from kola.results import ExitCode, ImageRecord, MachineRecord, Outcome, RunRecord, Target, TestRecord
from trust.faults import Fault, Kind
from trust.observation import Context, Failure, Observation, observe, parse
from trust.verdict import Status, Verdict, judge, said

FAULT = Fault(
    name="unit-broken",
    title="x",
    why="y",
    kind=Kind.LIVE,
    suites=("basic/test_health.py",),
    names=(r"broken\.service",),
    green=("basic/*", "!basic/test_health.py"),
    source=Path("unit-broken.toml"),
)
HEALTH, USERS = "tests/external/basic/test_health.py::test_units", "tests/external/basic/test_users.py::test_groups"


def case(name: str, outcome: Outcome, *, at: float = 0.0, text: str = "", machine: str = "one") -> TestRecord:
    reason = text.partition("\n")[0]
    return TestRecord(
        name, outcome, started=1000 + at, duration=5, text=text, reason=reason, machines=[machine] if machine else []
    )


def run(*tests: TestRecord, complete: bool = True, code: int = ExitCode.PASSED, up: float | None = 10.0) -> RunRecord:
    moment = None if up is None else 1000 + up
    return RunRecord(
        "id",
        "0.1",
        1000.0,
        [Target("qemu", "x86_64", "tcg", ImageRecord("testos", sha256="0123456789abcdef"))],
        {test.nodeid: test for test in tests},
        {"one": MachineRecord("one", up=moment), "two": MachineRecord("two", up=1500.0)},
        complete=complete,
        exit_code=code,
    )


def verdict(record: RunRecord, *, alarms: frozenset[str] = frozenset(), cut_short: bool = False) -> Verdict:
    known = Context(started=1000.0, seconds=60.0, live_fault=FAULT.name, given=frozenset({"one"}))
    seen = observe(record, replace(known, cut_short=cut_short))
    assert parse(json.dumps(seen.to_json()), "here") == seen
    return judge(FAULT, seen, alarms)


def test_caught_and_named() -> None:
    found = verdict(
        run(
            case(USERS, Outcome.PASSED, at=12),
            case(HEALTH, Outcome.FAILED, at=20, text="CheckFailed: found\nfailed-unit: broken.service"),
            case("tests/external/upgrade/test_update.py::test_it", Outcome.FAILED, at=17, text="no"),
            code=ExitCode.FAILED,
        )
    )
    assert found.status is Status.CAUGHT
    assert found.caught_by == ("basic/test_health.py::test_units", "upgrade/test_update.py::test_it")
    assert found.named_by == ("basic/test_health.py::test_units",)
    assert found.seconds == 12, "from the first machine's being up to the end of the first failure"
    assert found.broke == (), "nothing was said of the suite of updates"


def test_caught_but_named_wrong() -> None:
    found = verdict(run(case(HEALTH, Outcome.FAILED, at=20, text="some unit"), code=ExitCode.FAILED))
    assert (found.status, found.named_by, found.broke) == (Status.MISNAMED, (), ())


def test_what_had_to_stay_green() -> None:
    """A test that fails by what the machine's logs show names the fault: it found it, and is not broken by it."""
    others = (case(USERS, Outcome.FAILED, at=11, text="no group"), case(HEALTH, Outcome.FAILED, text="broken.service"))
    assert verdict(run(*others, code=ExitCode.FAILED)).broke == ("basic/test_users.py::test_groups",)
    named = case(USERS, Outcome.FAILED, at=11, text="failed-unit: broken.service")
    assert verdict(run(named, code=ExitCode.FAILED)).broke == ()


PYTESTS = """\
AssertionError: assert ['a.service'] == []
machine = <kola.machine.Machine object at 0x7fe8eb600b90>

    def test_units(machine: Machine) -> None:
        \"\"\"Nothing in-the-source.\"\"\"
>       assert machine.the_line() == []
E       AssertionError: assert ['the-message'] == []

tests/external/basic/test_health.py:19: AssertionError
-- Captured stdout setup
in-the-output
-- Captured checks call
machine kola-1 shows what must not be there:
  failed-unit: in-the-checks (units)
-- Captured machine kola-1 call
last lines of the console:
    | in-the-console
"""


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("test_units", False),
        ("the_line", False),
        ("the-message", True),
        ("in-the-checks", True),
        ("in-the-source", False),
        ("in-the-output", False),
        ("in-the-console", False),
    ],
)
def test_a_name_counts_where_somebody_meant_it(name: str, counts: bool) -> None:  # noqa: FBT001
    text = said(Failure("basic/test_health.py::test_units", PYTESTS, "AssertionError: assert", 1.0))
    assert (name in text) is counts


def test_a_message_without_marks_is_taken_as_a_whole() -> None:
    assert "panic" in said(Failure("a::b", "machine one lost: kernel panic\n-- Captured stdout call\nx\n", "", 1.0))


def test_missed() -> None:
    found = verdict(run(case(HEALTH, Outcome.PASSED), case(USERS, Outcome.SKIPPED, machine="")))
    assert (found.status, found.seconds, found.caught_by) == (Status.MISSED, None, ())


def test_a_test_that_also_fails_on_a_good_system_catches_nothing() -> None:
    record = run(case(HEALTH, Outcome.FAILED, text="broken.service"), code=ExitCode.FAILED)
    found = verdict(record, alarms=frozenset({"basic/test_health.py::test_units"}))
    assert (found.status, found.doubtful) == (Status.MISSED, ("basic/test_health.py::test_units",))


def test_the_first_failure_may_come_before_the_first_machine() -> None:
    lost = case(HEALTH, Outcome.FAILED, at=3, text="machine lost", machine="")
    assert verdict(run(lost, code=ExitCode.FAILED)).seconds == 8
    assert verdict(run(lost, code=ExitCode.FAILED, up=None)).seconds == 8


@pytest.mark.parametrize(
    ("record", "cut_short", "problem"),
    [
        (run(complete=False, code=ExitCode.INTERRUPTED), False, "interrupted"),
        (run(case(HEALTH, Outcome.PASSED), complete=False), False, "interrupted"),
        (run(case(HEALTH, Outcome.PASSED), complete=False), True, "its time was over"),
        (run(case(HEALTH, Outcome.SKIPPED, machine="")), False, "no test was run"),
        (run(code=ExitCode.NOTHING_COLLECTED), False, "pytest ended with 5: NOTHING_COLLECTED"),
        (run(case(HEALTH, Outcome.PASSED), code=ExitCode.INTERNAL_ERROR), False, "pytest ended with 3: INTERNAL_ERROR"),
        (
            run(case(HEALTH, Outcome.PASSED), case(USERS, Outcome.PROVIDER_ERROR, text="no room"), code=75),
            False,
            "provider error: no room",
        ),
    ],
)
def test_no_result(record: RunRecord, cut_short: bool, problem: str) -> None:  # noqa: FBT001
    found = verdict(record, cut_short=cut_short)
    assert found.status is Status.NO_RESULT
    assert problem in found.problem


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (
            run(
                case(USERS, Outcome.FAILED, text="broken.service"),
                case(HEALTH, Outcome.PROVIDER_ERROR, text="fault unit-broken could not be applied: exit code 1: no"),
                code=ExitCode.FAILED,
            ),
            "fault unit-broken could not be applied: exit code 1: no",
        ),
        (run(case(HEALTH, Outcome.FAILED, machine="two"), code=ExitCode.FAILED), "machines without the fault: two"),
    ],
)
def test_not_applied_is_never_caught(record: RunRecord, problem: str) -> None:
    found = verdict(record)
    assert (found.status, found.problem) == (Status.NOT_APPLIED, problem)


def test_a_failure_counts_whatever_became_of_the_rest() -> None:
    tests = (case(HEALTH, Outcome.FAILED, text="broken.service"), case(USERS, Outcome.NOT_RUN, machine=""))
    found = verdict(run(*tests, complete=False, code=ExitCode.INTERRUPTED), cut_short=True)
    assert (found.status, found.problem) == (Status.CAUGHT, "1 tests not run")


def test_without_a_run_nothing_is_known() -> None:
    assert judge(FAULT, None).status is Status.NOT_RUN


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "colour": 1}'])
def test_what_is_no_record(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^here: "):
        parse(text, "here")


def test_the_image_is_on_record() -> None:
    seen = observe(run(case(HEALTH, Outcome.PASSED)), Context(started=0, seconds=1, commit="c"))
    assert isinstance(seen, Observation)
    assert (seen.image, seen.commit, seen.passed) == ("testos 0123456789ab", "c", ("basic/test_health.py::test_units",))
