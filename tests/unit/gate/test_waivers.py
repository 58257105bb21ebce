from __future__ import annotations

import datetime as dt
import json

import pytest

from kola.errors import ConfigError
from kola.gate.findings import NEXT, WAIVABLE, Code, Finding
from kola.gate.waivers import Waiver, parse_waivers, waive
from kola.results import Outcome
from tests.unit.gate.world import BASIC, World, with_test

TODAY = dt.date(2030, 5, 15)
LINES = {
    "code": '"failed"',
    "pattern": '"testing.*::*test_a"',
    "reason": '"known"',
    "owner": '"me"',
    "tracker": '"https://example.com/1"',
    "expires": "2030-06-01",
}


def text(**changes: str) -> str:
    lines = {key: value for key, value in {**LINES, **changes}.items() if value}
    return "[[waivers]]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


def parse(content: str) -> tuple[Waiver, ...]:
    return parse_waivers(content, "w.toml", today=TODAY, most_days=30)


def test_a_waiver() -> None:
    (waiver,) = parse(text())
    assert waiver == Waiver(
        Code.FAILED, "testing.*::*test_a", "known", "me", "https://example.com/1", dt.date(2030, 6, 1)
    )
    assert parse("") == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (text(code='"signature"'), "code: expected one of boot-time, "),
        (text(code='"nonsense"'), "code: expected one of "),
        (text(reason=""), "reason: expected a string of one line, found nothing"),
        (text(owner='""'), "owner: expected a string"),
        (text(pattern='"*"'), "pattern: expected the stream and a dot before the first * or ?"),
        (text(pattern='"t?sting.x"'), "pattern: expected the stream and a dot"),
        (text(tracker="1"), "tracker: expected a string"),
        (text(expires=""), "expires: expected a date such as 2030-12-31, without quotes, found nothing"),
        (text(expires='"2030-06-01"'), "expires: expected a date"),
        (text(expires="2030-06-01T00:00:00"), "expires: expected a date"),
        (
            text(expires="2030-06-15"),
            "expires: expected a day up to 2030-06-14 (30 days from now: waiver_days of the policy), found 2030-06-15",
        ),
        (text(until="2030-06-01"), "unknown key 'until'"),
        ("waivers = 1", "expected tables, each headed"),
        ("waiver = 1", "unknown key 'waiver'"),
        ("[", "w.toml: "),
    ],
)
def test_what_is_wrong_in_the_file_is_named(content: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(content)
    assert message in str(caught.value)
    assert str(caught.value).startswith("w.toml: ")


@pytest.mark.parametrize(
    ("subject", "code", "day", "holds"),
    [
        ("testing.qemu::t.py::test_a", Code.FAILED, TODAY, False),
        ("testing.qemu::t.py::test_a", Code.FAILED, dt.date(2030, 6, 1), False),
        ("testing.qemu::t.py::test_a", Code.FAILED, dt.date(2030, 6, 2), True),
        ("testing.qemu::t.py::test_b", Code.FAILED, TODAY, True),
        ("testing.qemu::t.py::test_a", Code.NOT_RUN, TODAY, True),
    ],
)
def test_what_it_covers_and_until_when(subject: str, code: Code, day: dt.date, *, holds: bool) -> None:
    waived = waive([Finding(code, subject, "why")], parse(text()), day)
    (finding,) = waived.findings
    assert finding.holds is holds
    assert (finding.waiver is None) is holds


def test_a_name_with_brackets_is_itself() -> None:
    for pattern in ("c::t.py::test_a[x-1]", "c::t.py::*_a[x-1]"):
        waivers = parse(text(pattern=f'"{pattern}"'))
        assert not waive([Finding(Code.FAILED, "c::t.py::test_a[x-1]", "")], waivers, TODAY).findings[0].holds
        assert waive([Finding(Code.FAILED, "c::t.py::test_ax", "")], waivers, TODAY).findings[0].holds


def test_one_that_expired_says_so_and_one_that_still_holds_wins() -> None:
    finding = Finding(Code.FAILED, "testing.qemu::t.py::test_a", "why")
    expired, valid = parse(text(expires="2030-05-14") + text(pattern='"testing.*"', owner='"you"'))
    (held,) = waive([finding], [expired], TODAY).findings
    assert held.holds
    assert held.text == "why; the waiver of me expired on 2030-05-14: https://example.com/1"
    (passed,) = waive([finding], [expired, valid], TODAY).findings
    assert passed.waiver is valid


def test_what_is_not_needed_is_noted() -> None:
    waivers = parse(text() + text(pattern='"x"', expires="2029-01-01"))
    assert waive([], waivers, TODAY).notes == (
        "waiver failed testing.*::*test_a of me covers nothing: can be removed",
        "waiver failed x of me expired on 2029-01-01: can be removed",
    )


def test_nobody_waives_what_makes_results_genuine() -> None:
    assert set(NEXT) == set(Code)
    genuine = {
        *(
            Code.UNTESTED,
            Code.UNREADABLE,
            Code.UNSIGNED,
            Code.SIGNATURE,
            Code.DUPLICATE,
            Code.MISPLACED,
            Code.BUILD,
            Code.DIGEST,
        ),
        *(Code.STALE, Code.METADATA, Code.PARENT, Code.GRAPH_NODE, Code.GRAPH_EDGES),
    }
    assert set(Code) - genuine == WAIVABLE


@pytest.mark.parametrize(("days", "code"), [(3, 0), (-1, 1)])
def test_the_gate_opens_until_the_day(world: World, capsys: pytest.CaptureFixture[str], days: int, code: int) -> None:
    world.change(BASIC, lambda r: with_test(r, outcome=Outcome.FAILED, reason="why"))
    assert world.exit_code() == 1
    until = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=days)
    world.write("waivers.toml", text(expires=until.isoformat()))
    capsys.readouterr()
    assert world.exit_code("results", "--json") == code
    verdict = json.loads(capsys.readouterr().out)
    if code:
        assert f"expired on {until}" in verdict["reasons"][0]["text"]
    else:
        assert verdict["waived"][0]["waiver"]["owner"] == "me"
        assert verdict["cells"][0]["state"] == "waived"
