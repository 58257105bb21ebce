"""Earlier builds: which of them count, what is compared with them, flaky tests over builds. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kola.gate.booted import RAN
from kola.gate.findings import Code, Finding
from kola.results import Outcome
from kola.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kola.gate.build import Build
    from kola.gate.cells import CellReport
    from kola.gate.policy import Policy
    from kola.results import RunRecord


@dataclass(frozen=True)
class Past:
    """An earlier build whose results can be believed.

    Attributes:
        build_id: of the build.
        started: when the first of its runs did, in unix seconds.
        cells: name -> records of its shares, of those that are whole.
        builds: architecture -> what meta.json says; empty if that is not at hand.
    """

    build_id: str
    started: float
    cells: Mapping[str, Sequence[RunRecord]]
    builds: Mapping[str, Build] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """Earlier builds of one stream, the newest first.

    Attributes:
        stream: its name.
        builds: as many as the policy wants to look at.
        baseline: as many, of those only that were released: with them measures are compared, for else builds that were
            held because they were slower would make the next ones pass. All of them if nobody knows which were.
        released: the last release of the stream; empty if nobody knows.
        promoted: its results; if nobody knows which it is, those of the newest build. None if these are not there.
        cells: names of the cells that the stream has now; empty: nobody knows.
        metadata: whether it is known where the meta.json of its builds are.
    """

    stream: str
    builds: tuple[Past, ...] = ()
    baseline: tuple[Past, ...] = ()
    released: str = ""
    promoted: Past | None = None
    cells: frozenset[str] = frozenset()
    metadata: bool = False


def shrunk(reports: Sequence[CellReport], history: History, policy: Policy) -> Iterator[Finding]:
    """Yield the cells in which tests do not run any more that ran for the last promoted build."""
    promoted = history.promoted
    if promoted is None:
        text = "no results of a promoted build to compare the suites with"
        if history.released:
            text += f": the last release is {history.released}, and its results are not in the history"
        yield Finding(Code.NO_HISTORY, f"{history.stream}.promoted", text, policy.history_required)
        return
    for report in reports:
        before = promoted.cells.get(report.cell.name)
        if not report.genuine:
            continue
        if before is None:
            text = f"the promoted build {promoted.build_id} has no results that could be compared"
            yield Finding(Code.NO_HISTORY, report.cell.name, text, policy.history_required and report.cell.required)
            continue
        # What was to run and did not is a finding of its own.
        there = {nodeid for nodeid, test in report.tests.items() if test.outcome is not Outcome.SKIPPED}
        ran_before = {
            nodeid
            for record in _same_shares(report, before)
            for nodeid, test in record.tests.items()
            if test.outcome in RAN
        }
        gone = sorted(ran_before - there)
        if len(gone) * 100 > policy.shrink_percent * len(ran_before):
            text = f"{len(gone)} of {len(ran_before)} tests ran for {promoted.build_id} and not now: {some(gone, 5)}"
            yield Finding(Code.SHRUNK, report.cell.name, text, report.cell.required)


def _same_shares(report: CellReport, before: Sequence[RunRecord]) -> Sequence[RunRecord]:
    """Return what to compare a cell with: of one that lacks shares, which is a finding of its own, the same shares."""
    there = [record.shard for record in report.genuine]
    same = [record for record in before if record.shard in there]
    return same if len(there) < report.cell.shards and len(same) == len(there) else before


def flaky(reports: Sequence[CellReport], history: History, policy: Policy) -> Iterator[Finding]:
    """Yield that too many tests are flaky, and those that are so again and again."""
    names = [
        (report, nodeid)
        for report in reports
        for nodeid, test in sorted(report.tests.items())
        if test.outcome is Outcome.FLAKY
    ]
    counted = [f"{report.cell.name}::{nodeid}" for report, nodeid in names if report.cell.required]
    if len(counted) > policy.flaky_budget:
        text = f"{len(counted)} tests are flaky; allowed: {policy.flaky_budget}: {some(counted, 5)}"
        yield Finding(Code.FLAKY_BUDGET, f"{history.stream}.flaky", text)
    for report, nodeid in names:
        # Of builds that have no results of this cell nobody knows whether it was flaky in there.
        whole = [past for past in history.builds if report.cell.name in past.cells]
        earlier = whole[: max(0, policy.flaky_builds - 1)]
        times = 1 + sum(_was_flaky(past, report.cell.name, nodeid) for past in earlier)
        if times >= policy.flaky_times:
            text = f"flaky in {times} of the last {len(earlier) + 1} builds; allowed: {policy.flaky_times - 1}"
            yield Finding(Code.FLAKY_AGAIN, f"{report.cell.name}::{nodeid}", text, report.cell.required)


def _was_flaky(past: Past, cell: str, nodeid: str) -> bool:
    found = [record.tests[nodeid].outcome for record in past.cells.get(cell, ()) if nodeid in record.tests]
    return Outcome.FLAKY in found
