"""What the gate has said, on the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kola.cli import main
from kola.errors import ConfigError
from kola.report.verdicts import MOST_LINES, parse_verdict
from kola.results import Outcome
from tests.unit.gate.world import AWS, BASIC, BUILD, World, make_world, record_of, with_test
from tests.unit.report.nightly import TARGETS, Nightly
from tests.unit.report.test_page import Tree

FOUND = {"code": "failed", "subject": "c::t", "text": "<b>no</b> route"}
WAIVER = {"reason": "slow", "owner": "me@example.com", "tracker": "https://example.com/1", "expires": "2030-12-31"}


def verdict(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 1, "verdict": "hold", "stream": "testing", "build": "42.1", "phase": "results", "time": 1.795e9,
        "reasons": [FOUND], "waived": [{**FOUND, "code": "warned", "waiver": WAIVER}], "informing": [],
        "cells": [{"name": "a", "state": "passed"}, {"name": "b", "state": "hold"}], "notes": ["half of it"], **changes,
    }  # fmt: skip


def page(tmp_path: Path, *verdicts: dict[str, Any]) -> Tree:
    run = Nightly(tmp_path / "runs", lines=3).run(0, TARGETS[0], "basic")
    options = []
    for number, one in enumerate(verdicts):
        (tmp_path / f"{number}.json").write_text(json.dumps(one))
        options += ["--verdict", str(tmp_path / f"{number}.json")]
    assert main(["report", str(run), *options, "-o", str(tmp_path / "x.html")]) == 0
    return Tree((tmp_path / "x.html").read_bytes())


def words(tree: Tree) -> str:
    return " ".join(" ".join(tree.text).split())


def test_a_hold_comes_first(tmp_path: Path) -> None:
    text = words(page(tmp_path, verdict(), verdict(stream="next", verdict="release", reasons=[])))
    assert "What was run is good, and the release is held" in text
    assert "All is good" not in text
    assert "The gate: testing 42.1: hold 1 of 2 cells as they should be" in text
    assert "Holds the release failed: c::t: <b>no</b> route Waived warned: c::t: <b>no</b> route -- slow (me@" in text
    assert "Notes half of it" in text
    assert "The gate: next 42.1: release" in text


def test_a_release_leaves_the_head_as_it_is(tmp_path: Path) -> None:
    tree = page(tmp_path, verdict(verdict="release", reasons=[], waived=[], notes=[]))
    assert "All is good: 1 cell" in words(tree)
    assert "h3" not in [name for name, _ in tree.tags]


def test_many_reasons_are_counted(tmp_path: Path) -> None:
    text = words(page(tmp_path, verdict(reasons=[FOUND] * (MOST_LINES + 5))))
    assert text.count("failed: c::t") == MOST_LINES
    assert "and 5 more" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "v: schema 2 is not known; expected 1"),
        ({"verdict": "release"}, "v: verdict 'release' with 1 reasons; expected release, or hold and why"),
        ({"reasons": []}, "v: verdict 'hold' with 0 reasons"),
        ({"verdict": "maybe"}, "v: verdict 'maybe'"),
        ({"cells": None}, "v: no 'cells'; there is: build, "),
        ({"notes": [1]}, "v: notes[0]: expected a string"),
        ({"time": "now"}, "v: time: expected a number"),
        ({"reasons": [{"code": "failed"}]}, "v: reasons[0]: no 'subject'"),
    ],
)
def test_what_is_no_verdict(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_verdict(json.dumps(verdict(**changes)).encode(), "v")
    assert str(caught.value).startswith(message)


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path), "--verdict", str(tmp_path / "none")]) == 4
    assert capsys.readouterr().err == f"ERROR: --verdict {tmp_path}/none: No such file or directory\n"


def test_it_reads_what_the_gate_writes(tmp_path: Path) -> None:
    world: World = make_world(tmp_path)
    world.store(with_test(record_of(BASIC, BUILD, world.started(BUILD)), outcome=Outcome.FAILED, reason="broken"))
    (world.job(AWS) / "results.json").unlink()
    file = tmp_path / "verdict.json"
    assert world.exit_code("results", "--verdict", str(file)) == 1
    answer = parse_verdict(file.read_bytes(), "v")
    assert (answer.stream, answer.build, answer.word, answer.passed, answer.cells) == ("testing", BUILD, "hold", 1, 3)
    assert answer.reasons == (f"failed: {BASIC}::basic.py::test_a: broken",)
    assert answer.informing == (f"missing: {AWS}: there are no results",)
