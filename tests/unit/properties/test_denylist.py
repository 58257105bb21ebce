"""The denylist."""

from __future__ import annotations

from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kola.external.denylist import Denylist, Entry, Ruling, parse_denylist
from tests.unit.properties.gomatch import go_match
from tests.unit.properties.inputs import LINES, TEXT, WORDS, as_yaml, broken_yaml, structures, value_or_refusal

KEYS = ("pattern", "tracker", "snooze", "streams", "arches", "platforms", "warn")
WHERE = r"list: (line \d+|not UTF-8: byte \d+)"
PATTERNS = st.sampled_from(["ext.a", "ext.*", "ext.[ab]", "*.b", "ext.c"])
DAYS = st.dates(date(2026, 1, 1), date(2026, 1, 5))
ENTRIES = st.fixed_dictionaries(
    {"pattern": PATTERNS},
    optional={
        "tracker": LINES,
        "snooze": DAYS.map(date.isoformat),
        **dict.fromkeys(("streams", "arches", "platforms"), st.lists(st.sampled_from("xyz"), max_size=2)),
        "warn": st.booleans(),
    },
)


@given(st.lists(ENTRIES, max_size=4))
def test_what_is_written_is_read(entries: list[dict[str, Any]]) -> None:
    found = parse_denylist(as_yaml(entries).encode(), "list")
    assert [(e.pattern, e.tracker, e.warn, e.streams, e.arches, e.platforms) for e in found] == [
        (e["pattern"], e.get("tracker", ""), e.get("warn", False), *(tuple(e.get(key, ())) for key in KEYS[3:6]))
        for e in entries
    ]
    assert [e.snooze.isoformat() if e.snooze else None for e in found] == [e.get("snooze") for e in entries]
    lines = [e.line for e in found]
    assert lines == sorted(set(lines))


def verdicts(entries: list[dict[str, Any]], name: str, target: dict[str, str], today: date) -> set[str]:
    """What the entries say of a test, by kola's documentation: each is about a target, and snoozed, warns or skips."""
    found = set()
    for entry in entries:
        about = all(not entry.get(key) or target[key] in entry[key] for key in target)
        if not about or not go_match(entry["pattern"], name):
            continue
        ends = entry.get("snooze")
        if ends and today < date.fromisoformat(ends):
            found.add("skip")
        elif entry.get("warn"):
            found.add("warn")
        elif not ends:
            found.add("skip")
    return found


@given(
    st.lists(ENTRIES, max_size=5),
    st.sampled_from(["ext.a", "ext.b", "ext.c", "ext.d"]),
    st.fixed_dictionaries(dict.fromkeys(KEYS[3:6], st.sampled_from("xyz"))),
    DAYS,
)
def test_a_ruling_is_what_the_entries_say(
    entries: list[dict[str, Any]], name: str, target: dict[str, str], today: date
) -> None:
    read = parse_denylist(as_yaml(entries).encode(), "list")
    stream, arch, platform = (target[key] for key in KEYS[3:6])
    ruling = Denylist.of(read, stream=stream, arch=arch, platform=platform, today=today).ruling(name)
    expected = verdicts(entries, name, target, today)
    assert bool(ruling.skip) is ("skip" in expected)
    assert bool(ruling.warn) is (expected == {"warn"})


@given(st.lists(ENTRIES, max_size=5))
def test_what_matches_no_name_says_nothing(entries: list[dict[str, Any]]) -> None:
    read: tuple[Entry, ...] = parse_denylist(as_yaml(entries).encode(), "list")
    ruling = Denylist.of(read, stream="x", arch="x", platform="x", today=date(2026, 1, 2)).ruling("other/name")
    assert ruling == Ruling()


@given(structures(KEYS) | st.lists(structures(KEYS), max_size=2) | st.lists(st.dictionaries(WORDS, TEXT), max_size=2))
def test_any_structure_is_taken_or_refused(value: Any) -> None:
    value_or_refusal(lambda: parse_denylist(as_yaml(value).encode(), "list"), WHERE)


@given(broken_yaml(KEYS).map(str.encode) | TEXT.map(str.encode) | st.binary(max_size=60))
def test_any_bytes_are_taken_or_refused(text: bytes) -> None:
    value_or_refusal(lambda: parse_denylist(text, "list"), WHERE)
