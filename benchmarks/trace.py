"""A recorded trace of 1,000 tests, as ``results.json`` of a large suite would give it: made up once, then kept.

``python -m benchmarks.trace`` makes data/trace-1000.csv anew, byte for byte the same.
"""

from __future__ import annotations

import csv
import random
from dataclasses import asdict, dataclass, fields
from pathlib import Path

PATH = Path(__file__).parent / "data/trace-1000.csv"
SEED = 20261123
SHARED = (200, 60, 40, 30, 25, 20, 15, 10, 8, 5, 5, 2)
"""Tests in each group of those that can share a machine."""
FRESH = {"short": 175, "middle": 391, "long": 14}
MACHINES = 12
"""Different machines (spec and Ignition config) among the tests that want a fresh one."""


@dataclass(frozen=True)
class Test:
    """One test of the trace.

    Attributes:
        nodeid: in the order of collection.
        group: as in ``kola.order.Job``; so is machine.
        seconds: that it takes on a machine that is up; a fresh one's boot is part of it.
    """

    __test__ = False

    nodeid: str
    group: str
    machine: str
    seconds: float


def generate() -> list[Test]:
    """Make up the tests: most take 1 to 5 s, many 30 to 120 s, a few 10 minutes; files mix all kinds."""
    draw = random.Random(SEED)  # noqa: S311 - not for secrets
    ranges = {"short": (1.0, 5.0), "middle": (30.0, 120.0), "long": (540.0, 660.0)}
    kinds = [(f"group-{number:02}", kind) for number, size in enumerate(SHARED) for kind in _of_group(draw, size)]
    kinds += [("", kind) for kind, number in FRESH.items() for _ in range(number)]
    draw.shuffle(kinds)
    tests = []
    for number, (group, kind) in enumerate(kinds):
        machine = group or f"machine-{draw.randrange(MACHINES):02}"
        nodeid = f"tests/test_{number // 20:02}.py::test_{number:03}"
        tests.append(Test(nodeid, group, machine, round(draw.uniform(*ranges[kind]), 1)))
    return tests


def _of_group(draw: random.Random, size: int) -> list[str]:
    """Tests that share a machine only look at it: nearly all are short."""
    return ["middle" if draw.random() < 0.05 else "short" for _ in range(size)]  # noqa: PLR2004 - one of twenty


def write(tests: list[Test], path: Path = PATH) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Test)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(test) for test in tests)


def read(path: Path = PATH) -> list[Test]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [Test(row["nodeid"], row["group"], row["machine"], float(row["seconds"])) for row in rows]


if __name__ == "__main__":
    write(generate())
