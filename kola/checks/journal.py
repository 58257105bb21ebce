"""Reading journal entries as ``journalctl -o json`` writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kola.checks.audit import Record
from kola.checks.rule import AUDIT, KERNEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def field_text(entry: Mapping[str, Any], name: str) -> str:
    """Return a field as text; binary data comes as a list of numbers, a repeated field as a list of texts."""
    value = entry.get(name)
    if isinstance(value, list):
        if value and all(isinstance(item, int) for item in value):
            return bytes(value).decode(errors="replace")
        return str(value[-1]) if value else ""
    return "" if value is None else str(value)


def sender_and_text(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return who wrote an entry and what, audit records in the form of auditd's log."""
    transport = field_text(entry, "_TRANSPORT")
    identifier = field_text(entry, "SYSLOG_IDENTIFIER") or field_text(entry, "_COMM")
    message = field_text(entry, "MESSAGE")
    if transport == "kernel":
        # before there is a journal, systemd and dracut write to the kernel's log
        return KERNEL, message if identifier in {"", "kernel"} else f"{identifier}: {message}"
    if transport == "audit":
        name = field_text(entry, "_AUDIT_TYPE_NAME") or message.partition(" ")[0]
        record = _record(entry)
        when = "audit()" if record is None else f"audit({record.stamp:.3f}:{record.serial})"
        return AUDIT, f"type={name} msg={when}: {message.removeprefix(name).lstrip()}"
    return identifier, message


def audit_records(entries: Iterable[Mapping[str, Any]]) -> list[Record]:
    """Return the audit events that journald received itself, not through the kernel's log."""
    return [record for entry in entries if (record := _record(entry)) is not None]


def _record(entry: Mapping[str, Any]) -> Record | None:
    if entry.get("_TRANSPORT") != "audit":
        return None
    micros, serial = field_text(entry, "_SOURCE_REALTIME_TIMESTAMP"), field_text(entry, "_AUDIT_ID")
    return Record(int(micros) / 1e6, int(serial)) if micros.isdigit() and serial.isdigit() else None
