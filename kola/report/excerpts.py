"""What of a log is shown beside a failure, and what in it is new against the last good run. Pure."""

from __future__ import annotations

import base64
import gzip
import re
from dataclasses import dataclass, replace

from kola import journal
from kola.report.scrub import scrub, scrub_line, without_keys
from kola.text import strip_terminal

CONSOLE_LINES = 200
JOURNAL_LINES = 400
LINE = 1000
"""Characters of a line that are shown."""
MARGIN = 1.0
"""Seconds before and after a test that its journal is shown for, too."""

_NEVER_THE_SAME = re.compile(r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8,}|\d+")
_HEAD = re.compile(r"^[A-Z][a-z]{2} \d\d (\d\d:\d\d:\d\d\.\d{3}) \S* ")
"""Moment and host name of ``JournalEntry.short``: beside a failure, all is of one day and machine."""
_TIME = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} ")
_LEVELS = {0: "e", 1: "e", 2: "e", 3: "e", 4: "w"}
"""Priority -> error, warning."""


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        text: fit for a person, without secrets.
        level: ``e`` of an error, ``w`` of a warning, else a blank.
        new: there is none like it in the log that it was compared with.
    """

    text: str
    level: str = " "
    new: bool = False


@dataclass(frozen=True)
class Excerpt:
    """A part of a log; ``left_out`` is the number of its lines before that, None if that is not known."""

    lines: tuple[Line, ...]
    left_out: int | None = 0

    def against(self, good: Excerpt | None) -> Excerpt:
        """Mark what is new against the same log of a good run."""
        if good is None:
            return self
        known = {_key(line.text) for line in good.lines}
        return replace(self, lines=tuple(replace(line, new=_key(line.text) not in known) for line in self.lines))

    def packed(self) -> str:
        """Return it for the page: two characters of flags before each line, gzip, base64."""
        return pack("\n".join(f"{'+' if line.new else ' '}{line.level}{line.text}" for line in self.lines))


def pack(text: str) -> str:
    """Compress text for the page; the same text gives the same."""
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), mtime=0)).decode("ascii")


def message(text: str, most: int) -> Excerpt:
    """Return what pytest shows of a failure; its own marks (``E``) tell what is the error. Its end, if it is long."""
    lines = scrub(strip_terminal(text)).split("\n")
    return Excerpt(
        tuple(Line(line[:LINE], "e" if line.startswith("E ") else " ") for line in lines[-most:]),
        max(0, len(lines) - most),
    )


def console(data: bytes, *, whole: bool) -> Excerpt:
    """Return the end of a console.

    Args:
        data: of the file, or its end.
        whole: whether that is all of it.
    """
    text = scrub(strip_terminal(data.decode(errors="replace")))
    lines = [line.rstrip() for line in text.split("\n") if line.strip()]
    left_out = max(0, len(lines) - CONSOLE_LINES)
    return Excerpt(tuple(Line(line[:LINE]) for line in lines[-CONSOLE_LINES:]), left_out if whole else None)


def journal_of(data: bytes, window: tuple[float, float] | None, *, whole: bool) -> Excerpt:
    """Return what a machine logged in a time; its last lines if there is no such time, or nothing was logged in it.

    Args:
        data: lines of ``journalctl -o json``; the first and the last may be half ones.
        window: unix seconds.
        whole: whether that is all of the journal.
    """
    entries = journal.parse(data.decode(errors="replace"))
    texts = [_HEAD.sub(r"\1 ", entry.short()).rstrip().split("\n") for entry in entries]
    safe = iter(without_keys([line for text in texts for line in text]))  # each line of a key may be an entry
    told = [(entry, [next(safe) for _ in text]) for entry, text in zip(entries, texts, strict=True)]
    told = [(entry, text) for entry, text in told if journal.telling([entry], 1)]
    inside = [(entry, text) for entry, text in told if window and _is_in(entry, window)]
    shown = (inside or told)[-JOURNAL_LINES:]
    lines = [Line(scrub_line(line)[:LINE], _LEVELS.get(entry.priority, " ")) for entry, text in shown for line in text]
    return Excerpt(tuple(lines[-JOURNAL_LINES:]), len(told) - len(shown) if whole else None)


def ignition_span(data: bytes, since: float, until: float) -> tuple[float, float] | None:
    """Return when Ignition ran in a boot, as the machine's clock says; None if the journal does not tell.

    Args:
        data: the beginning of a journal.
        since: unix seconds; a clone's journal has the boot of the machine that it was cloned from.
        until: unix seconds.
    """
    moments = [
        entry.realtime_usec / 1e6
        for entry in journal.parse(data.decode(errors="replace"))
        if entry.identifier == "ignition"
    ]
    moments = [moment for moment in moments if since <= moment <= until]
    return (moments[0], moments[-1]) if moments else None


def _is_in(entry: journal.JournalEntry, window: tuple[float, float]) -> bool:
    return window[0] - MARGIN <= entry.realtime_usec / 1e6 <= window[1] + MARGIN


def _key(text: str) -> str:
    """Return what two lines that say the same have in common."""
    return _NEVER_THE_SAME.sub("#", _TIME.sub("", text))
