"""What a machine's console, journal, audit log and units say that must not be there. Pure: text in, findings out."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kola.checks.audit import MAY_BE_PERMISSIVE, Denial, Record, nothing_lost, parse_denial, read_records
from kola.checks.journal import audit_records, field_text, sender_and_text
from kola.checks.rule import Rule
from kola.checks.table import RULES, render_table
from kola.errors import ConfigError
from kola.text import strip_terminal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "MAY_BE_PERMISSIVE",
    "RULES",
    "Denial",
    "Finding",
    "Record",
    "Rule",
    "check_audit",
    "check_console",
    "check_journal",
    "check_machine",
    "check_units",
    "merge",
    "parse_denial",
    "render_table",
    "validate_skips",
    "verdict",
]

_STAMP = re.compile(r"(?:<\d+>)?\[\s*\d+\.\d+\](?:\[\s*[TC]\d+\])? ?")
# What differs between two occurrences of the same event: addresses, process ids, CPU numbers, counters
_VOLATILE = (
    (re.compile(r"audit\([\d.:]+\)"), "audit()"),
    (re.compile(r"\[[0-9a-f]+(?:,[0-9a-f]+)?\+[0-9a-f]+\]"), "[]"),
    (re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-f]{8,}\b"), "H"),
    (re.compile(r"\[\d+\]"), "[]"),
    (re.compile(r"(?i)\b(pid[ =:]+|process |cpu[ :=#]+)\d+"), r"\1"),
    (re.compile(r"/\d+$"), "/"),
    (re.compile(r"\b\d+(?= (?:callbacks suppressed|messages from|kernel messages|new suspected))"), "N"),
    (re.compile(r"\b(audit_lost=|ses=|auid=)\d+"), r"\1"),
    (re.compile(r"\bin \d+ ms\b"), "in N ms"),
)
_UNIT_CONTEXT = 6


@dataclass(frozen=True)
class Finding:
    """One event that a rule found, with all its occurrences.

    Attributes:
        rule: id of the rule.
        source: ``console``, ``journal``, ``audit`` or ``units``; several joined by ``+`` if all of them show it.
        line: the line of the log, without colours and time stamp.
        context: lines after it, or before it for a unit, that help to understand.
        count: number of occurrences.
        denial: what was denied to whom, for ``avc-denial``.
        unit: the unit, for ``failed-unit``.
        key: equal for two occurrences of the same event, whatever their times, process ids and addresses.
        events: audit's own ids of the occurrences, by which one event in two logs is known to be one.
    """

    rule: str
    source: str
    line: str
    context: tuple[str, ...] = ()
    count: int = 1
    denial: Denial | None = None
    unit: str = ""
    key: str = ""
    events: frozenset[str] = frozenset()

    def __str__(self) -> str:
        times = f" x{self.count}" if self.count > 1 else ""
        return f"{self.rule}: {self.denial or self.line}{times} ({self.source})"


def check_machine(
    *,
    console: str = "",
    journal: Sequence[Mapping[str, Any]] = (),
    audit: Sequence[str] = (),
    failed: Iterable[str] = (),
) -> list[Finding]:
    """Return what the rules find in all that is known of a machine; the same event in several logs is one finding.

    Args:
        console: the serial console.
        journal: entries as ``journalctl -o json`` writes them.
        audit: lines of ``/var/log/audit/audit.log``.
        failed: names of failed units.
    """
    records = [*audit_records(journal), *read_records("\n".join(audit))]
    found = check_console(console, records) + check_journal(journal, records)
    return merge(found + check_audit(audit) + check_units(failed, journal))


def check_console(text: str, records: Iterable[Record] = ()) -> list[Finding]:
    """Return what the rules find on a serial console, with colours, time stamps and all.

    Args:
        text: the console.
        records: audit records that other logs hold, which show that what the console suppressed is not lost.
    """
    text = _clean(text)
    rules = [rule for rule in RULES.values() if "console" in rule.where]
    return _scan(text, "console", rules, [*records, *read_records(text)])


def check_journal(entries: Iterable[Mapping[str, Any]], records: Iterable[Record] = ()) -> list[Finding]:
    """Return what the rules find in journal entries (``journalctl -o json``), in each sender's own order.

    A rule believes the kernel and the program whose message it is; a test that logs or greps for such words finds
    nothing. Kernel messages have ``_TRANSPORT=kernel``, audit records ``_TRANSPORT=audit``.

    Args:
        entries: the journal, oldest first.
        records: audit records that other logs hold, beside the journal's own.
    """
    entries = list(entries)
    streams: dict[str, list[str]] = {}
    for entry in entries:
        sender, message = sender_and_text(entry)
        if message:
            streams.setdefault(sender, []).append(message)
    known = [*records, *audit_records(entries)]
    found: list[Finding] = []
    journal_rules = [rule for rule in RULES.values() if "journal" in rule.where]
    for sender, messages in streams.items():
        rules = [rule for rule in journal_rules if rule.believes(sender)]
        found += _scan(_clean("\n".join(messages)), "journal", rules, known)
    return merge(found)


def check_audit(lines: Iterable[str]) -> list[Finding]:
    """Return what the rules find in lines of ``/var/log/audit/audit.log``."""
    # after the group separator auditd repeats ids as names (log_format=ENRICHED)
    text = "\n".join(line.partition("\x1d")[0].rstrip("\n") for line in lines)
    return _scan(text, "audit", [rule for rule in RULES.values() if "audit" in rule.where])


def check_units(failed: Iterable[str], journal: Sequence[Mapping[str, Any]] = ()) -> list[Finding]:
    """Return a finding for each failed unit.

    Args:
        failed: names of units whose state is ``failed``.
        journal: entries out of which the unit's last messages are shown.
    """
    found = []
    for unit in sorted(set(failed)):
        mine = (e for e in journal if unit in (field_text(e, "UNIT"), field_text(e, "_SYSTEMD_UNIT")))
        said = tuple(message.splitlines()[0] for e in mine if (message := field_text(e, "MESSAGE")))
        found.append(Finding("failed-unit", "units", unit, said[-_UNIT_CONTEXT:], unit=unit, key=unit))
    return found


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """Make one finding of all that show the same event, be it in several logs, in the order of the first of each."""
    merged: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        known = merged.setdefault((finding.rule, finding.key), finding)
        if known is finding:
            continue
        sources = dict.fromkeys((*known.source.split("+"), *finding.source.split("+")))
        events = known.events | finding.events
        merged[finding.rule, finding.key] = replace(
            known,
            source="+".join(sources),
            context=known.context or finding.context,
            # one log's occurrences are the other's too, unless audit's ids say otherwise
            count=max(known.count, finding.count, len(events)),
            events=events,
        )
    return list(merged.values())


def validate_skips(skips: Mapping[str, object]) -> None:
    """Check what a test wants to skip.

    Raises:
        ConfigError: no such rule (the valid ones are listed), or no reason is given.
    """
    for rule, reason in skips.items():
        if rule not in RULES:
            raise ConfigError(f"skip_checks: unknown rule '{rule}'; valid: {', '.join(RULES)}")
        if not isinstance(reason, str) or not reason.strip():
            raise ConfigError(f"skip_checks: rule '{rule}' needs a reason, a text")


def verdict(findings: Iterable[Finding], skips: Mapping[str, str]) -> tuple[list[Finding], list[Finding]]:
    """Part findings into those that fail the test and those of rules that it skips.

    Args:
        findings: of all sources; the same event in several becomes one.
        skips: rule id to reason.

    Raises:
        ConfigError: see ``validate_skips``.
    """
    validate_skips(skips)
    failing: list[Finding] = []
    skipped: list[Finding] = []
    for finding in merge(findings):
        (skipped if finding.rule in skips else failing).append(finding)
    return failing, skipped


def _scan(text: str, source: str, rules: Iterable[Rule], records: Sequence[Record] = ()) -> list[Finding]:
    found = [hit for rule in rules for hit in _apply(rule, text, source, records)]
    return [finding for _, finding in sorted(found, key=lambda hit: hit[0])]


def _apply(rule: Rule, text: str, source: str, records: Sequence[Record]) -> list[tuple[int, Finding]]:
    """Return this rule's findings and where each begins in the text."""
    events: dict[str, tuple[int, Finding]] = {}
    newest, until = "", -1  # key of the last event, and where its window ends
    for start, end in _lines_with(rule.needles, text):
        raw = text[start:end]
        line = _STAMP.sub("", raw).strip()
        match = rule.pattern.search(line)
        if match is None or (rule.id == "audit-suppressed" and nothing_lost(text, start, end, records)):
            continue
        denial = parse_denial(line) if rule.id == "avc-denial" else None
        if rule.id == "avc-denial" and (denial is None or denial.by_design):
            continue
        key = str(denial) if denial else _normalise(line[match.start() :])
        ids = frozenset(f"{record.stamp:.3f}:{record.serial}" for record in read_records(raw))
        if key in events:
            first, known = events[key]
            if not ids or not ids <= known.events:
                events[key] = (first, replace(known, count=known.count + 1, events=known.events | ids))
        elif start <= until:  # another line about the event before it
            first, known = events[newest]
            if line not in known.context:
                events[newest] = (first, replace(known, context=(*known.context, line)))
        else:
            context = tuple(_STAMP.sub("", following).strip() for following in _following(text, end, rule.context))
            events[key] = (start, Finding(rule.id, source, line, context, denial=denial, key=key, events=ids))
            newest, until = key, _skip_lines(text, end, rule.window)
    return [(start, finding) for start, finding in events.values() if finding.count >= rule.minimum]


