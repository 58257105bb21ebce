"""A verdict for people, as a table and reasons, and for machines, as plain data. Pure."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING, Any

from kola.gate.findings import NEXT, Code
from kola.results import Outcome
from kola.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kola.gate.cells import CellReport
    from kola.gate.findings import Finding
    from kola.gate.verdict import Verdict

SCHEMA = 1
TOLD = frozenset({Code.WARNED, Code.NO_HISTORY})
"""What is told of even where the policy does not ask for it: it makes no cell a bad one then."""
_SHOWN = 10
"""Findings of one code in one cell that are shown to a person; more are counted."""


def to_plain(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as JSON has it; docs/gate.md."""
    question = verdict.question
    return {
        "schema": SCHEMA,
        "verdict": word(verdict),
        "stream": question.stream,
        "build": question.build_id,
        "phase": question.phase.value,
        "time": round(question.now, 3),
        "reasons": [_plain(finding) for finding in verdict.findings if finding.holds],
        "waived": [_plain(finding) for finding in verdict.findings if finding.waiver is not None],
        "informing": [_plain(f) for f in verdict.findings if not f.required and f.waiver is None],
        "cells": [_cell(verdict, report) for report in verdict.reports],
        "notes": list(verdict.notes),
    }


def word(verdict: Verdict) -> str:
    """Return ``release`` or ``hold``."""
    return "release" if verdict.release else "hold"


def state(verdict: Verdict, report: CellReport) -> str:
    """Return how a cell stands: ``passed``, ``waived``, or ``hold``; of one that only informs ``failed`` for that."""
    own = [finding for finding in verdict.findings if _cell_of(finding, report)]
    own = [finding for finding in own if finding.required or finding.code not in TOLD]
    if any(finding.waiver is None for finding in own):
        return "hold" if report.cell.required else "failed"
    return "waived" if own else "passed"


def _cell_of(finding: Finding, report: CellReport) -> bool:
    subject = finding.subject.partition("::")[0]
    return subject == report.cell.name or subject in {job.name for job in report.cell.jobs}


def _cell(verdict: Verdict, report: CellReport) -> dict[str, Any]:
    record = report.record
    return {
        "name": report.cell.name,
        "required": report.cell.required,
        "state": state(verdict, report),
        "counts": None if record is None else record.counts(),
        "runs": None if record is None else record.run_id.split("+"),
    }


def _plain(finding: Finding) -> dict[str, Any]:
    plain: dict[str, Any] = {"code": finding.code.value, "subject": finding.subject, "text": finding.text}
    if finding.waiver is not None:
        waiver = finding.waiver
        plain["waiver"] = {
            "reason": waiver.reason,
            "owner": waiver.owner,
            "tracker": waiver.tracker,
            "expires": waiver.expires.isoformat(),
        }
    return plain


_COLUMNS = (Outcome.PASSED, Outcome.FAILED, Outcome.FLAKY, Outcome.WARNED, Outcome.SKIPPED)


def to_table(verdict: Verdict) -> str:
    """Return it for a terminal: the cells, what holds, what was waived, and the answer in the last line."""
    question = verdict.question
    rows = [("CELL", "", "STATE", *(outcome.upper() for outcome in _COLUMNS))]
    for report in verdict.reports:
        counts = [str(report.record.counts()[outcome]) if report.record else "-" for outcome in _COLUMNS]
        needed = "required" if report.cell.required else "informs"
        rows.append((report.cell.name, needed, state(verdict, report), *counts))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width)  # noqa: PLR2004 - words, then numbers
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    waived = [finding for finding in verdict.findings if finding.waiver is not None]
    informing = [finding for finding in verdict.findings if not finding.required and finding.waiver is None]
    lines += _section("holds the release", [(finding, str(finding)) for finding in verdict.reasons])
    codes = [code for code in Code if any(finding.code is code for finding in verdict.reasons)]
    lines += ["", "what to do:", *(f"  {code}: {NEXT[code]}" for code in codes)] if codes else []
    lines += _section("waived", [(finding, f"{finding} -- {finding.waiver}") for finding in waived])
    lines += _section("informs", [(finding, str(finding)) for finding in informing])
    lines += ["", "notes:", *(f"  {one_line(note)}" for note in verdict.notes)] if verdict.notes else []
    when = dt.datetime.fromtimestamp(question.now, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    number = len(verdict.reasons)
    reasons = f": {number} reason{'s' if number > 1 else ''}" if number else ""
    lines += ["", f"{question.stream} {question.build_id} ({question.phase}, {when}): {word(verdict)}{reasons}"]
    return "\n".join(lines) + "\n"


def _section(title: str, found: Iterable[tuple[Finding, str]]) -> list[str]:
    """Return the lines of some findings; a hundred tests of one cell that were not run are a few lines."""
    lines: list[str] = []
    seen: Counter[tuple[str, str]] = Counter()
    for finding, line in found:
        group = finding.code.value, finding.subject.partition("::")[0]
        seen[group] += 1
        if seen[group] <= _SHOWN:
            lines.append(f"  {one_line(line)}")
    lines += [
        f"  {code}: {one_line(subject)}: and {times - _SHOWN} more"
        for (code, subject), times in seen.items()
        if times > _SHOWN
    ]
    return ["", f"{title}:", *lines] if lines else []
