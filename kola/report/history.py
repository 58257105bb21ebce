"""A test through the builds: since when it is as it is, and when it was good last. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola.results import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kola.report.runs import Run
    from kola.results import TestRecord

SHOWN = 20
"""Points of a test that are shown."""

_FAILED = frozenset({Outcome.FAILED, Outcome.WARNED})
_STREAKS = {
    Outcome.FAILED: (_FAILED, frozenset({Outcome.PASSED, Outcome.FLAKY})),
    Outcome.WARNED: (_FAILED, frozenset({Outcome.PASSED, Outcome.FLAKY})),
    Outcome.FLAKY: (_FAILED | {Outcome.FLAKY}, frozenset({Outcome.PASSED})),
}
"""Outcome -> those that go on with it, and those that end it; others say nothing about the operating system."""


@dataclass(frozen=True)
class Point:
    """A test in one run."""

    run: Run
    test: TestRecord


@dataclass(frozen=True)
class Past:
    """What led to a test's present outcome.

    Attributes:
        recent: its last points, oldest first; the present one is the last.
        since: the first point of the streak that the present one is the last of.
        streak: number of its points that are part of it.
        last_good: the last point before it at which it passed, if there is one; where it never passed cleanly, one at
            which it was flaky.
    """

    recent: tuple[Point, ...]
    since: Point
    streak: int
    last_good: Point | None

    @property
    def new(self) -> bool:
        """Whether it is so for the first time after it was good."""
        return self.streak == 1 and self.last_good is not None


def past_of(points: Sequence[Point]) -> Past:
    """Look back from the last of these points, which are in the order of time."""
    present = points[-1].test.outcome
    same, other = _STREAKS.get(present, (frozenset({present}), frozenset(Outcome) - {present}))
    since, streak = points[-1], 0
    for point in reversed(points):
        if point.test.outcome in other:
            break
        if point.test.outcome in same:
            since, streak = point, streak + 1
    good = [point for point in points[:-1] if point.test.outcome is Outcome.PASSED]
    good = good or [point for point in points[:-1] if point.test.outcome is Outcome.FLAKY]
    return Past(tuple(points[-SHOWN:]), since, streak, good[-1] if good else None)
