"""Whole runs of pytest: twenty small tests with clones, with boots, on a shared machine; five hundred over workers."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.table import Row, at_least, at_most
from kola.optionvalues import cache_folder
from kola.results import Outcome, read
from kola.usage import Kind, UsageStore

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL, BOOTS, MANY = 20, 4, 500
SUITE = """
import pytest

@pytest.mark.kola(isolation="{isolation}")
@pytest.mark.parametrize("number", range({count}))
def test_small(machine, number):
    machine.run("echo {{}} > /var/tmp/number; sync; systemctl is-active sshd".format(number))
    assert machine.read_file("/var/tmp/number") == f"{{number}}\\n"
"""


@dataclass(frozen=True)
class Ran:
    """A run of pytest: seconds of wall clock, CPU seconds of all its processes but QEMU's, outcomes."""

    seconds: float
    cpu_seconds: float
    passed: int
    others: int
    run_id: str


def run(isolation: str, count: int, *arguments: str) -> Ran:
    """Run so many small tests in a pytest of its own."""
    with tempfile.TemporaryDirectory(prefix="kola-bench-") as name:
        folder = Path(name)
        (folder / "test_small.py").write_text(SUITE.format(isolation=isolation, count=count))
        (folder / "pytest.ini").write_text("[pytest]\nkola_image = testos\n")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--platform=qemu", *arguments]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        # QEMU is not among the children: libvirt lets go of it.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        record = read(folder / "kola-runs/latest/results.json")
    passed = sum(test.outcome is Outcome.PASSED for test in record.tests.values())
    if passed != count:
        print(done.stdout[-5000:], done.stderr[-2000:], flush=True)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ran(seconds, cpu, passed, count - passed, record.run_id)


def rows(count: int = SMALL, boots: int = BOOTS) -> Iterator[Row]:
    """Compare the ways to give a test its machine, by the time of a test; fewer with boots, which take so long."""
    run("fresh", 1)  # now it is saved
    clones, shared, booted = run("fresh", count), run("shared", count), run("fresh", boots, "--no-clone")
    each, each_shared, each_booted = clones.seconds / count, shared.seconds / count, booted.seconds / boots
    detail = f"{each:.1f} s a test ({count} tests) against {each_booted:.1f} s ({boots} tests)"
    yield at_least("small tests: clones, against a boot each", each_booted / each, 5, detail)
    detail = f"{each:.1f} s a test against {each_shared:.1f} s ({count} tests)"
    yield Row("small tests: clones, against one shared", each / each_shared, detail=detail)
    known = UsageStore(cache_folder()).read().platforms
    guest = sum(record.runs[clones.run_id].cpu_seconds for record in known.values() if clones.run_id in record.runs)
    if guest:
        detail = f"CPU time: {clones.cpu_seconds:.1f} s of pytest and kola, {guest:.1f} s of {count} clones"
        yield at_most("harness overhead over guest time", 100 * clones.cpu_seconds / guest, 5, detail, unit="%")


def many(count: int = MANY, workers: str = "auto") -> Iterator[Row]:
    """Run many tests on clones over several workers and count what did not pass."""
    ran = run("fresh", count, "-n", workers)
    detail = f"{ran.seconds:.0f} s, {count / ran.seconds:.2f} tests a second"
    yield at_most(f"{count} clones over workers (-n {workers}): failures", ran.others, 0, detail, unit="")


def accelerators() -> list[Kind]:
    """Return the kinds of machine that were measured on this host."""
    return [Kind(*key.split("/", 2)) for key in UsageStore(cache_folder()).read().platforms]
