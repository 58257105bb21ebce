"""Running tests again: once more after a failure (``--rerun-failed``), or all of them many times (``--multiply``)."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from _pytest.runner import runtestprotocol

from kola.recording import (
    ARTIFACTS,
    FIRST_ARTIFACTS,
    FIRST_FAILURE,
    FIRST_MACHINE,
    FIRST_PHASE,
    FIRST_TRY,
    MACHINE,
    OUTCOME,
    reason,
)
from kola.results import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kola.results import TestRecord

AGAIN = pytest.StashKey[bool]()
"""Whether this is a test's second try."""
ATTEMPT = "kola_attempt"
"""Name of the parameter that makes several tests of one."""
TIMES = pytest.StashKey[str]()
"""What a test is one attempt of."""


class Reruns:
    """Runs a test that failed once more, on a machine of its own. What passes then is flaky, never simply passed."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run a test, and if it fails run it again."""
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        first = next((report for report in reports if report.failed), None)
        if first is not None:
            again = self._again(item, nextitem, first)
            # A skip, or a failure that is expected now, is no pass: the first try stands.
            if any(report.failed or (report.when == "call" and report.passed) for report in again):
                reports = again
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _again(
        self, item: pytest.Item, nextitem: pytest.Item | None, first: pytest.TestReport
    ) -> list[pytest.TestReport]:
        item.stash[AGAIN] = True
        again = {MACHINE: FIRST_MACHINE, ARTIFACTS: FIRST_ARTIFACTS}
        of_first = [(again[key], value) for key, value in item.user_properties if key in again]
        item.user_properties[:] = [(FIRST_FAILURE, reason(first)), (FIRST_PHASE, str(first.when)), *of_first]
        if isinstance(item, pytest.Function):
            item._initrequest()  # noqa: SLF001 - as every plugin that runs a test again
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        flaky = not any(report.failed for report in reports)
        for report in reports:
            if report.when == "call" or report.failed:
                report.sections.insert(0, (FIRST_TRY, _text(first)))
            if report.when == "call" and flaky and report.passed:
                report.user_properties.append((OUTCOME, Outcome.FLAKY.value))
        return reports


def _text(report: pytest.TestReport) -> str:
    return "\n".join([report.longreprtext, *(f"-- {title}\n{text}" for title, text in report.sections)])


def multiply(metafunc: pytest.Metafunc, times: int) -> None:
    """Make several tests of one."""
    if times > 1:
        metafunc.fixturenames.append(ATTEMPT)
        metafunc.parametrize(ATTEMPT, range(times), ids=[f"run{number}" for number in range(times)], indirect=True)


def attempt_of(item: pytest.Item) -> str:
    """Return what a test is one attempt of: a node id without the number; empty if it is none."""
    if TIMES in item.stash:
        return item.stash[TIMES]
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return (
        re.sub(r"(\[|-)run\d+\]$", lambda m: "]" if m[1] == "-" else "", item.nodeid) if ATTEMPT in parameters else ""
    )


def rates(tests: Iterable[TestRecord]) -> list[str]:
    """Return, for each test that ran several times, how often it passed; those that did not always first."""
    passed: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for test in tests:
        if test.attempt and test.outcome not in {Outcome.SKIPPED, Outcome.NOT_RUN}:
            total[test.attempt] += 1
            passed[test.attempt] += test.outcome is Outcome.PASSED
    ordered = sorted(total, key=lambda name: (passed[name] == total[name], name))
    return [f"{passed[name]} of {total[name]} passed: {name}" for name in ordered]
