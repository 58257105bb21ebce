"""Reading runs and their logs from where they lie."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola import results
from kola.errors import ConfigError
from kola.report import excerpts
from kola.report.runs import Found, Note
from kola.report.stores import RECORD

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kola.report.excerpts import Excerpt
    from kola.report.model import Evidence, Problem
    from kola.report.runs import Run
    from kola.report.stores import Store

MOST_RECORD = 256 * 1024**2
MOST_LOG = 16 * 1024**2
"""Bytes of a log's end that an excerpt is taken from."""
READERS = 8
KEPT = 8
"""Files that are kept for the next test: machines are shared."""
MACHINES = 3
"""Machines of a test whose logs are shown."""
CONSOLE, JOURNAL = "console.txt", "journal.jsonl"


@dataclass(frozen=True)
class Library:
    """All stores; a file's path in it is the number of its store and its key there.

    Attributes:
        stores: what the report is about.
        history: where earlier runs are.
    """

    stores: tuple[Store, ...]
    history: tuple[Store, ...] = ()

    def tail(self, path: str, most: int) -> bytes | None:
        """Return the last so many bytes of a file; None if there is none."""
        found = self._find(path)
        return None if found is None else found[0].tail(found[1], most)

    def file(self, path: str) -> Path | None:
        """Return where a file is on this host; None if it is elsewhere or nowhere."""
        found = self._find(path)
        return None if found is None else found[0].file(found[1])

    def _find(self, path: str) -> tuple[Store, str] | None:
        number, _, key = path.partition("/")
        known = {str(index): store for index, store in enumerate((*self.stores, *self.history))}
        return (known[number], key) if number in known else None

    def found(self, most: int) -> tuple[list[Found], list[Note]]:
        """Read all records, of the history the newest; returns what could not be read, too.

        Args:
            most: records of the history that are read, of each of its stores.

        Raises:
            ConfigError: a store cannot be listed.
        """
        wanted: list[tuple[int, str, bool]] = []
        for number, store in enumerate((*self.stores, *self.history)):
            given = number < len(self.stores)
            keys = store.records()
            wanted += [(number, key, given) for key in (keys if given else keys[:most])]
        with ThreadPoolExecutor(READERS) as pool:
            read = list(pool.map(lambda one: self._record(*one), wanted))
        return [one for one in read if isinstance(one, Found)], [one for one in read if isinstance(one, Note)]

    def _record(self, number: int, key: str, given: bool) -> Found | Note:  # noqa: FBT001 - of map()
        store = (*self.stores, *self.history)[number]
        try:
            text = store.tail(key, MOST_RECORD)
            if text is None:
                return Note(f"{store.name}: {key} is gone", given)
            record = results.parse(text, f"{store.name.rstrip('/')}/{key}")
        except ConfigError as e:
            return Note(str(e), given)
        folder = key.removesuffix(RECORD).rstrip("/")
        return Found(record, f"{number}/{folder}" if folder else str(number), given)


@dataclass(frozen=True)
class Tab:
    """One log of one try of a test: what is shown of it, and the file that has all of it."""

    label: str
    path: str
    excerpt: Excerpt


@dataclass(frozen=True)
class Logs:
    """The logs of a problem, side by side."""

    bad: tuple[Tab, ...] = ()
    good: tuple[Tab, ...] = ()


class Reader:
    """Reads excerpts.

    Attributes:
        unreadable: what could not be read, and why.
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        self.unreadable: list[str] = []
        self._tail = functools.lru_cache(KEPT)(self._read)

    def logs_of(self, problem: Problem) -> Logs:
        """Return the logs of a problem; where there is a good run, what is new against that is marked."""
        good = self._tabs(problem.good) if problem.good else ()
        known = {tab.label: tab.excerpt for tab in good}
        bad = [Tab(tab.label, tab.path, tab.excerpt.against(known.get(tab.label))) for tab in self._tabs(problem.bad)]
        return Logs(tuple(bad), good)

    def _tabs(self, evidence: Evidence) -> tuple[Tab, ...]:
        tabs = []
        several = len(evidence.artifacts) > 1
        for number, folder in enumerate(evidence.artifacts[:MACHINES], 1):
            suffix = f" {number}" if several else ""
            if (data := self._tail(f"{folder}/{JOURNAL}")) is not None:
                whole = len(data) < MOST_LOG
                excerpt = excerpts.journal_of(data, evidence.window, whole=whole)
                tabs.append(Tab(f"Journal{suffix}", f"{folder}/{JOURNAL}", excerpt))
            if (data := self._tail(f"{folder}/{CONSOLE}")) is not None:
                excerpt = excerpts.console(data, whole=len(data) < MOST_LOG)
                tabs.append(Tab(f"Console{suffix}", f"{folder}/{CONSOLE}", excerpt))
        return tuple(tabs)

    def ignition_of(self, run: Run) -> Mapping[str, tuple[float, float]]:
        """Return when Ignition ran in the machines of a run that were booted, as their journals say."""
        spans = {}
        for name, machine in run.record.machines.items():
            if machine.origin != "boot" or machine.booting is None or not machine.artifacts:
                continue
            data = self._tail(f"{machine.artifacts}/{JOURNAL}")
            until = machine.up or machine.gone or machine.booting + 3600
            if data and (span := excerpts.ignition_span(data, machine.booting - 1, until)):
                spans[name] = span
        return spans

    def _read(self, path: str) -> bytes | None:
        try:
            return self.library.tail(path, MOST_LOG)
        except ConfigError as e:
            self.unreadable.append(str(e))
            return None
