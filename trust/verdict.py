"""The verdict on one fault: what was seen, held against what the definition says."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trust.faults import Fault
    from trust.observation import Failure, Observation


_SECTION = "-- Captured "
_CHECKS = "-- Captured checks "
_MESSAGE = "E  "
"""How pytest marks the message among the lines of the source."""
_CUT = "[...]"
"""Begins what is too long to be kept whole: the message is gone then."""


class Status(enum.StrEnum):
    """What became of a fault."""

    CAUGHT = "caught"
    MISNAMED = "caught, named wrong"
    """A test failed, but no failure says what is broken."""
    MISSED = "missed"
    NOT_APPLIED = "not applied"
    """The fault did not come into the system; what tests said is no result."""
    NO_RESULT = "no result"
    """The provider failed, or the run did not come to its end: to be run again."""
    NOT_RUN = "not run"


RESULTS = frozenset({Status.CAUGHT, Status.MISNAMED, Status.MISSED})
"""These count; the others say nothing about the suites."""


@dataclass(frozen=True)
class Verdict:
    """What became of a fault.

    Attributes:
        fault: its name.
        status: how it ended.
        caught_by: the tests that failed, those that name the fault first; none that also failed in a clean run.
        named_by: those of them that name it.
        seconds: from the first machine's being up to the end of the first failing test; None if none failed.
        broke: tests that had to stay green, failed, and do not name the fault.
        doubtful: tests that failed here, but also in a clean run.
        problem: why there is no result, or what was not run.
    """

    fault: str
    status: Status
    caught_by: tuple[str, ...] = ()
    named_by: tuple[str, ...] = ()
    seconds: float | None = None
    broke: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    problem: str = ""


def judge(fault: Fault, seen: Observation | None, alarms: frozenset[str] = frozenset()) -> Verdict:
    """Judge one fault.

    Args:
        fault: its definition.
        seen: of its run; None if there is none.
        alarms: tests that failed in a clean run: they prove nothing.
    """
    if seen is None:
        return Verdict(fault.name, Status.NOT_RUN)
    if seen.not_applied:
        return Verdict(fault.name, Status.NOT_APPLIED, problem=seen.problem)
    if seen.problem:
        return Verdict(fault.name, Status.NO_RESULT, problem=seen.problem)
    failures = [failure for failure in seen.failures if failure.test not in alarms]
    naming = tuple(failure.test for failure in failures if fault.is_named_in(said(failure)))
    others = tuple(failure.test for failure in failures if failure.test not in naming)
    found = Status.CAUGHT if naming else Status.MISNAMED
    return Verdict(
        fault.name,
        found if failures else Status.MISSED,
        caught_by=naming + others,
        named_by=naming,
        seconds=failures[0].seconds if failures else None,
        broke=tuple(test for test in others if must_stay_green(fault, test)),
        doubtful=tuple(failure.test for failure in seen.failures if failure.test in alarms),
        problem=f"{len(seen.unknown)} tests not run" if seen.unknown else "",
    )


def said(failure: Failure) -> str:
    """What a failure says by itself: its message, and what the checks found.

    The test's name, its source and the last words of its machine are left out: they may hold any word by accident.
    """
    parts: list[list[str]] = [[]]
    for line in failure.text.splitlines():
        if line.startswith(_SECTION):
            parts.append([])
        parts[-1].append(line)
    message, *sections = parts
    # Anywhere: that of a teardown follows the sections of the call.
    marked = [line for part in parts for line in part if line.startswith(_MESSAGE)]
    if message and message[0].startswith(_CUT):
        message = []
    checks = [line for section in sections if section[0].startswith(_CHECKS) for line in section[1:]]
    return "\n".join([failure.reason, *(marked or message), *checks])


def must_stay_green(fault: Fault, test: str) -> bool:
    """Tell whether the definition says that this test has to pass all the same."""
    file = test.partition("::")[0]
    wanted = [pattern for pattern in fault.green if not pattern.startswith("!")]
    excused = [pattern[1:] for pattern in fault.green if pattern.startswith("!")]
    return any(fnmatchcase(file, pattern) for pattern in wanted) and not any(fnmatchcase(file, p) for p in excused)
