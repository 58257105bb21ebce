"""``--from-image``: which tests begin with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.simulation.guest import DEPLOYMENT
from tests.unit.test_upgrades import NEW, OLD, folder

SUITE = """
import pytest

@pytest.mark.kola(needs=["updates"])
def test_update(machine, flight):
    old, new = flight.image.updates.releases
    assert (flight.image.name, old.version, new.version) == ("start", "a", "b")

@pytest.mark.kola(isolation="shared")
def test_other(machine, flight):
    assert flight.image.name == "target"

@pytest.mark.kola(isolation="shared", needs=["updates"])
def test_shared(machine, flight):
    assert flight.image.name == "start"
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_only_tests_of_updates_boot_it(pytester: pytest.Pytester, tmp_path: Path, workers: tuple[str, ...]) -> None:
    start = folder(tmp_path / "start", 1, OLD, name="start")
    target = folder(tmp_path / "target", 2, NEW, name="target")
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "--platform=tests.simulation.platform:Simulated", f"--image={target}",
        f"--from-image={start}", f"--kola-cache={tmp_path / 'cache'}", *workers,
    )  # fmt: skip
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines([f"kola: tests of updates begin with {start}: start, sha256 *"])
    record = json.loads((pytester.path / "kola-runs/latest/results.json").read_text())
    assert (record["targets"][0]["image"]["name"], record["targets"][0]["from_image"]["name"]) == ("target", "start")
    assert {(machine["updated"], machine["arrived"]) for machine in record["machines"]} == {
        (True, DEPLOYMENT), (False, ""),
    }  # fmt: skip
