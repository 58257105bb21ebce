from __future__ import annotations

from pathlib import Path

import pytest

from kola.errors import ConfigError
from kola.gate.policy import Policy, Rule, parse_policy
from kola.gate.reading import read_policy
from kola.matrix import Cadence
from tests.unit.gate.world import World

RESULTS = '[results]\nmatrix = "m.toml"\ncadence = "build"\nmax_age_hours = 10\nkeys = ["a.pub"]\n'
ROOT = Path(__file__).parents[3]


def test_what_is_not_said_has_a_default() -> None:
    policy = parse_policy(RESULTS, "p.toml")
    assert policy == Policy("m.toml", Cadence.BUILD, 10, ("a.pub",))


def test_everything_said() -> None:
    policy = parse_policy(
        RESULTS
        + """
        signatures = 2
        platforms = ["qemu", "aws"]
        suites = ["basic"]
        [tests]
        waivers = "w.toml"
        waiver_days = 5
        warned_holds = true
        flaky_budget = 4
        flaky_builds = 6
        flaky_times = 2
        [history]
        required = false
        builds = 7
        least = 5
        shrink_percent = 3
        [regressions]
        boot_time = { percent = 1.5, mads = 2, least = 3 }
        image_size.least = 9
        [streams.stable]
        promoted_from = "testing"
        [streams.young]
        history_required = false
        image_stream = "old"
        """,
        "p.toml",
    )
    assert policy == Policy(
        "m.toml", Cadence.BUILD, 10, ("a.pub",), 2, "w.toml", 5, True, 4, 6, 2, False, 7, 5, 3,
        Rule(1.5, 2, 3), Policy.test_time, Rule(Policy.image_size.percent, Policy.image_size.mads, 9),
        {"stable": "testing"}, frozenset({"young"}), {"young": "old"}, ("qemu", "aws"), ("basic",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.toml: [results]: matrix: expected a string"),
        (RESULTS.replace('"build"', '"hourly"'), "[results]: cadence: expected one of build, nightly, weekly"),
        (RESULTS.replace("10", "0"), "[results]: max_age_hours: expected a whole number from 1"),
        (RESULTS.replace("10", '"10"'), "[results]: max_age_hours: expected a whole number"),
        (RESULTS.replace("max_age_hours = 10", ""), "expected a whole number from 1 to 1000000, found nothing"),
        (RESULTS + "key = 1", "[results]: unknown key 'key'; allowed: matrix, cadence"),
        (RESULTS + "[test]", "p.toml: unknown key 'test'; allowed: results, tests"),
        (RESULTS + "[tests]\nflaky_times = 1", "[tests]: flaky_times: expected a whole number from 2"),
        (RESULTS + "[tests]\nflaky_budget = true", "[tests]: flaky_budget: expected a whole number from 0"),
        (RESULTS + "[tests]\nwarned_holds = 1", "[tests]: warned_holds: expected true or false"),
        (RESULTS + "[history]\nshrink_percent = 101", "[history]: shrink_percent: expected a whole number from 0 to"),
        (RESULTS + "[history]\nbuilds = 2\nleast = 3", "[history]: least: expected at most 'builds', which is 2"),
        (RESULTS + "[regressions.boot_time]\nmads = -1", "[regressions]: boot_time: mads: expected a number from 0"),
        (RESULTS + "[regressions.speed]", "[regressions]: unknown key 'speed'"),
        (RESULTS + "[regressions]\nboot_time = 5", "[regressions]: boot_time: expected a table, found 5"),
        (RESULTS + "[streams.x]\nfrom = 'y'", "[streams.x]: unknown key 'from'; allowed: promoted_from, "),
        (RESULTS + "[", "p.toml: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy(text, "p.toml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("p.toml: ")


def test_a_stream_of_no_cell(world: World) -> None:
    policy = world.folder / "gate.toml"
    read_policy(policy)
    policy.write_text(policy.read_text().replace('"next"', '"nest"'))
    wrong = r"gate.toml: \[streams.testing\]: promoted_from: nest is in no cell of .*matrix.toml; there: next, testing"
    with pytest.raises(ConfigError, match=wrong):
        read_policy(policy)
    policy.write_text(policy.read_text().replace("[streams.testing]", "[streams.test]"))
    with pytest.raises(
        ConfigError, match=r"gate.toml: \[streams.test\]: test is in no cell of .*; there: next, testing"
    ):
        read_policy(policy)


def test_more_signatures_than_there_are_keys(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    policy = world.folder / "gate.toml"
    policy.write_text(policy.read_text().replace("[results]", "[results]\nsignatures = 5"))
    assert world.exit_code() == 4
    wrong = f"ERROR: {policy}: [results]: signatures: 5; allowed with the keys given: 1 to 1\n"
    assert capsys.readouterr().err == wrong


@pytest.mark.parametrize("name", ["gate.toml", "gate-build.toml", "gate-small.toml"])
def test_the_policies_of_this_repository(name: str) -> None:
    policy, matrix = read_policy(ROOT / "ci" / name)
    assert (ROOT / "ci" / policy.waivers).is_file()
    assert any(cell.required and policy.cadence.includes(cell.cadence) for cell in matrix.cells)
