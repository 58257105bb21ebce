"""Several machines at once: side by side, in one test, and inside the memory budget."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kola.needs import MACHINE_OVERHEAD_MIB
from tests.integration.conftest import InnerRun, needs_testos

pytestmark = needs_testos

TWO_EACH = """
import pytest

@pytest.mark.parametrize("number", range(2))
@pytest.mark.kola(machines=2, memory_mib=640)
def test_two_machines(machines, number):
    ids = {machine.read_file("/etc/machine-id") for machine in machines}
    assert len(ids) == 2
"""


@pytest.mark.slow
def test_two_workers_that_want_two_machines_each_with_room_for_three(
    kola_pytest: Callable[..., InnerRun], cache: Path
) -> None:
    budget = 3 * (640 + MACHINE_OVERHEAD_MIB)
    arguments = ["-n", "2", f"--memory-budget={budget}", f"--kola-cache={cache}", "--no-clone"]
    run = kola_pytest(*arguments, files={"test_it.py": TWO_EACH})
    assert run.wait(900) == 0, run.output
    tests = run.tests.values()
    assert {test["outcome"] for test in tests} == {"passed"}
    assert {test["worker"] for test in tests} == {"gw0", "gw1"}
    assert [len(test["machines"]) for test in tests] == [2, 2]
    lines = (run.folder / "kola-runs/latest/progress.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    waited = [event for event in events if event["state"].startswith("waiting for 1664 MiB of memory")]
    assert waited, events
    up = [event["time"] for event in events if event["state"] == "up"]
    booting = [event["time"] for event in events if event["state"] == "booting"]
    assert len(up) == len(booting) == 4
    assert sorted(booting)[2] > sorted(up)[1], "the second pair was started before the first was up: over the budget"
