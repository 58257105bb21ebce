"""One cell of the matrix: are its results there, whole, recent, of this build, and did its tests pass. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kola.errors import ConfigError
from kola.gate.booted import GOOD, RAN, what_booted
from kola.gate.findings import Code, Finding
from kola.results import ExitCode, Outcome
from kola.shards import merge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kola.gate.build import Build
    from kola.gate.evidence import Evidence
    from kola.gate.policy import Policy
    from kola.matrix import Cell, Job
    from kola.results import RunRecord, Target, TestRecord

_BAD = {
    Outcome.FAILED: Code.FAILED,
    Outcome.PROVIDER_ERROR: Code.PROVIDER_ERROR,
    Outcome.NOT_RUN: Code.NOT_RUN,
    Outcome.WARNED: Code.WARNED,
}
_EXPLAINS = {ExitCode.FAILED: Outcome.FAILED, ExitCode.PROVIDER_ERROR: Outcome.PROVIDER_ERROR}
"""Exit codes that are what a test's outcome makes of a run; any other one says that the run itself is not right."""
_FUTURE_SECONDS = 3600.0
"""How far the clock of the host that ran tests may be ahead."""


@dataclass(frozen=True)
class Expected:
    """What results have to be of.

    Attributes:
        stream: as images say it.
        build_id: of the build.
        now: unix seconds.
        builds: architecture -> what meta.json says of the build; empty if that is not looked at.
    """

    stream: str
    build_id: str
    now: float
    builds: Mapping[str, Build] = field(default_factory=dict)


@dataclass(frozen=True)
class CellReport:
    """What came out for a cell.

    Attributes:
        cell: of the matrix.
        genuine: the records of its shares that can be believed, also of runs that were cut short.
        record: of all its shares, if all of them can be believed and are complete.
        findings: what is wrong.
    """

    cell: Cell
    genuine: tuple[RunRecord, ...]
    record: RunRecord | None
    findings: tuple[Finding, ...]

    @property
    def deployments(self) -> frozenset[str]:
        """What its machines had booted."""
        return frozenset(one for record in self.genuine for one in record.targets[0].deployments)

    @property
    def tests(self) -> dict[str, TestRecord]:
        """What can be believed of its tests, by node id."""
        return {nodeid: test for record in self.genuine for nodeid, test in sorted(record.tests.items())}

    @property
    def ran(self) -> bool:
        """Whether a test ran, as far as that can be believed."""
        return any(test.outcome in RAN for test in self.tests.values())


def examine(cell: Cell, evidence: Mapping[str, Evidence], expected: Expected, policy: Policy) -> CellReport:
    """Judge one cell.

    Args:
        cell: of the matrix.
        evidence: by folder.
        expected: what its results have to be of.
        policy: what is good enough.
    """
    findings: list[Finding] = []
    genuine = []
    for job in cell.jobs:
        found = evidence.get(job.name)
        if found is None:
            findings.append(Finding(Code.MISSING, job.name, "there are no results"))
            continue
        wrong = list(found.findings)
        if found.record is not None:
            wrong += _of_job(job, found.record, expected, policy)
        findings += wrong
        # A run that was cut short proves nothing good; what failed in it is to be seen all the same.
        if found.record is not None and not {finding.code for finding in wrong} - {Code.INCOMPLETE}:
            genuine.append(found.record)
    if genuine:
        findings += _outcomes(cell, genuine, policy)
    record = None
    if len(genuine) == cell.shards:
        try:
            merged = merge(genuine)
            record = merged if merged.complete else None
        except ConfigError as e:
            findings.append(Finding(Code.INCOMPLETE, cell.name, str(e)))
    required = tuple(replace(finding, required=finding.required and cell.required) for finding in findings)
    return CellReport(cell, tuple(genuine), record, required)


def _of_job(job: Job, record: RunRecord, expected: Expected, policy: Policy) -> Iterator[Finding]:
    """Yield why a record is not what it should be, whatever its tests say."""
    if problem := _misplaced(job, record):
        yield Finding(Code.MISPLACED, job.name, problem)
        return
    target = record.targets[0]
    if problem := _other_build(target, expected):
        yield Finding(Code.BUILD, job.name, problem)
    yield from (
        Finding(Code.DIGEST, job.name, text) for text in what_booted(job.cell, record, expected.builds.get(target.arch))
    )
    if problem := _incomplete(job, record):
        yield Finding(Code.INCOMPLETE, job.name, problem)
    # Also of a run that was cut short: that it was may be waived, its age not.
    ended = record.started if record.finished is None else record.finished
    age = expected.now - ended
    if age > policy.max_age_hours * 3600:
        yield Finding(Code.STALE, job.name, f"{age / 3600:.0f} hours old; allowed: {policy.max_age_hours}")
    elif age < -_FUTURE_SECONDS or ended < record.started:
        yield Finding(Code.STALE, job.name, "ended in the future, or before it began: a clock is wrong")


