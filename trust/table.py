"""The table of verdicts, as text and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trust.verdict import RESULTS, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trust.faults import Fault
    from trust.store import Record
    from trust.verdict import Verdict

HEADER = ("fault", "kind", "verdict", "named", "after", "caught by", "had to stay green", "note")
_SHOWN = 3
"""Tests that are named in a cell; of more there is the number."""


def rate(verdicts: Iterable[Verdict]) -> str:
    """How many were caught, in one line; what has no result is not counted among them, and said."""
    all_ = list(verdicts)
    judged = [verdict for verdict in all_ if verdict.status in RESULTS]
    caught = [verdict for verdict in judged if verdict.status is not Status.MISSED]
    named = [verdict for verdict in judged if verdict.status is Status.CAUGHT]
    percent = f" ({100 * len(caught) / len(judged):.0f} %)" if judged else ""
    words = [f"{len(caught)} of {len(judged)} caught{percent}, {len(named)} of them named right"]
    missed = [verdict.fault for verdict in judged if verdict.status is Status.MISSED]
    if missed:
        words.append(f"missed: {', '.join(missed)}")
    if without := [verdict.fault for verdict in all_ if verdict.status not in RESULTS]:
        words.append(f"no result: {', '.join(without)}")
    return "; ".join(words)


def clean_line(cleans: Sequence[tuple[int, Record]], what: str) -> str:
    """What clean runs of one kind showed, in one line."""
    whole = [record for _, record in cleans if record.is_result]
    tests = sum(len(record.seen.passed) + len(record.seen.failures) for record in whole)
    said = alarms(cleans) or ("no false alarm" if whole else "nothing known")
    broken = len(cleans) - len(whole)
    more = f"; {broken} without a result" if broken else ""
    return f"clean runs of {what}: {len(whole)} ({tests} tests), {said}{more}"


def alarms(cleans: Iterable[tuple[int, Record]]) -> str:
    """Which tests failed in clean runs; empty if none did."""
    return "; ".join(
        f"run {number}: {', '.join(failure.test for failure in record.seen.failures)}"
        for number, record in cleans
        if record.seen.failures
    )


def rows(faults: Iterable[Fault], verdicts: dict[str, Verdict], stale: frozenset[str]) -> list[tuple[str, ...]]:
    """The table's rows.

    Args:
        faults: in the order of the rows.
        verdicts: by the fault's name.
        stale: faults whose definition or tests have changed since.
    """
    found: list[tuple[str, ...]] = []
    for fault in faults:
        verdict = verdicts[fault.name]
        named = {Status.CAUGHT: "right", Status.MISNAMED: "wrong"}.get(verdict.status, "")
        notes = [verdict.problem] if verdict.problem else []
        if verdict.doubtful:
            notes.append(f"failed in a clean run, too: {tests(verdict.doubtful)}")
        if fault.name in stale:
            notes.append("before a change")
        after = "" if verdict.seconds is None else f"{verdict.seconds:.0f} s"
        cells = (tests(verdict.caught_by), tests(verdict.broke), "; ".join(notes))
        found.append((fault.name, str(fault.kind), str(verdict.status), named, after, *cells))
    return found


def tests(names: Sequence[str]) -> str:
    """Name some tests, and say how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def as_text(table: Sequence[tuple[str, ...]]) -> str:
    """The table for a terminal: a fault a line, and below it what is too long for a column."""
    short = [row[:5] for row in (HEADER, *table)]
    widths = [max(len(row[column]) for row in short) for column in range(5)]
    lines = []
    for row in (HEADER, *table):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row[:5], widths, strict=True)).rstrip())
        if row is not HEADER:
            lines += [f"    {name}: {cell}" for name, cell in zip(HEADER[5:], row[5:], strict=True) if cell]
    return "\n".join(lines)


def as_markdown(table: Sequence[tuple[str, ...]], summary: Sequence[str]) -> str:
    """The table as a page."""
    head = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    body = [f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in table]
    return "\n".join(["# Trust", "", *(f"- {line}" for line in summary), "", *head, *body, ""])


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
