"""Reading audit records as the kernel, auditd and user-space object managers write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAY_BE_PERMISSIVE = re.compile(
    r"afterburn_t|bootupd_t|coreos_\w+_t|systemd_\w+_generator_t|systemd_(?:hibernate_resume|pcrextend|pcrlock)_t"
)
"""Domains that the policy of Fedora and of Fedora CoreOS itself declares permissive: nothing is ever denied to them.

Source: selinux-policy (systemd.te, coreos_installer.te), fedora-coreos-tracker 1768, bootupd 868.
"""

_RECORD = re.compile(r"audit\((\d+\.\d+):(\d+)\)")
_DENIED = re.compile(r"avc:\s+denied\s+\{\s*(?P<permissions>[^}]*?)\s*\}\s+for\s+(?P<fields>.*)")
_FIELD = re.compile(r'(?P<name>[a-z_]+)=(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s\']+))')
_HEX = re.compile(r"(?:[0-9A-F]{2})+")
_OBJECT_FIELDS = ("path", "name", "dest", "src", "service", "kmod")
_TEXT_FIELDS = {"path", "name", "comm"}
_NOT_PRINTED = re.compile(r"auditd?_printk_skb: (\d+) callbacks suppressed")
_NEAR = 20_000  # characters in which a neighbouring record is looked for
_LONG = 600  # seconds for which suppressed records can go without the line that tells of them


@dataclass(frozen=True)
class Record:
    """What names an audit event within a machine: seconds since the epoch, and a number that a boot counts up."""

    stamp: float
    serial: int


def read_records(text: str) -> list[Record]:
    """Return the events named in a log, in order: ``audit(STAMP:SERIAL)``."""
    if "audit(" not in text:
        return []
    return [_record(*pair) for pair in _RECORD.findall(text)]


def nothing_lost(log: str, start: int, end: int, records: Iterable[Record]) -> bool:
    """Say whether a line of the kernel's log that tells of suppressed audit records is harmless.

    The kernel limits how fast it prints audit records, but journald and auditd get them all another way
    (``kauditd_thread`` in ``kernel/audit.c``). Nothing is lost if other logs hold every serial number between the
    records printed before and after that line; in a log that begins in between, as many before the one after it as
    were suppressed. Only lines that tell of printing are excused.

    Args:
        log: the kernel's log.
        start: where the line begins.
        end: where it ends.
        records: what all logs hold.
    """
    suppressed = _NOT_PRINTED.search(log, start, end)
    following = _RECORD.search(log, end, end + _NEAR)
    if suppressed is None or following is None:
        return False
    after = _record(*following.groups())
    preceding = _RECORD.findall(log, max(0, start - _NEAR), start)
    if preceding:
        before = _record(*preceding[-1])
    else:
        before = Record(after.stamp - _LONG, after.serial - 1 - int(suppressed[1]))
    held = {record.serial for record in records if before.stamp <= record.stamp <= after.stamp}
    return before.serial < after.serial and set(range(before.serial + 1, after.serial)) <= held


def _record(stamp: str, serial: str) -> Record:
    return Record(float(stamp), int(serial))


@dataclass(frozen=True)
class Denial:
    """Who was denied what on which object.

    Attributes:
        source: type of the subject's context, such as ``container_t``.
        permissions: as written, such as ``read write``.
        target: type of the object's context.
        tclass: class of the object, such as ``file``.
        object: its path, name or port; empty if the record has none.
        comm: the program; empty if unknown.
        permissive: it was only logged, not prevented.
    """

    source: str
    permissions: str
    target: str
    tclass: str
    object: str = ""
    comm: str = ""
    permissive: bool = False

    @property
    def by_design(self) -> bool:
        """Whether the domain is one that the policy declares permissive, and so nothing was denied to it."""
        return self.permissive and MAY_BE_PERMISSIVE.fullmatch(self.source) is not None

    def __str__(self) -> str:
        name = f' "{self.object}"' if self.object else ""
        comm = f" by {self.comm}" if self.comm else ""
        mode = " [permissive]" if self.permissive else ""
        return f"{self.source} was denied {{ {self.permissions} }} on {self.target} {self.tclass}{name}{comm}{mode}"


def parse_denial(line: str) -> Denial | None:
    """Read a denial out of a line of the audit log, the kernel's log or a user-space manager; None if it holds none.

    Records are ``avc:  denied  { PERMISSIONS } for  KEY=VALUE...``; a value that could hold a space or a quote is
    written in upper-case hexadecimal without quotes (``audit_log_untrustedstring`` in the kernel).
    """
    match = _DENIED.search(line)
    if match is None:
        return None
    values: dict[str, str] = {}
    for field in _FIELD.finditer(match["fields"]):
        name, bare = field["name"], field["bare"]
        if bare is None:
            values.setdefault(name, field["quoted"])
        elif name in _TEXT_FIELDS and _HEX.fullmatch(bare):
            values.setdefault(name, bytes.fromhex(bare).decode(errors="replace").replace("\0", " "))
        else:
            values.setdefault(name, bare)
    if not {"scontext", "tcontext", "tclass"} <= values.keys():
        return None  # cut off, or merely words about a denial
    return Denial(
        source=_type(values["scontext"]),
        permissions=" ".join(match["permissions"].split()),
        target=_type(values["tcontext"]),
        tclass=values["tclass"],
        object=next((values[name] for name in _OBJECT_FIELDS if values.get(name)), ""),
        comm=values.get("comm", ""),
        permissive=values.get("permissive") == "1",
    )


def _type(context: str) -> str:
    """Return the type of a context ``user:role:type:range``; an unmapped or odd one whole."""
    parts = context.split(":")
    return parts[2] if len(parts) > 2 else context  # noqa: PLR2004 - the third part
