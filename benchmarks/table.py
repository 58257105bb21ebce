"""One table for everything that is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Row:
    """One line.

    Attributes:
        what: was measured.
        value: the ratio, or another figure if ``unit`` says so.
        unit: ``x`` for a ratio.
        goal: what the figure ought to be, in words; empty for information only.
        reached: whether it is that; None without a goal.
        detail: the times behind the ratio. They depend on the machine and on what else runs on it.
    """

    what: str
    value: float
    unit: str = "x"
    goal: str = ""
    reached: bool | None = None
    detail: str = ""

    def __str__(self) -> str:
        """One line of the table."""
        verdict = {True: "yes", False: "NO", None: ""}[self.reached]
        return f"{self.what:44} {self.value:9.2f} {self.unit:3} {self.goal:16} {verdict:3}  {self.detail}"


HEADER = f"{'what':44} {'figure':>9}     {'goal':16} met  how"


def at_least(what: str, value: float, goal: float, detail: str) -> Row:
    """Return a row of a ratio that ought to be large."""
    return Row(what, value, goal=f"at least {goal:g} x", reached=value >= goal, detail=detail)


def at_most(what: str, value: float, goal: float, detail: str, unit: str = "x") -> Row:
    """Return a row of a figure that ought to be small."""
    return Row(what, value, unit, f"at most {goal:g} {unit}", value <= goal, detail)


def show(rows: Iterable[Row]) -> None:
    """Print rows as they come."""
    for row in rows:
        print(row, flush=True)
