from __future__ import annotations

from dataclasses import replace

import pytest

from kola.gate.policy import Rule
from kola.gate.regressions import limit
from kola.results import Outcome
from tests.unit.gate.world import AWS, BASIC, BUILD, EARLIER, PARENT, World, record_of, with_test


@pytest.mark.parametrize(
    ("earlier", "rule", "most"),
    [
        ([20.0, 20.0, 20.0], Rule(0, 6, 0), 20.0),
        ([20.0, 20.0, 20.0], Rule(10, 6, 0), 22.0),
        ([20.0, 20.0, 20.0], Rule(10, 6, 5), 25.0),
        # Their median absolute deviation is 1: six times that, scaled, is more than 10 %.
        ([19.0, 20.0, 21.0], Rule(10, 6, 0), 20 + 6 * 1.4826),
        # One build on a busy host changes nothing.
        ([20.0, 20.0, 20.0, 20.0, 90.0], Rule(10, 6, 0), 22.0),
    ],
)
def test_the_limit(earlier: list[float], rule: Rule, most: float) -> None:
    assert limit(earlier, rule) == pytest.approx(most)


def test_noise_is_no_regression(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A test that always took very different times may take long; one that did not may not."""
    policy = world.folder / "gate.toml"
    policy.write_text(policy.read_text().partition("[streams.testing]")[0])  # nothing else to compare with
    noisy = dict(zip(EARLIER, (10.0, 60.0, 30.0, 20.0), strict=True))
    for build, seconds in noisy.items():
        world.change(BASIC, lambda r, s=seconds: with_test(r, phases={"call": s}), build)  # type: ignore[misc]
    world.change(BASIC, lambda r: with_test(r, phases={"call": 80.0}))
    assert world.exit_code() == 0, capsys.readouterr().out
    world.change(BASIC, lambda r: with_test(r, 1, phases={"call": 80.0}))
    assert world.exit_code() == 1
    assert f"test-time: {BASIC}::basic.py::test_b: 80.0 s" in capsys.readouterr().out


def test_other_hosts_are_not_compared(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Under emulation everything takes ten times as long; that there is nothing to compare with is said."""
    world.change(
        BASIC,
        lambda r: replace(with_test(r, phases={"call": 300.0}), targets=[replace(r.targets[0], accelerator="tcg")]),
    )
    assert world.exit_code() == 1
    output = capsys.readouterr().out
    assert output.count("too-few: testing") == 2
    assert f"{BASIC}: boots were measured on tcg in 0 earlier builds of next; 3 are needed" in output
    assert "test-time" not in output


def test_a_test_that_failed_has_no_time(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.change(BASIC, lambda r: with_test(r, phases={"call": 300.0}, outcome=Outcome.WARNED))
    assert world.exit_code() == 0, capsys.readouterr().out


def test_the_stream_that_it_is_promoted_from(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The stream itself has become slower and slower, the other one has not."""
    for build in (*EARLIER, BUILD):
        world.change(BASIC, lambda r: with_test(r, phases={"call": 40.0}), build)
    assert world.exit_code() == 1
    output = capsys.readouterr().out
    assert "40.0 s; median of 4 builds of next: 20.0, the one before: 20.0, allowed: 30.0" in output
    assert "builds of testing" not in output


def test_an_informing_cell_is_only_told_of(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.change(AWS, lambda r: with_test(r, phases={"call": 300.0}))
    assert world.exit_code() == 0
    assert f"informs:\n  test-time: {AWS}::basic.py::test_a: 300.0 s" in capsys.readouterr().out


def test_builds_after_it_are_no_history(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    later = replace(record_of(BASIC, "42.4", world.now - 60), finished=world.now - 10)
    world.store(later, "42.4")
    assert world.exit_code() == 0, capsys.readouterr().out
    (world.folder / "releases.json").unlink()
    assert world.exit_code() == 4
    assert "releases.json: No such file" in capsys.readouterr().err
    world.write_releases("42.4")
    assert world.exit_code() == 1
    assert "no-history: testing.promoted" in capsys.readouterr().out


def test_flaky_once_is_within_the_budget(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    for build in (BUILD, PARENT):
        world.change(BASIC, lambda r: with_test(r, outcome=Outcome.FLAKY), build)
    assert world.exit_code() == 0, capsys.readouterr().out