def _misplaced(job: Job, record: RunRecord) -> str:
    """Say in what a record is that of another job; empty if in nothing."""
    cell = job.cell
    if len(record.targets) != 1:
        return f"is about {len(record.targets)} targets"
    target = record.targets[0]
    firmware = target.firmware if target.firmware in cell.firmwares else max(cell.firmwares)
    from_image = "" if target.from_image is None else target.from_image.reference
    shard = (job.shard, cell.shards) if cell.shards > 1 else None
    found_shard = (record.shard.number, record.shard.total) if record.shard is not None else None
    pairs = {
        "name": (record.name, job.name),
        "suites": (record.suites, [cell.suite.name]),
        "platform": (target.platform, cell.platform.driver),
        "architecture": (target.arch, cell.arch),
        "firmware": (target.firmware, firmware),
        "image to update from": (from_image, cell.from_image),
        "share": (found_shard, shard),
    }
    return "; ".join(
        f"{what} is {found or 'not given'}, expected {wanted or 'none'}"
        for what, (found, wanted) in pairs.items()
        if found != wanted
    )


def _other_build(target: Target, expected: Expected) -> str:
    image = target.image
    if image.build_id != expected.build_id:
        return f"is of build {image.build_id or 'unknown'}, not of {expected.build_id}"
    if image.stream != expected.stream:
        return f"is of stream {image.stream or 'unknown'}, not of {expected.stream}"
    return ""


def _incomplete(job: Job, record: RunRecord) -> str:
    if record.finished is None:
        return "the run did not come to its end: it was killed, or goes on"
    if not record.complete:
        return f"the run was cut short (exit code {record.exit_code})"
    if record.deselected and not job.cell.suite.arguments:
        return f"{record.deselected} tests were deselected, and the matrix asks for no selection"
    good = {ExitCode.PASSED, ExitCode.ONLY_WARNINGS}
    if record.tests:
        outcomes = {test.outcome for test in record.tests.values()}
        good |= {code for code, outcome in _EXPLAINS.items() if outcome in outcomes}
    else:
        good |= {ExitCode.NOTHING_COLLECTED}
    return "" if record.exit_code in good else f"exit code {record.exit_code}, and no test that explains it"


def _outcomes(cell: Cell, records: Sequence[RunRecord], policy: Policy) -> Iterator[Finding]:
    """Yield what the tests say; one that only warned is always told of."""
    tests = sorted({nodeid: test for record in records for nodeid, test in record.tests.items()}.items())
    for nodeid, test in tests:
        if (code := _BAD.get(test.outcome)) is not None:
            holds = code is not Code.WARNED or policy.warned_holds
            yield Finding(code, f"{cell.name}::{nodeid}", test.reason or "no reason given", holds)
    outcomes = Counter(test.outcome for _, test in tests)
    if not GOOD & set(outcomes):
        said = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items()) or "there are none"
        yield Finding(Code.NO_TESTS, cell.name, f"not one test passed: {said}")


def untested(reports: Sequence[CellReport]) -> Iterator[Finding]:
    """Yield the architectures that nothing speaks for: results that are missing can be waived, but not all of them."""
    for arch in dict.fromkeys(report.cell.arch for report in reports if report.cell.required):
        if not any(report.ran for report in reports if report.cell.required and report.cell.arch == arch):
            text = "no required cell has results that can be believed, with a test that ran"
            yield Finding(Code.UNTESTED, arch, text)


def same_deployment(reports: list[CellReport]) -> Iterator[Finding]:
    """Yield where cells of one architecture had booted different deployments: one build has one."""
    first: dict[str, CellReport] = {}
    # Required ones first: compared with one that only informs, two of them could differ and hold nothing.
    for report in sorted(reports, key=lambda report: not report.cell.required):
        if not report.deployments:
            continue
        before = first.setdefault(report.cell.arch, report)
        if before.deployments != report.deployments:
            text = f"had booted another deployment than {before.cell.name}"
            yield Finding(Code.DIGEST, report.cell.name, text, report.cell.required and before.cell.required)
