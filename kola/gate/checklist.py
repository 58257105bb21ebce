"""The checklist of a release in Markdown, with the boxes ticked that the verdict answers. Pure."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola.gate.findings import Code
from kola.gate.release import Phase
from kola.gate.show import TOLD, state, word
from kola.results import Outcome
from kola.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from kola.gate.verdict import Verdict


@dataclass(frozen=True)
class Box:
    """One line to tick: it is ticked if nothing of these codes holds the release, and there was ``seen`` to look at."""

    text: str
    codes: frozenset[Code]
    seen: Callable[[Verdict], object]
    phases: frozenset[Phase] = frozenset(Phase)


def _results(verdict: Verdict) -> bool:
    return any(report.ran for report in verdict.reports if report.cell.required)


def _promoted(verdict: Verdict) -> bool:
    return _results(verdict) and any(
        history.promoted is not None
        for history in verdict.question.histories[:1]  # its own: what was promoted from elsewhere is not compared
    )


def _earlier(verdict: Verdict) -> bool:
    return _results(verdict) and any(history.baseline for history in verdict.question.histories)


def _compared(verdict: Verdict) -> bool:
    return _results(verdict) and bool(verdict.question.metadata.builds)


def _metadata(verdict: Verdict) -> object:
    return verdict.question.metadata.builds


def _graphs(verdict: Verdict) -> object:
    return verdict.question.metadata.graphs


def _box(
    text: str,
    codes: Collection[Code],
    phases: Collection[Phase] = tuple(Phase),
    seen: Callable[[Verdict], object] = _results,
) -> Box:
    return Box(text, frozenset(codes), seen, frozenset(phases))


_STEPS = (Phase.PRE_RELEASE, Phase.ROLLOUT)
BOXES = (
    _box("Every required cell of the matrix has results, whole and recent", {
        Code.MISSING, Code.UNTESTED, Code.UNREADABLE, Code.INCOMPLETE, Code.STALE, Code.DUPLICATE, Code.MISPLACED,
        Code.NO_TESTS,
    }),
    _box("All results are signed by known keys", {Code.UNSIGNED, Code.SIGNATURE}),
    _box("All results are of this build: its id, its images, the deployment read in the machines", {
        Code.BUILD, Code.DIGEST,
    }, seen=_compared),
    _box("No test failed, was left out or met a failing provider; the policy lets those pass that only warned", {
        Code.FAILED, Code.NOT_RUN, Code.PROVIDER_ERROR, Code.WARNED,
    }),
    _box("No more flaky tests than allowed, none again and again", {Code.FLAKY_BUDGET, Code.FLAKY_AGAIN}),
    _box("The suites run all that ran for the last promoted build", {Code.SHRUNK, Code.NO_HISTORY}, seen=_promoted),
    _box("Boots, tests and images are not slower or larger than before", {
        Code.BOOT_TIME, Code.TEST_TIME, Code.IMAGE_SIZE, Code.TOO_FEW,
    }, seen=_earlier),
    _box("meta.json is of this build and stream for every architecture", {Code.METADATA}, seen=_metadata),
    _box("The build follows the last release of the stream", {Code.PARENT}, _STEPS, _metadata),
    _box("The build is in the update graph, as it was built", {Code.GRAPH_NODE}, {Phase.ROLLOUT}, _graphs),
    _box("The graph leads to it from all releases since the last barrier, and from no others", {Code.GRAPH_EDGES}, {
        Phase.ROLLOUT,
    }, _graphs),
)  # fmt: skip
"""Every code is in one box."""
_SHOWN = 5
_TITLES = {
    Phase.RESULTS: "Results",
    Phase.PRE_RELEASE: "Before the release",
    Phase.ROLLOUT: "Before the rollout",
}


def to_markdown(verdict: Verdict) -> str:
    """Return the checklist; below a box that is not ticked stand the reasons, below one that is what was waived."""
    question = verdict.question
    when = dt.datetime.fromtimestamp(question.now, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [f"## {_TITLES[question.phase]}: {question.stream} {question.build_id}", ""]
    lines += [*(f"Note: {_escaped(note)}" for note in verdict.notes), ""] if verdict.notes else []
    for box in BOXES:
        if question.phase not in box.phases:
            continue
        found = [finding for finding in verdict.findings if finding.code in box.codes and finding.required]
        holding = [str(finding) for finding in found if finding.holds]
        waived = [f"waived: {finding} -- {finding.waiver}" for finding in found if finding.waiver is not None]
        compared = [f"not needed: {f}" for f in verdict.findings if f.code in box.codes & TOLD and not f.required]
        seen = box.seen(verdict)
        lines.append(f"- [{'x' if seen and not holding else ' '}] {box.text}")
        nothing = [] if seen or holding or compared else ["there is nothing to look at"]
        lines += [f"  - {_escaped(line)}" for line in _short([*nothing, *holding, *waived, *compared])]
    lines += ["", "### Cells", ""]
    for report in verdict.reports:
        stands = state(verdict, report)
        counts = Counter(test.outcome for test in report.tests.values())
        said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome]) or "no results"
        informs = "" if report.cell.required else " (informs)"
        lines.append(
            f"- [{'x' if stands in {'passed', 'waived'} and report.ran else ' '}] {report.cell.name}{informs}: {said}"
        )
    lines += ["", f"Verdict of {when}: **{word(verdict)}**", ""]
    return "\n".join(lines)


def _short(lines: list[str]) -> list[str]:
    more = len(lines) - _SHOWN
    return lines if more <= 0 else [*lines[:_SHOWN], f"and {more} more"]


def _escaped(text: str) -> str:
    """Return one line in which nothing is taken for Markdown or HTML."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|" else char for char in one_line(text))