def _lines_with(needles: Iterable[str], text: str) -> list[tuple[int, int]]:
    """Return where the lines begin and end that hold any of these; plain searches, as 10 MB must be fast."""
    spans = set()
    for needle in needles:
        at = text.find(needle)
        while at >= 0:
            start = text.rfind("\n", 0, at) + 1
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            spans.add((start, end))
            at = text.find(needle, end)
    return sorted(spans)


def _following(text: str, end: int, number: int) -> Iterator[str]:
    """Yield so many lines after the one that ends there."""
    for _ in range(number):
        if end >= len(text):
            return
        start = end + 1
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield text[start:end]


def _skip_lines(text: str, end: int, number: int) -> int:
    """Return where the line begins that is so many lines after the one that ends there; -1 for none."""
    start = -1
    for _ in range(number):
        if end < 0 or end >= len(text):
            break
        start = end + 1
        end = text.find("\n", start)
    return start


def _clean(text: str) -> str:
    """Take the terminal out of a console; a carriage return ends a line, as one that is written over is one too."""
    return strip_terminal(text.replace("\r\n", "\n").replace("\r", "\n"))


@lru_cache(maxsize=1024)  # a flood says the same again and again
def _normalise(line: str) -> str:
    for pattern, replacement in _VOLATILE:
        line = pattern.sub(replacement, line)
    return line
