"""The real plugin, scheduler and workers on simulated machines: all ends as it should, and nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from kola.arch import host_arch
from kola.needs import MACHINE_OVERHEAD_MIB
from kola.results import ImageRecord, Outcome, RunRecord, Target, TestRecord, read
from tests.simulation.guest import TAG
from tests.simulation.platform import LAUNCHES
from tests.simulation.scenario import Scenario

ROOT = Path(__file__).parents[2]
SUITE = "tests/simulation/suite/machines.py"


@dataclass(frozen=True)
class Finished:
    """A run that is over."""

    folder: Path
    pid: int
    exit_code: int
    seconds: float

    @property
    def output(self) -> str:
        return (self.folder / "pytest.log").read_text()

    @property
    def record(self) -> RunRecord:
        return read(self.folder / "kola-runs/latest/results.json")

    @property
    def peak_mib(self) -> int:
        """Greatest memory use of the controller."""
        return int((self.folder / "peak").read_text()) // 1024


def simulate(folder: Path, *, tests: int, workers: int, budget: int, limit: float, slowness: float = 1.0) -> Finished:
    """Run the suite; it is killed after ``limit`` seconds."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    image = folder / "image.raw"
    image.write_bytes(b"\0" * 510 + b"\x55\xaa")
    arguments: list[str | Path] = [
        "-p", "no:cacheprovider", "-p", "tests.simulation.peak", "--rootdir", ROOT, "-c", folder / "pytest.ini",
        "-q", "-n", str(workers), "--platform=tests.simulation.platform:Simulated", f"--image={image}",
        f"--kola-cache={folder / 'cache'}", f"--memory-budget={budget}", "-P", f"slowness={slowness}", ROOT / SUITE,
    ]  # fmt: skip
    began = time.monotonic()
    with (folder / "pytest.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "KOLA_SIMULATED_TESTS": str(tests), "COLUMNS": "160"},
            start_new_session=True,
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()  # the reaper does the rest
            process.wait()
            log.flush()
            pytest.fail(f"not over after {limit} s:\n{(folder / 'pytest.log').read_text()[-5000:]}")
    return Finished(folder, process.pid, code, time.monotonic() - began)


def remains(run: Finished) -> list[str]:
    """Return what is still there of a run: processes, scratch folders, the reaper's record."""
    run_id = run.record.run_id
    found = []
    for process in psutil.process_iter():
        try:
            of_session = os.getsid(process.pid) == run.pid
            line = " ".join(process.cmdline())
            if of_session or run_id in line or f":{run_id}:" in process.environ().get(TAG, ""):
                found.append(f"{process.pid}: {line}")
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
    records = (run.folder / "cache/runs").glob("*")
    return found + [str(path) for path in (*Path("/tmp").glob(f"kola-{run_id}*"), *records)]


def most_memory(log: Path) -> int:
    """Return the most MiB that the machines of a run had at once; what a killed worker had ends with its line."""
    most = 0
    held: dict[str, dict[str, int]] = {}
    for line in log.read_text().splitlines():
        event: dict[str, Any] = json.loads(line)
        machines = held.setdefault(event["worker"], {})
        if event["mib"] > 0:
            machines[event["name"]] = event["mib"] + MACHINE_OVERHEAD_MIB
        elif event["mib"] < 0:
            del machines[event["name"]]
        else:
            machines.clear()
        most = max(most, sum(sum(machines.values()) for machines in held.values()))
    assert not any(held.values()), "machines were never ended"
    return most


def check(run: Finished, tests: int, workers: int, budget: int) -> None:
    """Everything that holds for every run."""
    record = run.record
    expected = {f"{SUITE}::test_it[{each.name}]": each.outcome for each in map(Scenario, range(tests))}
    found = {nodeid: test.outcome for nodeid, test in record.tests.items()}
    wrong = {nodeid: found.get(nodeid) for nodeid, outcome in expected.items() if found.get(nodeid) != outcome}
    assert not wrong, f"{wrong}\n{run.output[-20000:]}"
    assert found.keys() == expected.keys()
    assert record.complete
    assert run.exit_code == record.exit_code == 1
    assert remains(run) == []
    most = most_memory(run.folder / "kola-runs/latest/machines" / LAUNCHES)
    assert budget // 2 < most <= budget
    used = Counter(test.worker for test in record.tests.values() if test.outcome == "passed")
    assert len(used) >= workers * 3 // 4, used
    assert run.output.count("node down:") == sum("kills-worker" in nodeid for nodeid in expected)
    print(f"{tests} tests, {workers} workers: {run.seconds:.0f} s, controller's peak {run.peak_mib} MiB")
    print(f"machines: at most {most} of {budget} MiB at once", run.output.splitlines()[-1])


def test_sixty(tmp_path: Path) -> None:
    """With memory for five machines, so that workers wait for each other's."""
    budget = 5 * (256 + MACHINE_OVERHEAD_MIB)
    check(simulate(tmp_path, tests=60, workers=4, budget=budget, limit=240), 60, 4, budget)


def test_the_longest_of_earlier_runs_is_first(tmp_path: Path) -> None:
    earlier = tmp_path / "kola-runs/20000101-000000-earlier"
    earlier.mkdir(parents=True)
    longest, others = "0009-fresh", [each.name for each in map(Scenario, range(9))]
    durations = {longest: 500.0, **dict.fromkeys(others, 1.0)}
    records = [
        TestRecord(f"{SUITE}::test_it[{name}]", Outcome.PASSED, phases={"call": seconds})
        for name, seconds in durations.items()
    ]
    target = Target("tests.simulation.platform:Simulated", host_arch().name, "simulated", ImageRecord("x"))
    record = RunRecord("earlier", "", 0, [target], {test.nodeid: test for test in records})
    record.write(earlier / "results.json")
    run = simulate(tmp_path, tests=10, workers=2, budget=4 * (256 + MACHINE_OVERHEAD_MIB), limit=120)
    test = run.record.tests[f"{SUITE}::test_it[{longest}]"]
    assert [name.rpartition("-")[2] for name in test.machines] == ["1"], "not the first machine of its worker"
    assert test.outcome is Outcome.PASSED


@pytest.mark.slow
def test_a_thousand_on_64_workers(tmp_path: Path) -> None:
    budget = 60 * (256 + MACHINE_OVERHEAD_MIB)
    run = simulate(tmp_path, tests=1000, workers=64, budget=budget, limit=1800, slowness=5)
    check(run, 1000, 64, budget)
    assert run.peak_mib < 200, "the controller's memory grows with the tests: it was 86 MiB"
