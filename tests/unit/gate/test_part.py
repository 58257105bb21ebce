"""A policy that looks at a part of the matrix, meta.json by itself, clouds that are rehearsed, no history."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from kola.cli import main
from kola.errors import ConfigError
from kola.gate.reading import read_policy
from tests.unit.gate.world import AWS, BASIC, BUILD, STORAGE, World, record_of, with_deployment, with_image


def policy(world: World, old: str, new: str) -> None:
    file = world.folder / "gate.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def with_part(world: World, keys: str) -> None:
    policy(world, "max_age_hours = 48\n", f"max_age_hours = 48\n{keys}\n")


def test_only_a_part_is_looked_at_and_the_verdict_says_so(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    (world.job(f"{STORAGE}.1of2") / "results.json").unlink()
    assert world.exit_code() == 1
    capsys.readouterr()
    with_part(world, 'platforms = ["qemu"]\nsuites = ["basic"]')
    verdict = world.folder / "verdict.json"
    checklist = world.folder / "list.md"
    assert world.exit_code("results", "--verdict", str(verdict), "--checklist", str(checklist)) == 0
    note = "this is about 1 of 3 cells of testing: the policy's platforms: qemu; suites: basic"
    assert f"notes:\n  {note}\n" in capsys.readouterr().out
    said = json.loads(verdict.read_text())
    assert [cell["name"] for cell in said["cells"]] == [BASIC]
    assert said["notes"] == [note]
    assert f"Note: {note}\n" in checklist.read_text()
    (world.job(BASIC) / "results.json").unlink()
    assert world.exit_code() == 1
    assert f"missing: {BASIC}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('suites = ["basics"]', "[results]: suites: basics is in no cell of "),
        ('platforms = ["gcp"]', "matrix.toml; there: aws, qemu"),
        ("platforms = []", "[results]: platforms: expected one name at least"),
        ('suites = "basic"', "[results]: suites: expected a list of strings"),
    ],
)
def test_a_part_that_makes_no_sense(world: World, keys: str, message: str) -> None:
    with_part(world, keys)
    with pytest.raises(ConfigError) as caught:
        read_policy(world.folder / "gate.toml")
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(world.folder / "gate.toml"))


def test_a_part_without_a_required_cell(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    with_part(world, 'platforms = ["aws"]')
    assert world.exit_code() == 4
    assert "no cell of testing is required" in capsys.readouterr().err


def ask_with_meta(world: World, *more: str) -> list[str]:
    words = world.ask()
    for option in ("--build", "--builds"):
        at = words.index(option)
        del words[at : at + 2]
    return [*words, *more]


def test_meta_json_says_which_build_it_is(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    # Of earlier builds it says nothing, so there is no size to compare with.
    policy(world, "[streams.testing]\n", "[streams.testing]\nhistory_required = false\n")
    meta = world.folder / f"builds/{BUILD}/x86_64/meta.json"
    assert main(ask_with_meta(world, "--meta", str(meta))) == 4, "it does not say for which architecture it is"
    assert "no 'coreos-assembler.basearch'" in capsys.readouterr().err
    known = {**json.loads(meta.read_text()), "coreos-assembler.basearch": "x86_64"}
    meta.write_text(json.dumps(known))
    assert main(ask_with_meta(world, "--meta", str(meta))) == 0, capsys.readouterr()
    world.change(BASIC, lambda r: with_deployment(r, "e" * 64))
    capsys.readouterr()
    assert main(ask_with_meta(world, "--meta", str(meta))) == 1
    assert f"digest: {BASIC}: machines had booted {'e' * 64}, but the build is " in capsys.readouterr().out
    other = world.folder / "other.json"
    other.write_text(json.dumps({**known, "buildid": "42.9", "coreos-assembler.basearch": "aarch64"}))
    assert main(ask_with_meta(world, "--meta", str(meta), "--meta", str(other))) == 4
    assert f"other.json: is of build 42.9, another one is of {BUILD}" in capsys.readouterr().err
    assert main(ask_with_meta(world, "--meta", str(meta), "--meta", str(meta))) == 4
    assert "there is another one for x86_64" in capsys.readouterr().err
    assert main(ask_with_meta(world, "--meta", str(meta), "--builds", "x")) == 4
    assert "--meta FILE says what --builds DIR would" in capsys.readouterr().err
    assert main(ask_with_meta(world)) == 4


def test_a_rehearsed_cloud_is_known_by_what_was_booted(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Its image is made where the test runs: its id is in no meta.json."""
    matrix = world.folder / "matrix.toml"
    matrix.write_text(matrix.read_text().replace("required = false", "required = true"))
    world.change(AWS, lambda r: with_image(r, platform_id="ami-rehearsed"))
    assert world.exit_code() == 1
    assert f"digest: {AWS}: booted ami-rehearsed, which is none of meta.json" in capsys.readouterr().out
    matrix.write_text(matrix.read_text() + 'runner = "rehearse"\n')
    assert world.exit_code() == 0, capsys.readouterr().out
    world.change(AWS, lambda r: with_deployment(with_image(r, platform_id="ami-rehearsed"), "e" * 64))
    assert world.exit_code() == 1
    assert f"digest: {AWS}: machines had booted {'e' * 64}" in capsys.readouterr().out
    nothing = replace(record_of(AWS, BUILD, world.started(BUILD)), machines={})
    world.store(with_deployment(nothing, ""))
    assert world.exit_code() == 1
    assert f"digest: {AWS}: nobody knows which deployment was booted on a rehearsed" in capsys.readouterr().out


def test_a_stream_without_history_is_told_what_was_not_compared(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write_releases("42.4")
    assert world.exit_code() == 1
    assert "  no-history: testing.promoted: no results of a promoted build" in capsys.readouterr().out
    policy(world, "[streams.testing]\n", "[streams.testing]\nhistory_required = false\n")
    checklist = world.folder / "list.md"
    assert world.exit_code("results", "--checklist", str(checklist)) == 0
    assert "informs:\n  no-history: testing.promoted: no results of a promoted build" in capsys.readouterr().out
    box = (
        "- [ ] The suites run all that ran for the last promoted build\n  - not needed: no-history: testing.promoted: "
    )
    assert box in checklist.read_text()
