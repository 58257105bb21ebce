"""pytest's reports -> the record of the run, written while the run goes on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kola import __version__
from kola.results import Outcome, RunRecord, Target, TestRecord
from kola.tap import to_tap
from kola.wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    import pytest

    from kola.images import Image
    from kola.run import RunInfo

OUTCOME = "kola_outcome"
MACHINE = "kola_machine"
ARTIFACTS = "kola_artifacts"
SSH = "kola_ssh"
FIRST_FAILURE = "kola_first_failure"
"""Keys of a report's ``user_properties``: the way from a worker to the record and to JUnit. Values are strings."""

_WARNED = "warned: "
"""How the reason of an expected failure begins that is a warning."""

_SEVERITY = (
    Outcome.NOT_RUN, Outcome.PASSED, Outcome.FLAKY, Outcome.SKIPPED, Outcome.WARNED, Outcome.PROVIDER_ERROR,
    Outcome.FAILED,
)  # fmt: skip
"""A test's outcome is the worst of its phases."""


class Recorder:
    """Keeps ``results.json`` of one run up to date: at the start, about once a second, and at the end.

    Args:
        info: of the run.
        tapfile: also written at the end, or None.
        name: of the run, if it was given one.
    """

    def __init__(self, info: RunInfo, tapfile: Path | None = None, name: str = "") -> None:
        self.tapfile = tapfile
        self.path = info.output / "results.json"
        target = Target(
            info.platform,
            info.arch,
            info.prepared.accelerator,
            _recorded(info.image),
            _recorded(info.from_image) if info.from_image else None,
        )
        self.record = RunRecord(info.run_id, __version__, time.time(), [target], name=name)
        self._next = Deadline(0)
        self.record.write(self.path)

    def plan(self, tests: Mapping[str, Mapping[str, Any]]) -> None:
        """Take what was selected (node id -> facts of ``kola.plan.Plan``): all ``not-run`` until a report comes."""
        new = {
            nodeid: TestRecord(nodeid, **facts) for nodeid, facts in tests.items() if nodeid not in self.record.tests
        }
        if new:  # every worker brings the same
            self.record.tests.update(new)
            self.record.write(self.path)

    def report(self, report: pytest.TestReport) -> None:
        """Take one phase of one test."""
        test = self.record.tests.setdefault(report.nodeid, TestRecord(report.nodeid))
        outcome = report_outcome(report)
        # A setup or teardown that went well says nothing of the test itself.
        if report.when == "call" or outcome is not Outcome.PASSED:
            test.outcome = max(test.outcome, outcome, key=_SEVERITY.index)
        test.phases[report.when] = round(report.duration, 3)
        test.duration = round(sum(test.phases.values()), 3)
        test.worker = getattr(report, "worker_id", "main")
        if not test.reason and not (report.passed and outcome is not Outcome.FLAKY):
            first = dict(report.user_properties).get(FIRST_FAILURE)
            test.reason = f"first: {first}" if outcome is Outcome.FLAKY else reason(report)
        for key, value in report.user_properties:
            known = {MACHINE: test.machines, ARTIFACTS: test.artifacts}.get(key)
            if known is not None and str(value) not in known:
                known.append(str(value))
        if self._next.expired:
            self.record.write(self.path)
            self._next = Deadline(1)

    def finish(self, exit_code: int, *, complete: bool) -> None:
        """Write the last version."""
        self.record.finished = time.time()
        self.record.exit_code = exit_code
        self.record.complete = complete
        self.record.write(self.path)
        if self.tapfile is not None:
            self.tapfile.write_text(to_tap(self.record))


def report_outcome(report: pytest.TestReport) -> Outcome:
    """Return the outcome of one phase."""
    if dict(report.user_properties).get(OUTCOME) == Outcome.PROVIDER_ERROR and report.failed:
        return Outcome.PROVIDER_ERROR
    if dict(report.user_properties).get(OUTCOME) == Outcome.FLAKY and report.when == "call" and report.passed:
        return Outcome.FLAKY
    if report.skipped and getattr(report, "wasxfail", "").startswith(_WARNED):
        return Outcome.WARNED
    return {"passed": Outcome.PASSED, "skipped": Outcome.SKIPPED}.get(report.outcome, Outcome.FAILED)


def warn_only(report: pytest.TestReport, why: str) -> None:
    """Make a failure a warning: for pytest it is an expected failure, which nothing counts or stops at."""
    report.outcome = "skipped"
    report.wasxfail = f"{_WARNED}{why}"


def reason(report: pytest.TestReport) -> str:
    """Return one line that says why a phase did not pass."""
    warned = getattr(report, "wasxfail", "")
    if warned.startswith(_WARNED):
        return f"{_first_line(report)} [{warned.removeprefix(_WARNED)}]"
    return _first_line(report)


def _first_line(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):  # a skip: file, line, reason
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr)
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _recorded(image: Image) -> dict[str, str]:
    keys = ("reference", "name", "version", "build_id", "stream", "distro", "sha256")
    return {key: getattr(image, key) for key in keys}
