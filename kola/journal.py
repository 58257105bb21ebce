"""The systemd journal as JSON lines: parsing, filtering, rendering, and a file of them that still grows."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from kola.text import strip_terminal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

Value = str | list[str]
UNIT_SUFFIXES = (
    ".service", ".socket", ".device", ".mount", ".automount", ".swap", ".target", ".path", ".timer", ".slice", ".scope",
)  # fmt: skip
DEFAULT_PRIORITY = 6
"""Of an entry that has none: informational, as journald itself assumes."""


@dataclass(frozen=True)
class JournalEntry:
    """One entry.

    Attributes:
        message: its text; empty if there is none or journalctl left it out as too long (``--all`` shows it).
        unit: the unit of the process that wrote it, or the one that systemd wrote about; empty for the kernel's.
        identifier: syslog identifier, else the process's name.
        priority: 0 (emergency) to 7 (debug).
        pid: of the process that wrote it, or None.
        transport: ``kernel``, ``stdout``, ``syslog``, ``journal``, ``audit``, ``driver``.
        cursor: its place in the journal.
        realtime_usec: microseconds since 1970, by the machine's clock.
        boot_id: 32 hex digits.
        hostname: of the machine.
        fields: all fields as strings; of a field that occurs several times, the lines of all its values.
    """

    message: str
    unit: str = ""
    identifier: str = ""
    priority: int = DEFAULT_PRIORITY
    pid: int | None = None
    transport: str = ""
    cursor: str = ""
    realtime_usec: int = 0
    boot_id: str = ""
    hostname: str = ""
    fields: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def short(self) -> str:
        """Return it as ``journalctl -o short`` does, but in UTC."""
        seconds, usec = divmod(self.realtime_usec, 1_000_000)
        moment = time.strftime("%b %d %H:%M:%S", time.gmtime(seconds))
        pid = f"[{self.pid}]" if self.pid is not None else ""
        head = f"{moment}.{usec // 1000:03d} {self.hostname} {self.identifier or 'unknown'}{pid}: "
        return head + strip_terminal(self.message).replace("\n", "\n" + " " * len(head))

    def concerns(self, unit: str) -> bool:
        """Say whether ``journalctl -u UNIT`` would show it.

        Source: systemd, ``add_matches_for_unit``: from the unit itself, from PID 1 about it, from root about it, and
        core dumps of it. A slice's entries are not followed into its units.
        """
        unit = unit if unit.endswith(UNIT_SUFFIXES) else f"{unit}.service"
        get = self.fields.get
        return (
            get("_SYSTEMD_UNIT") == unit
            or (get("_PID") == "1" and get("UNIT") == unit)
            or (get("_UID") == "0" and unit in {get("OBJECT_SYSTEMD_UNIT"), get("COREDUMP_UNIT")})
        )


def parse_line(line: str) -> JournalEntry | None:
    """Parse one line of ``journalctl -o json``; None if it is no complete entry.

    A machine that dies or reboots leaves half a line, and the next boot's first entry follows it without a line break:
    that entry is found. (Inside a JSON string a quote is escaped, so ``{"`` only ever begins an entry.)
    """
    for start in (0, max(line.rfind('{"'), 0)):
        try:
            raw = json.loads(line[start:])
        except ValueError:
            continue
        if isinstance(raw, dict):
            return _entry({name: _text(value) for name, value in raw.items()})
    return None


def parse(text: str) -> list[JournalEntry]:
    """Parse the lines of ``journalctl -o json``; what is no entry is left out."""
    # Not splitlines(): JSON may have U+2028 and the like inside a string.
    return [entry for line in text.split("\n") if (entry := parse_line(line)) is not None]


def of_unit(entries: Iterable[JournalEntry], unit: str) -> list[JournalEntry]:
    """Return those that ``journalctl -u UNIT`` would show."""
    return [entry for entry in entries if entry.concerns(unit)]


def after(entries: list[JournalEntry], cursor: str | None) -> list[JournalEntry]:
    """Return those behind the one with that cursor; all of them if it is None or no longer there."""
    for i in range(len(entries) - 1, -1, -1):
        if entries[i].cursor == cursor:
            return entries[i + 1 :]
    return entries[:]


def render(entries: Iterable[JournalEntry]) -> str:
    """Return them as lines for a person."""
    return "\n".join(entry.short() for entry in entries)


def telling(entries: Sequence[JournalEntry], count: int) -> list[JournalEntry]:
    """Return the last entries that tell a person something: not audit's records of logins, but its denials."""
    return [entry for entry in entries if entry.transport != "audit" or "denied" in entry.message][-count:]


class JournalFile:
    """A file of journal lines on this host that a machine still writes to.

    The journal's stream starts anew when its service does, so what was seen already (by cursor) is left out.

    Args:
        path: need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        """Number of complete lines that were no entry."""
        self._entries: list[JournalEntry] = []
        self._seen: set[str] = set()
        self._offset = 0
        self._lock = threading.Lock()

    def entries(self) -> list[JournalEntry]:
        """Return all entries so far; only what is new is read. A last line without its end waits for it."""
        with self._lock:
            with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
                self._read(file)
            return self._entries[:]

    def _read(self, file: IO[bytes]) -> None:
        file.seek(self._offset)
        new = file.read()
        new = new[: new.rfind(b"\n") + 1]
        self._offset += len(new)
        for line in new.decode(errors="replace").split("\n"):
            if not line.strip("\0\r "):
                continue
            entry = parse_line(line)
            if entry is None:
                self.damaged += 1
            elif not entry.cursor or entry.cursor not in self._seen:
                self._seen.add(entry.cursor)
                self._entries.append(entry)


def _text(value: object) -> str:
    """Decode a field: a string, null, bytes as numbers, or a list of these if the field occurs several times."""
    if isinstance(value, list):
        if value and all(isinstance(byte, int) for byte in value):
            return bytes(byte & 0xFF for byte in value).decode(errors="replace")
        return "\n".join(_text(item) for item in value)
    return "" if value is None else str(value)


def _entry(fields: dict[str, str]) -> JournalEntry:
    get = fields.get
    unit = get("_SYSTEMD_UNIT", "")
    if get("_PID") == "1":
        unit = get("UNIT") or unit
    elif get("_UID") == "0":
        unit = get("OBJECT_SYSTEMD_UNIT") or unit
    return JournalEntry(
        message=get("MESSAGE", ""),
        unit=unit,
        identifier=get("SYSLOG_IDENTIFIER") or get("_COMM") or "",
        priority=_number(get("PRIORITY"), DEFAULT_PRIORITY),
        pid=_number(get("_PID") or get("SYSLOG_PID")) or None,
        transport=get("_TRANSPORT", ""),
        cursor=get("__CURSOR", ""),
        realtime_usec=_number(get("__REALTIME_TIMESTAMP")),
        boot_id=get("_BOOT_ID", ""),
        hostname=get("_HOSTNAME", ""),
        fields=fields,
    )


def _number(text: str | None, default: int = 0) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else default
