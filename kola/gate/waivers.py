"""What a person answers for, until a day: the file of waivers, and findings that they let pass. Pure."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kola.gate.findings import WAIVABLE, Code, Finding
from kola.matrix.table import Table, read_toml

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_KEYS = ("code", "pattern", "reason", "owner", "tracker", "expires")


_WILD = {"*": ".*", "?": "."}


def _regex(pattern: str) -> re.Pattern[str]:
    """Return what a pattern means. Brackets are themselves: names of tests have them."""
    return re.compile("".join(_WILD.get(char) or re.escape(char) for char in pattern), re.DOTALL)


@dataclass(frozen=True)
class Waiver:
    """Lets findings pass.

    Attributes:
        code: of the findings.
        pattern: of their subjects; ``*`` stands for anything, also ``/``, ``.`` and ``::``, ``?`` for one character.
        reason: why that is no reason to hold the release.
        owner: who says so.
        tracker: where it is being repaired.
        expires: the last day on which it holds (UTC).
    """

    code: Code
    pattern: str
    reason: str
    owner: str
    tracker: str
    expires: dt.date

    def covers(self, finding: Finding) -> bool:
        """Tell whether a finding is of this kind, whatever day it is."""
        return finding.code is self.code and _regex(self.pattern).fullmatch(finding.subject) is not None

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.reason} ({self.owner}, {self.tracker}, until {self.expires})"


@dataclass(frozen=True)
class Waived:
    """Findings after the waivers, and what there is to say of these: one that is not needed, or has expired."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def parse_waivers(text: str, source: str, *, today: dt.date, most_days: int) -> tuple[Waiver, ...]:
    """Read the file.

    Args:
        text: of the file.
        source: names it in messages.
        today: in UTC.
        most_days: how long a waiver may still hold.

    Raises:
        ConfigError: something in it is wrong; names what.
    """
    top = read_toml(text, source, ("waivers",))
    listed = top.data.get("waivers", [])
    if not isinstance(listed, list):
        raise top.wrong("waivers", "tables, each headed [[waivers]]")
    return tuple(
        _waiver(Table(f"{source}: [[waivers]] {number}", data, _KEYS), today, most_days)
        for number, data in enumerate(listed, 1)
    )


def _waiver(table: Table, today: dt.date, most_days: int) -> Waiver:
    code = Code(table.one_of("code", sorted(WAIVABLE)))
    texts = {key: table.text(key) for key in ("pattern", "reason", "owner", "tracker")}
    named = re.split(r"[*?]", texts["pattern"], maxsplit=1)
    if len(named) > 1 and "." not in named[0]:
        raise table.wrong("pattern", "the stream and a dot before the first * or ?, such as 'testing.*'")
    expires = table.data.get("expires")
    if not isinstance(expires, dt.date) or isinstance(expires, dt.datetime):
        raise table.wrong("expires", "a date such as 2030-12-31, without quotes")
    if expires > (last := today + dt.timedelta(days=most_days)):
        raise table.wrong("expires", f"a day up to {last} ({most_days} days from now: waiver_days of the policy)")
    return Waiver(code, **texts, expires=expires)


def waive(findings: Iterable[Finding], waivers: Sequence[Waiver], today: dt.date) -> Waived:
    """Let pass what waivers cover that hold today; what only an expired one covers says so."""
    done, used = [], set()
    for finding in findings:
        covering = [waiver for waiver in waivers if waiver.covers(finding)]
        used.update(covering)
        valid = next((waiver for waiver in covering if waiver.expires >= today), None)
        if valid is not None:
            done.append(replace(finding, waiver=valid))
        elif covering:
            expired = covering[0]
            said = f"{finding.text}; the waiver of {expired.owner} expired on {expired.expires}: {expired.tracker}"
            done.append(replace(finding, text=said))
        else:
            done.append(finding)
    unused = [waiver for waiver in waivers if waiver not in used]
    notes = [
        f"waiver {waiver.code} {waiver.pattern} of {waiver.owner} "
        + (f"expired on {waiver.expires}" if waiver.expires < today else "covers nothing")
        + ": can be removed"
        for waiver in unused
    ]
    return Waived(tuple(done), tuple(notes))
