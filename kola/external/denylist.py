"""kola's denylist: which tests are skipped for now, which only warn, until when, and why. Pure.

Source: ``kola-denylist.yaml`` as kola reads it (docs/kola/adding-tests.md of coreos-assembler).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola.errors import ConfigError
from kola.external.glob import compiled, matches
from kola.external.metadata import is_date, parse_date
from kola.ignition.parts import APPENDED, BOOL, TEXT
from kola.ignition.shapes import Field, Object
from kola.yamltext import Mapping, Sequence, kind_of, parse
from kola.yamlvalues import Notes, read

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

FILE = "kola-denylist.yaml"
SKIP_CONSOLE_WARNINGS = "skip-console-warnings"
"""A pattern that is no test's: what the checks of console and journal find only warns."""

_ENTRY = Object(
    {
        **{key: Field(TEXT) for key in ("pattern", "tracker", "snooze")},
        **{key: Field(APPENDED) for key in ("streams", "arches", "platforms")},
        "warn": Field(BOOL),
    }
)


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
        pattern: of names of tests, or ``SKIP_CONSOLE_WARNINGS``.
        tracker: where the bug is followed up.
        streams: only for these; ``arches`` and ``platforms`` as well; empty is all.
        snooze: before this day it skips; from it on it does nothing, or warns.
        warn: a failure only warns.
        line: in the file.
    """

    pattern: str
    tracker: str = ""
    streams: tuple[str, ...] = ()
    arches: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    snooze: date | None = None
    warn: bool = False
    line: int = 0


@dataclass(frozen=True)
class Ruling:
    """What the denylist says of one test.

    Attributes:
        skip: why it is skipped; empty if it is not.
        warn: why a failure only warns; empty if it counts.
    """

    skip: str = ""
    warn: str = ""


def parse_denylist(text: bytes, source: str) -> tuple[Entry, ...]:
    """Read a denylist.

    Raises:
        ConfigError: one line with the file, the line and the key.
    """
    node = parse(text, source)
    if node is None:
        return ()
    if not isinstance(node, Sequence):
        raise ConfigError(f"{source}: line {node.line}: expected a list of entries, found {kind_of(node)}")
    entries = []
    for item in node.items:
        if not isinstance(item, Mapping):
            raise ConfigError(f"{source}: line {item.line}: expected an entry with a pattern, found {kind_of(item)}")
        notes = Notes(source, strict=True)
        values = read(_ENTRY, item, notes)
        if not values.get("pattern"):
            notes.wrong("pattern", "required, but missing")
        if (snooze := values.get("snooze")) and not is_date(snooze):
            notes.wrong("snooze", f"'{snooze}' is not a date such as 2026-01-31")
        notes.raise_if_wrong()
        try:
            compiled(values["pattern"])
        except ConfigError as e:
            raise ConfigError(f"{source}: line {item.line}: pattern: {e}") from e
        entries.append(
            Entry(
                values["pattern"],
                values.get("tracker", ""),
                streams=tuple(values.get("streams", ())),
                arches=tuple(values.get("arches", ())),
                platforms=tuple(values.get("platforms", ())),
                snooze=parse_date(snooze) if snooze else None,
                warn=values.get("warn", False),
                line=item.line,
            )
        )
    return tuple(entries)


@dataclass(frozen=True)
class Denylist:
    """The entries that hold for a target, on a day."""

    entries: tuple[Entry, ...]
    today: date

    @classmethod
    def of(cls, entries: Iterable[Entry], *, stream: str, arch: str, platform: str, today: date) -> Denylist:
        """Keep what is about this target; an entry with streams holds for none if the stream is not known."""
        return cls(tuple(e for e in entries if _holds(e, stream, arch, platform)), today)

    @property
    def console_warnings_pass(self) -> bool:
        """Whether what the checks find only warns."""
        return any(entry.pattern == SKIP_CONSOLE_WARNINGS for entry in self.entries)

    def ruling(self, name: str) -> Ruling:
        """Return what holds for a test; to skip it goes before to warn."""
        skip = warn = ""
        for entry in self.entries:
            if entry.pattern == SKIP_CONSOLE_WARNINGS or not matches(entry.pattern, name):
                continue
            why = f" ({entry.tracker})" if entry.tracker else ""
            if entry.snooze is not None and self.today < entry.snooze:
                skip = skip or f"snoozed until {entry.snooze} by the denylist: {entry.pattern}{why}"
            elif entry.warn:
                warn = warn or f"only warns by the denylist: {entry.pattern}{why}"
            elif entry.snooze is None:
                skip = skip or f"skipped by the denylist: {entry.pattern}{why}"
        return Ruling(skip, "" if skip else warn)

    def lines(self) -> list[str]:
        """Return a line for each entry that says what it does now."""
        return [self._line(entry) for entry in self.entries]

    def _line(self, entry: Entry) -> str:
        why = f" ({entry.tracker})" if entry.tracker else ""
        if entry.pattern == SKIP_CONSOLE_WARNINGS:
            return f"what the checks of console and journal find only warns{why}"
        if entry.snooze is None:
            return f"{entry.pattern} {'only warns' if entry.warn else 'is skipped'}{why}"
        if self.today < entry.snooze:
            return f"{entry.pattern} is snoozed until {entry.snooze}{why}"
        return (
            f"{entry.pattern} {'only warns' if entry.warn else 'counts'} again: its snooze ended on {entry.snooze}{why}"
        )


def _holds(entry: Entry, stream: str, arch: str, platform: str) -> bool:
    about = ((entry.streams, stream), (entry.arches, arch), (entry.platforms, platform))
    return all(not wanted or found in wanted for wanted, found in about)
