"""The record of a run in the Test Anything Protocol, version 13 (https://testanything.org); pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kola.results import Outcome

if TYPE_CHECKING:
    from kola.results import RunRecord, TestRecord

_GOOD = {Outcome.PASSED, Outcome.FLAKY, Outcome.SKIPPED}
# A failure that does not count is what the protocol calls TODO.
_DIRECTIVES = {Outcome.SKIPPED: "SKIP", Outcome.WARNED: "TODO"}


def to_tap(record: RunRecord) -> str:
    """Return it: a line for each test, sorted by node id, and the reason of what did not pass below its line."""
    tests = [test for _, test in sorted(record.tests.items())]
    lines = ["TAP version 13", f"1..{len(tests)}"]
    for number, test in enumerate(tests, start=1):
        lines += _lines(number, test)
    if not record.complete:
        lines.append("Bail out! the run was cut short")
    return "".join(f"{line}\n" for line in lines)


def _lines(number: int, test: TestRecord) -> list[str]:
    said = f"{'ok' if test.outcome in _GOOD else 'not ok'} {number} - {_escaped(test.nodeid)}"
    directive = _DIRECTIVES.get(test.outcome)
    if directive:
        return [f"{said} # {directive} {_one_line(test.reason)}".rstrip()]
    why = test.reason or ("not run" if test.outcome is Outcome.NOT_RUN else "")
    return [said, *([f"# {test.outcome}: {_one_line(why)}"] if why else [])]


def _escaped(text: str) -> str:
    """Return a description in which nothing is taken for a directive."""
    return _one_line(text).replace("\\", "\\\\").replace("#", "\\#")


def _one_line(text: str) -> str:
    return " ".join(text.split())
