"""Results as TAP."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kola.errors import ConfigError
from kola.options import settings_of
from kola.results import Outcome, RunRecord, TestRecord
from kola.tap import to_tap


def record(*tests: TestRecord, complete: bool = True) -> RunRecord:
    return RunRecord("r", "0", 0.0, tests={test.nodeid: test for test in tests}, complete=complete)


def test_every_outcome() -> None:
    tests = [TestRecord(f"t.py::{outcome}", outcome, reason="why") for outcome in Outcome]
    lines = to_tap(record(*tests)).splitlines()
    assert lines[:2] == ["TAP version 13", f"1..{len(Outcome)}"]
    found = dict(re.findall(r"^((?:not )?ok \d+) - t.py::([\w-]+)", "\n".join(lines), re.MULTILINE))
    assert {name: said.rpartition(" ")[0] for said, name in found.items()} == {
        "passed": "ok", "flaky": "ok", "skipped": "ok", "failed": "not ok", "warned": "not ok",
        "provider-error": "not ok", "not-run": "not ok",
    }  # fmt: skip
    assert any(line.endswith("t.py::skipped # SKIP why") for line in lines)
    assert any(line.endswith("t.py::warned # TODO why") for line in lines)
    assert "# failed: why" in lines


def test_nothing_is_taken_for_a_directive() -> None:
    text = to_tap(record(TestRecord("t.py::t[a # SKIP\nb\\]", Outcome.FAILED, reason="two\nlines"), complete=False))
    assert text == (
        "TAP version 13\n1..1\nnot ok 1 - t.py::t[a \\# SKIP b\\\\]\n# failed: two lines\n"
        "Bail out! the run was cut short\n"
    )


@pytest.mark.parametrize("path", [".", "no/such/folder.tap"])
def test_a_place_where_it_cannot_be(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--tapfile {re.escape(path)}: "):
        settings_of({"kola_tapfile": path}, tmp_path)
