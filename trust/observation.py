"""What one run of the suites on a broken system showed: facts only, which a verdict is made of, as JSON on the disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from kola.errors import ConfigError
from kola.results import ExitCode, Outcome
from trust.kolafault import APPLIED, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kola.results import RunRecord, TestRecord

SCHEMA = 1
EXTERNAL = "tests/external/"
_NO_VERDICT = frozenset({ExitCode.INTERNAL_ERROR, ExitCode.USAGE_ERROR, ExitCode.NOTHING_COLLECTED})


@dataclass(frozen=True)
class Failure:
    """A test that failed.

    Attributes:
        test: its node id, below tests/external.
        text: what pytest shows of it.
        reason: the first line of that.
        seconds: from the first machine's being up to its end.
    """

    test: str
    text: str
    reason: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One run.

    Attributes:
        started: unix seconds.
        seconds: that it took, a build of the image included.
        commit: of the checkout; empty if that is not known.
        image: what was booted, and its SHA-256.
        passed: tests that passed.
        failures: tests that failed, the first to end first.
        skipped: number of tests that were skipped.
        unknown: tests that the provider failed, or that were not run.
        problem: why this is no result, one line; empty if it is one.
        not_applied: the fault did not come into a machine; `problem` says why.
        cut_short: the run was ended when its time was over.
    """

    started: float
    seconds: float
    commit: str = ""
    image: str = ""
    passed: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    skipped: int = 0
    unknown: tuple[str, ...] = ()
    problem: str = ""
    not_applied: bool = False
    cut_short: bool = False

    def to_json(self) -> dict[str, Any]:
        """The object that a file holds."""
        return {"schema": SCHEMA, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a run was, apart from its record; as in ``Observation``."""

    started: float
    seconds: float
    commit: str = ""
    cut_short: bool = False
    live_fault: str = ""
    """The fault that its machines had to be given; empty where the image has it, or there is none."""
    given: frozenset[str] = field(default_factory=frozenset)
    """The machines that were given it."""


def given_machines(folder: Path) -> frozenset[str]:
    """Return the machines of a run's folder that were given a fault."""
    return frozenset(path.parent.name for path in folder.glob(f"machines/*/{APPLIED}"))


def observe(record: RunRecord, context: Context) -> Observation:
    """Reduce a run's record to what a verdict needs; what was not run is never taken for passed."""
    tests = list(record.tests.values())
    failed = [test for test in tests if test.outcome is Outcome.FAILED]
    began = _began(record, failed)
    not_applied = _not_applied(context, tests)
    image = record.targets[0].image if record.targets else None
    return Observation(
        started=context.started,
        seconds=context.seconds,
        commit=context.commit,
        image=f"{image.reference} {image.sha256[:12]}" if image is not None else "",
        passed=tuple(sorted(short(test.nodeid) for test in tests if test.outcome is Outcome.PASSED)),
        failures=tuple(
            Failure(short(test.nodeid), test.text, test.reason, max(round(_end(test) - began, 1), 0.0))
            for test in sorted(failed, key=_end)
        ),
        skipped=sum(test.outcome is Outcome.SKIPPED for test in tests),
        unknown=tuple(
            sorted(short(test.nodeid) for test in tests if test.outcome in {Outcome.PROVIDER_ERROR, Outcome.NOT_RUN})
        ),
        problem=not_applied or _problem(record, context, tests),
        not_applied=bool(not_applied),
        cut_short=context.cut_short,
    )


def _ran(tests: Iterable[TestRecord]) -> list[TestRecord]:
    return [test for test in tests if test.outcome in {Outcome.PASSED, Outcome.FAILED}]


def _not_applied(context: Context, tests: list[TestRecord]) -> str:
    """Say why a live fault was not in every machine that a test used; empty if it was, or there is none."""
    if not context.live_fault:
        return ""
    for test in tests:
        _, refused, why = test.reason.partition(refusal(context.live_fault))
        if refused:
            return refused + why
    used = {machine for test in _ran(tests) for machine in test.machines}
    missing = sorted(used - context.given)
    return f"machines without the fault: {', '.join(missing)}" if missing else ""


def _problem(record: RunRecord, context: Context, tests: list[TestRecord]) -> str:
    """Say why a run is no result; empty if it is one: a test that failed is one, whatever else went wrong."""
    ran = _ran(tests)
    broken = [test.reason for test in tests if test.outcome is Outcome.PROVIDER_ERROR]
    problem = ""
    if record.exit_code in _NO_VERDICT:
        problem = f"pytest ended with {record.exit_code}: {ExitCode(record.exit_code).name}"
    elif any(test.outcome is Outcome.FAILED for test in ran):
        problem = ""
    elif broken:
        problem = f"provider error: {broken[0]}"
    elif context.cut_short:
        problem = "its time was over before all tests had run"
    elif not record.complete:
        problem = "interrupted"
    elif record.deselected:
        problem = f"{record.deselected} tests were deselected"
    elif not ran:
        problem = "no test was run"
    return problem


def _began(record: RunRecord, failed: list[TestRecord]) -> float:
    """The moment at which the first machine was up; of a run whose first failure came before, its start."""
    up = min((machine.up for machine in record.machines.values() if machine.up is not None), default=record.started)
    return up if all(_end(test) >= up for test in failed) else record.started


def _end(test: TestRecord) -> float:
    return (test.started or 0.0) + test.duration


def short(nodeid: str) -> str:
    """A test's node id below tests/external."""
    return nodeid.removeprefix(EXTERNAL)


def parse(text: str, source: str) -> Observation:
    """Read what ``to_json`` wrote.

    Raises:
        ConfigError: it is not that; `source` names it.
    """
    try:
        data = json.loads(text)
        if data.pop("schema") != SCHEMA:
            raise ConfigError(f"{source}: another schema than {SCHEMA}")
        data["failures"] = tuple(Failure(**failure) for failure in data["failures"])
        for key in ("passed", "unknown"):
            data[key] = tuple(data[key])
        return Observation(**data)
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise ConfigError(f"{source}: not the record of a fault: {e}") from e
