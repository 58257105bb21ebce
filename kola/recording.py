"""pytest's reports -> the record of the run, written while the run goes on."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from kola.lives import FILE, Reader
from kola.results import FirstFailure, ImageRecord, Outcome, RunRecord, Share, Target, TestRecord
from kola.tap import to_tap
from kola.version import harness_version
from kola.wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    import pytest

    from kola.external.sharding import Shard
    from kola.images import Image
    from kola.platform import Prepared
    from kola.run import RunInfo

OUTCOME = "kola_outcome"
MACHINE = "kola_machine"
ARTIFACTS = "kola_artifacts"
SSH = "kola_ssh"
FIRST_FAILURE = "kola_first_failure"
FIRST_PHASE = "kola_first_phase"
FIRST_MACHINE = "kola_first_machine"
FIRST_ARTIFACTS = "kola_first_artifacts"
"""Keys of a report's ``user_properties``: the way from a worker to the record and to JUnit. Values are strings."""
FIRST_TRY = "the first try failed"
"""Title of the section of a second try's report that shows how the first one failed."""

_WARNED = "warned: "
"""How the reason of an expected failure begins that is a warning."""

_TEXT_LENGTH = 64 * 1024
"""Characters of what is kept of a failure."""
_OF_THE_RUN = ("progress.jsonl", "machines.jsonl", "reaper.log", "junit.xml")
"""Files in the run's folder that are of no single machine."""
_UNREMARKABLE = {Outcome.PASSED, Outcome.FLAKY, Outcome.SKIPPED}
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
        suite: what the user calls the tests together; empty: what their folders are called.
        shard: the share of them that this run has, or None.
    """

    def __init__(
        self,
        info: RunInfo,
        tapfile: Path | None = None,
        *,
        name: str = "",
        suite: str = "",
        shard: Shard | None = None,
    ) -> None:
        self.tapfile = tapfile
        self.path = info.output / "results.json"
        self._target = _target(info)
        self.record = RunRecord(
            info.run_id,
            harness_version(),
            time.time(),
            [self._target],
            suites=[suite] if suite else [],
            shard=None if shard is None else Share(shard.number, shard.total),
            name=name,
        )
        self._suite = suite
        self._machines = Reader(info.output / FILE)
        self._next = Deadline(0)
        self._write()

    def plan(self, tests: Mapping[str, Mapping[str, Any]], deselected: int = 0) -> None:
        """Take what was selected (node id -> facts of ``kola.plan.Plan``): all ``not-run`` until a report comes."""
        self.record.deselected = max(self.record.deselected, deselected)
        new = {
            nodeid: TestRecord(nodeid, suite=self._suite or suite_of(nodeid), **facts)
            for nodeid, facts in tests.items()
            if nodeid not in self.record.tests
        }
        if new:  # every worker brings the same
            self.record.tests.update(new)
            if not self._suite:
                self.record.suites = sorted({test.suite for test in self.record.tests.values()})
            self._write()

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
        if report.when == "setup":
            test.started = round(report.start, 3)
        if outcome not in _UNREMARKABLE:
            test.text = _end("\n".join(part for part in (test.text, _text(report)) if part))
        test.first_failure = test.first_failure or _first_failure(report)
        if not test.reason and not (report.passed and outcome is not Outcome.FLAKY):
            first = dict(report.user_properties).get(FIRST_FAILURE)
            test.reason = f"first: {first}" if outcome is Outcome.FLAKY else reason(report)
        for key, value in report.user_properties:
            known = {MACHINE: test.machines, ARTIFACTS: test.artifacts}.get(key)
            if known is not None and str(value) not in known:
                known.append(str(value))
        if self._next.expired:
            self._write()
            self._next = Deadline(1)

    def finish(self, exit_code: int, *, complete: bool) -> None:
        """Write the last version, when all machines are gone."""
        self.record.finished = time.time()
        self.record.exit_code = exit_code
        self.record.complete = complete
        self.record.artifacts = [name for name in _OF_THE_RUN if (self.path.parent / name).exists()]
        self._write()
        if self.tapfile is not None:
            self.tapfile.write_text(to_tap(self.record))

    def _write(self) -> None:
        self.record.machines = self._machines.read()
        booted = {m.deployment for m in self.record.machines.values() if not m.updated} - {""}
        self.record.targets = [replace(self._target, deployments=sorted(booted))]
        self.record.write(self.path)


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


def suite_of(nodeid: str) -> str:
    """Return how a test's suite is called if nobody says: as its folder, or the project of one in kola's format."""
    path, _, name = nodeid.partition("::")
    if name.startswith("ext."):
        return name.split(".")[1]
    return PurePosixPath(path).parent.name or "tests"


def _first_failure(report: pytest.TestReport) -> FirstFailure | None:
    """Return how the first try went wrong, if this is of the second and says so."""
    said: dict[str, list[str]] = {}
    for key, value in report.user_properties:
        said.setdefault(key, []).append(str(value))
    text = dict(report.sections).get(FIRST_TRY)
    if text is None or FIRST_FAILURE not in said:
        return None
    return FirstFailure(
        said[FIRST_FAILURE][0],
        said.get(FIRST_PHASE, [""])[0],
        _end(text),
        said.get(FIRST_MACHINE, []),
        said.get(FIRST_ARTIFACTS, []),
    )


def _text(report: pytest.TestReport) -> str:
    sections = [f"-- {title}\n{text}" for title, text in report.sections if title != FIRST_TRY]
    return "\n".join([report.longreprtext, *sections])


def _end(text: str) -> str:
    return text if len(text) <= _TEXT_LENGTH else f"[...]\n{text[-_TEXT_LENGTH:]}"


def _target(info: RunInfo) -> Target:
    return Target(
        info.platform,
        info.arch,
        info.prepared.accelerator,
        _recorded(info.image, info.prepared),
        _recorded(info.from_image, info.from_prepared) if info.from_image and info.from_prepared else None,
        firmware=getattr(info.options, "firmware", ""),  # not every platform leaves a choice
    )


def _recorded(image: Image, prepared: Prepared) -> ImageRecord:
    keys = ("reference", "name", "version", "build_id", "stream", "distro", "sha256", "artifact_sha256")
    local = image.format != "cloud" and prepared.image_ref == str(image.path)
    return ImageRecord(**{key: getattr(image, key) for key in keys}, platform_id="" if local else prepared.image_ref)
