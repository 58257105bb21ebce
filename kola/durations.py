"""How long tests are expected to take, from the records of earlier runs. Only an optimisation: it never fails.

Expected are the seconds of the test itself: its call and teardown (the median of the runs: one run on a busy host
changes no order), and the shortest set-up of all of them. What a set-up took above that was waiting for memory, or the
boot of a shared machine that another test would have paid for as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING

from kola.errors import ConfigError
from kola.results import Outcome, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from kola.results import RunRecord

RUNS = 5
"""Records that count: the newest of the same target."""
LOOKED_AT = 40
"""Newest records that are opened to find these."""
UNKNOWN = 1.0
"""Seconds of every test when no record is there: all are alike."""

_RAN = {Outcome.PASSED, Outcome.FAILED}


@dataclass(frozen=True)
class Durations:
    """Expected seconds.

    Attributes:
        tests: by node id.
        boot: until a fresh machine is up; 0 if nothing is known.
    """

    tests: Mapping[str, float] = field(default_factory=dict)
    boot: float = 0.0

    def expected(self, nodeid: str) -> float:
        """Return the seconds of one test; one without a record counts as the median of the others."""
        return self.tests.get(nodeid, self.typical)

    @property
    def typical(self) -> float:
        """The median of all tests."""
        return median(self.tests.values()) if self.tests else UNKNOWN


@dataclass(frozen=True)
class Sample:
    """What one run says of one test, in seconds. ``exclusive``: its set-up booted a machine."""

    nodeid: str
    setup: float
    rest: float
    exclusive: bool


def read_durations(folder: Path, *, platform: str, arch: str, accelerator: str) -> Durations:
    """Read what earlier runs of the same target took.

    Args:
        folder: where runs have their own folders, named by their time; those that cannot be used are ignored.
        platform: of the target.
        arch: of the target.
        accelerator: of the target: what takes a second on one takes ten on another.
    """
    runs = islice(_runs(folder, (platform, arch, accelerator)), RUNS)
    return combine(sample for run in runs for sample in run)


def samples(record: RunRecord) -> list[Sample]:
    """Return what a run says of the tests that it ran: not of those that were skipped or never got a machine."""
    found = []
    for test in record.tests.values():
        seconds = [test.phases.get(phase, 0.0) for phase in ("setup", "call", "teardown")]
        if test.outcome in _RAN and "call" in test.phases and all(isinstance(value, int | float) for value in seconds):
            setup, call, teardown = seconds
            exclusive = bool(test.machines) and test.isolation != "shared"
            found.append(Sample(test.nodeid, setup, call + teardown, exclusive))
    return found


def combine(found: Iterable[Sample]) -> Durations:
    """Return the durations that samples of several runs make together."""
    by_test: dict[str, list[Sample]] = {}
    for sample in found:
        by_test.setdefault(sample.nodeid, []).append(sample)
    setups = {nodeid: min(sample.setup for sample in group) for nodeid, group in by_test.items()}
    rests = {nodeid: median(sample.rest for sample in group) for nodeid, group in by_test.items()}
    boots = [setups[nodeid] for nodeid, group in by_test.items() if group[0].exclusive]
    return Durations({nodeid: setups[nodeid] + rests[nodeid] for nodeid in by_test}, median(boots) if boots else 0.0)


def _runs(folder: Path, target: tuple[str, str, str]) -> Iterator[list[Sample]]:
    """Yield what the runs of a target say, newest first; no run that says nothing."""
    try:
        runs = sorted((path for path in folder.iterdir() if not path.is_symlink()), reverse=True)  # not `latest`
    except OSError:
        return
    for run in runs[:LOOKED_AT]:
        try:
            record = read(run / "results.json")
            found = samples(record) if _target(record) == target else []
        except (ConfigError, TypeError, AttributeError):  # or of another shape than its schema says
            continue
        if found:
            yield found


def _target(record: RunRecord) -> tuple[str, str, str] | None:
    """Return what a run was about; None if that is not one target."""
    if len(record.targets) != 1:
        return None
    target = record.targets[0]
    return target.platform, target.arch, target.accelerator
