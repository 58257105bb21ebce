"""The denylist: what it may say, for whom, and until when."""

from __future__ import annotations

from datetime import date

import pytest

from kola.errors import ConfigError
from kola.external.denylist import Denylist, Entry, Ruling, parse_denylist

TEXT = b"""\
# Reasons are in the trackers.
- pattern: ext.config.skipped
  tracker: https://example.com/1
- pattern: ext.config.snoozed.*
  tracker: https://example.com/2
  snooze: 2026-06-15
  streams:
    - rawhide
  arches: [aarch64, ppc64le]
  platforms:
    - qemu
- pattern: ext.config.warns
  warn: true
- pattern: ext.config.both
  snooze: 2026-06-15
  warn: true
- pattern: skip-console-warnings
  streams: [next]
"""


def listed(
    today: str = "2026-06-01", stream: str = "rawhide", arch: str = "aarch64", platform: str = "qemu"
) -> Denylist:
    entries = parse_denylist(TEXT, "deny.yaml")
    return Denylist.of(entries, stream=stream, arch=arch, platform=platform, today=date.fromisoformat(today))


def test_entries() -> None:
    entries = parse_denylist(TEXT, "deny.yaml")
    assert entries[1] == Entry(
        "ext.config.snoozed.*", "https://example.com/2", ("rawhide",), ("aarch64", "ppc64le"), ("qemu",),
        date(2026, 6, 15), line=4,
    )  # fmt: skip
    assert entries[2] == Entry("ext.config.warns", warn=True, line=12)
    assert parse_denylist(b"", "x") == parse_denylist(b"# nothing\n", "x") == ()


def test_rulings() -> None:
    denylist = listed()
    assert denylist.ruling("ext.config.fine") == Ruling()
    assert (
        denylist.ruling("ext.config.skipped").skip
        == "skipped by the denylist: ext.config.skipped (https://example.com/1)"
    )
    assert denylist.ruling("ext.config.snoozed.a").skip.startswith("snoozed until 2026-06-15 by the denylist: ")
    assert denylist.ruling("ext.config.warns") == Ruling(warn="only warns by the denylist: ext.config.warns")


@pytest.mark.parametrize(
    ("day", "snoozed", "both"),
    [("2026-06-14", "skip", "skip"), ("2026-06-15", "", "warn"), ("2026-06-16", "", "warn")],
)
def test_end_of_a_snooze(day: str, snoozed: str, both: str) -> None:
    """As in kola, the day itself is awake; one that warns then goes on to warn."""
    for name, expected in (("ext.config.snoozed.a", snoozed), ("ext.config.both", both)):
        ruling = listed(day).ruling(name)
        assert (bool(ruling.skip), bool(ruling.warn)) == (expected == "skip", expected == "warn"), name


@pytest.mark.parametrize(
    ("target", "skipped"),
    [
        ({}, True),
        ({"stream": "stable"}, False),
        ({"stream": ""}, False),
        ({"arch": "x86_64"}, False),
        ({"platform": "aws"}, False),
    ],
)
def test_target(target: dict[str, str], *, skipped: bool) -> None:
    assert bool(listed(**target).ruling("ext.config.snoozed.a").skip) is skipped


def test_console_warnings() -> None:
    assert not listed().console_warnings_pass
    assert listed(stream="next").console_warnings_pass


def test_lines() -> None:
    assert listed().lines() == [
        "ext.config.skipped is skipped (https://example.com/1)",
        "ext.config.snoozed.* is snoozed until 2026-06-15 (https://example.com/2)",
        "ext.config.warns only warns",
        "ext.config.both is snoozed until 2026-06-15",
    ]
    assert (
        "ext.config.snoozed.* counts again: its snooze ended on 2026-06-15 (https://example.com/2)"
        in listed("2026-07-01").lines()
    )
    assert "ext.config.both only warns again: its snooze ended on 2026-06-15" in listed("2026-07-01").lines()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"a: b", "d.yaml: line 1: expected a list of entries, found an object"),
        (b"- a", "d.yaml: line 1: expected an entry with a pattern, found 'a'"),
        (b"- tracker: x", "d.yaml: line 1: pattern: required, but missing"),
        (b"- pattern: x\n  streams: rawhide", "d.yaml: line 2: streams: expected a list, found 'rawhide'"),
        (b"- pattern: x\n  snooze: tomorrow", "d.yaml: line 2: snooze: 'tomorrow' is not a date such as 2026-01-31"),
        (b"- pattern: x\n  warn: 3", "d.yaml: line 2: warn: expected true or false, found '3'"),
        (b"- pattern: x\n  stream: [a]", "d.yaml: line 2: stream: unknown key; known here: arches, pattern, "),
        (b"- pattern: '['", "d.yaml: line 1: pattern: '[' is not a pattern: "),
        (b"- pattern: x\n - y", "d.yaml: line 2, column 2: not YAML: "),
        (b"\xff", "d.yaml: not UTF-8: "),
    ],
)
def test_mistake(text: bytes, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_denylist(text, "d.yaml")
    assert str(caught.value).startswith(says), str(caught.value)
    assert "\n" not in str(caught.value)
