"""Everything together: one question, one verdict. Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kola.errors import ConfigError
from kola.gate.cells import Expected, examine, same_deployment, untested
from kola.gate.history import History, flaky, shrunk
from kola.gate.regressions import regressions
from kola.gate.release import Metadata, Phase, check_phase
from kola.gate.waivers import waive
from kola.matrix import Choice
from kola.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kola.gate.cells import CellReport
    from kola.gate.evidence import Evidence
    from kola.gate.findings import Finding
    from kola.gate.policy import Policy
    from kola.gate.waivers import Waiver
    from kola.matrix import Cell, Matrix


@dataclass(frozen=True)
class Question:
    """What is asked, and all that is known.

    Attributes:
        stream: by its name in the matrix.
        build_id: of the build.
        phase: the step that it is about.
        now: unix seconds.
        policy: what a release needs.
        matrix: its cells.
        evidence: results by the name of their folder.
        waivers: what people answer for.
        metadata: of the build, its stream and its updates.
        histories: of the stream, then of the one that it is promoted from.
    """

    stream: str
    build_id: str
    phase: Phase
    now: float
    policy: Policy
    matrix: Matrix
    evidence: Mapping[str, Evidence]
    waivers: Sequence[Waiver] = ()
    metadata: Metadata = field(default_factory=Metadata)
    histories: Sequence[History] = ()


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Attributes:
        question: that it answers.
        reports: of all cells of the stream that are run so often, in the order of the matrix.
        findings: all of them, also those that do not hold.
        notes: what does not matter for the answer and somebody may want to know.
    """

    question: Question
    reports: tuple[CellReport, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def reasons(self) -> tuple[Finding, ...]:
        """What holds the release."""
        return tuple(finding for finding in self.findings if finding.holds)

    @property
    def release(self) -> bool:
        """Whether to go on."""
        return not self.reasons


def decide(question: Question) -> Verdict:
    """Answer.

    Raises:
        ConfigError: no cell of the stream is required: a verdict would say nothing.
    """
    q, policy = question, question.policy.for_stream(question.stream)
    cells = cells_of(q.matrix, q.stream, policy)
    stream = policy.image_streams.get(q.stream, q.stream)
    expected = Expected(stream, q.build_id, q.now, q.metadata.builds)
    reports = [examine(cell, q.evidence, expected, policy) for cell in cells]
    own = q.histories[0] if q.histories else History(q.stream)
    arches = list(dict.fromkeys(cell.arch for cell in cells if cell.required))
    findings = [
        *(finding for report in reports for finding in report.findings),
        *untested(reports),
        *same_deployment(reports),
        *flaky(reports, own, policy),
        *shrunk(reports, own, policy),
        *regressions(reports, q.metadata.builds, q.histories or [own], policy),
        *check_phase(q.phase, stream, q.build_id, arches, q.metadata),
    ]
    waived = waive(findings, q.waivers, dt.datetime.fromtimestamp(q.now, dt.UTC).date())
    names = {job.name for cell in q.matrix.cells for job in cell.jobs}
    strays = [f"{folder}: belongs to no cell of {q.matrix.source}" for folder in sorted(set(q.evidence) - names)]
    notes = (*_part(q, cells, policy), *_unknown(q, own), *waived.notes, *strays)
    return Verdict(q, tuple(reports), waived.findings, notes)


def cells_of(matrix: Matrix, stream: str, policy: Policy) -> tuple[Cell, ...]:
    """Return the cells that a verdict about a stream is made of.

    Raises:
        ConfigError: as ``decide``.
    """
    cells = matrix.select(_choice(stream, policy))
    if not any(cell.required for cell in cells):
        raise ConfigError(f"{matrix.source}: no cell of {stream} is required: there is nothing to decide")
    return cells


def _choice(stream: str, policy: Policy) -> Choice:
    return Choice(cadence=policy.cadence, streams=[stream], platforms=policy.platforms, suites=policy.suites)


def _part(question: Question, cells: Sequence[Cell], policy: Policy) -> Iterator[str]:
    """Say which cells the policy leaves out, if any: such a verdict says nothing of these."""
    words = {"platforms": policy.platforms, "suites": policy.suites}
    if only := "; ".join(f"{key}: {', '.join(names)}" for key, names in words.items() if names):
        everything = question.matrix.select(_choice(question.stream, replace(policy, platforms=(), suites=())))
        yield f"this is about {len(cells)} of {len(everything)} cells of {question.stream}: the policy's {only}"
    rarer = [
        cell.name
        for cell in question.matrix.select(Choice(streams=[question.stream]))
        if cell.required and not policy.cadence.includes(cell.cadence)
    ]
    if rarer:
        yield f"required, but run less often than {policy.cadence}, and not looked at: {some(rarer, 5)}"


def _unknown(question: Question, own: History) -> Iterator[str]:
    """Say what nobody gave to compare with."""
    if not question.metadata.builds and not question.metadata.wanted:
        yield "no meta.json was given: the images and deployments that were booted are compared with nothing"
    if own.promoted is not None and not own.released:
        yield f"nobody says which builds were released: the last one counts as that, {own.promoted.build_id}"
