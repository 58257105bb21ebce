"""What machines really used in earlier runs on this host: memory by machine, cores by platform; one file in the cache.

The file helps to plan and nothing depends on it: one that is missing, damaged or not writable is as good as an empty
one. What it holds are hashes, names of platforms and numbers; it is for its owner alone nevertheless.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kola.filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE = "usage.json"
SCHEMA = 1
RUNS = 8
"""The most recent runs that are remembered of each machine and platform; what is older is forgotten."""
MOST_MACHINES = 500
MOST_PLATFORMS = 50
MARGIN = 1.25
MARGIN_MIB = 64
ENOUGH_SECONDS = 60.0
"""Of tests that had machines: less is too little to tell how many cores a test uses."""
SHORT_SECONDS = 10.0
"""A process that tested for less tells nothing of cores, and must not displace one that does."""
_HUGE = 1e12
_LOG = logging.getLogger(__name__)


def with_margin(peak_mib: float, declared_mib: int) -> int:
    """Return what a machine is charged that has used so much at most: a quarter and 64 MiB more; all in MiB.

    Never more than it declares.
    """
    return max(1, min(declared_mib, int(peak_mib * MARGIN) + MARGIN_MIB))


@dataclass(frozen=True)
class Kind:
    """What makes measurements comparable."""

    platform: str
    arch: str
    accelerator: str

    def __str__(self) -> str:
        """The key in the file."""
        return f"{self.platform}/{self.arch}/{self.accelerator}"


@dataclass(frozen=True)
class Peak:
    """The most that a machine with some key (``Needs.machine_key``) used in one run, and what it declared; in MiB."""

    mib: float
    declared_mib: int


@dataclass(frozen=True)
class CpuTime:
    """What tests used of this host's cores while they had machines, summed up over tests.

    Attributes:
        cpu_seconds: CPU time of their machines, and the time that these waited for a core: what they would have used on
            a host of their own. Without the waiting, a run with too many workers would look as if each needed little.
        wall_seconds: time that the tests had machines.
    """

    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0

    def __add__(self, other: CpuTime) -> CpuTime:
        """Sum up."""
        return CpuTime(self.cpu_seconds + other.cpu_seconds, self.wall_seconds + other.wall_seconds)


@dataclass(frozen=True)
class Report:
    """What one process of a run found out.

    Attributes:
        run_id: processes of one run are one run in the record.
        kind: of its machines.
        image: digest of the image that they booted from.
        peaks: machine key -> the most that one such machine used.
        cpu: of all its tests; None if it could not be measured.
    """

    run_id: str
    kind: Kind
    image: str
    peaks: Mapping[str, Peak]
    cpu: CpuTime | None = None


@dataclass(frozen=True)
class MachineRecord:
    """What is known of one machine key. ``runs``: run id -> the most that one used, in MiB, oldest first."""

    at: float
    declared_mib: int
    runs: Mapping[str, float]

    @property
    def expected_mib(self) -> int:
        """What a machine is charged, in MiB: the most of the remembered runs and a margin."""
        return with_margin(max(self.runs.values()), self.declared_mib)


@dataclass(frozen=True)
class PlatformRecord:
    """What is known of one kind of machine. ``runs``: run id -> the time that its tests used, oldest first."""

    at: float
    runs: Mapping[str, CpuTime]


@dataclass(frozen=True)
class Record:
    """All that is known; pure. ``at`` of each entry is in unix seconds, the time of its last change."""

    machines: Mapping[str, MachineRecord] = field(default_factory=dict)
    platforms: Mapping[str, PlatformRecord] = field(default_factory=dict)

    def expected_mib(self, kind: Kind, image: str, key: str, declared_mib: int) -> int:
        """Return what a machine with that key (``Needs.machine_key``) will use, in MiB.

        The declaration if nothing is known, and never more than that.
        """
        found = self.machines.get(_machine(kind, image, key))
        return declared_mib if found is None else min(declared_mib, found.expected_mib)

    def typical_mib(self, kind: Kind) -> int | None:
        """Return what the machines of that kind use on average, in MiB; None if nothing is known."""
        found = [record.expected_mib for key, record in self.machines.items() if key.startswith(f"{kind}/")]
        return round(sum(found) / len(found)) if found else None

    def mean_cpus(self, kind: Kind) -> float | None:
        """Return how many cores a running test used on average in the remembered runs; None if nothing is known."""
        found = self.platforms.get(str(kind))
        total = sum(found.runs.values(), CpuTime()) if found is not None else CpuTime()
        return total.cpu_seconds / total.wall_seconds if total.wall_seconds >= ENOUGH_SECONDS else None

    def last_accelerator(self, platform: str, arch: str) -> str | None:
        """Return the accelerator that the last recorded run used there; None if nothing is known."""
        prefix = f"{platform}/{arch}/"
        found = [(record.at, key) for key, record in self.platforms.items() if key.startswith(prefix)]
        return max(found)[1].removeprefix(prefix) if found else None

    def add(self, report: Report, now: float) -> Record:
        """Add what one process found out; forget what is too old."""
        machines, platforms = dict(self.machines), dict(self.platforms)
        for key, peak in report.peaks.items():
            name = _machine(report.kind, report.image, key)
            runs = dict(machines[name].runs) if name in machines else {}
            runs[report.run_id] = max(runs.get(report.run_id, 0.0), round(peak.mib, 1))
            machines[name] = MachineRecord(now, peak.declared_mib, _last(runs))
        known = platforms.get(str(report.kind), PlatformRecord(now, {}))
        times = dict(known.runs)
        if report.cpu is not None and report.cpu.wall_seconds >= SHORT_SECONDS:
            times[report.run_id] = times.get(report.run_id, CpuTime()) + report.cpu
        platforms[str(report.kind)] = PlatformRecord(now, _last(times))
        return replace(
            self, machines=_youngest(machines, MOST_MACHINES), platforms=_youngest(platforms, MOST_PLATFORMS)
        )

    def to_plain(self) -> dict[str, Any]:
        """Return builtin types."""
        return {
            "schema": SCHEMA,
            "machines": {
                key: {"at": round(r.at), "declared_mib": r.declared_mib, "peak_mib": dict(r.runs)}
                for key, r in self.machines.items()
            },
            "platforms": {
                key: {
                    "at": round(r.at),
                    "cpu_and_wall_seconds": {
                        run: [round(t.cpu_seconds, 1), round(t.wall_seconds, 1)] for run, t in r.runs.items()
                    },
                }
                for key, r in self.platforms.items()
            },
        }

    @classmethod
    def from_plain(cls, plain: object) -> Record:
        """Return what ``to_plain`` took apart; what makes no sense is left out."""
        if not isinstance(plain, Mapping) or plain.get("schema") != SCHEMA:
            return cls()
        machines = {key: _machine_record(value) for key, value in _items(plain.get("machines"))}
        platforms = {key: _platform_record(value) for key, value in _items(plain.get("platforms"))}
        return cls(
            {key: record for key, record in machines.items() if record is not None},
            {key: record for key, record in platforms.items() if record is not None},
        )


class UsageStore:
    """The file; safe for several processes.

    Args:
        cache: the user's kola cache folder.
    """

    def __init__(self, cache: Path) -> None:
        self.path = cache / FILE

    def read(self) -> Record:
        """Return all that is known; nothing if the file cannot be used."""
        try:
            return Record.from_plain(json.loads(self.path.read_bytes()))
        except (OSError, ValueError, RecursionError):
            return Record()

    def add(self, report: Report) -> None:
        """Add what one process found out. A file that cannot be written is a warning, not an error."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock")) as lock:
                lock.take()
                record = self.read().add(report, time.time())
                draft = self.path.with_suffix(".new")
                draft.unlink(missing_ok=True)
                with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                    json.dump(record.to_plain(), file, indent=1)
                draft.replace(self.path)
        except OSError as e:
            _LOG.warning("what machines used could not be recorded: %s: %s", e.filename or self.path, e.strerror)


def _machine(kind: Kind, image: str, key: str) -> str:
    return f"{kind}/{image[:12]}/{key}"


def _last(runs: Mapping[str, Any]) -> dict[str, Any]:
    return dict(list(runs.items())[-RUNS:])


def _youngest(records: Mapping[str, Any], most: int) -> dict[str, Any]:
    return dict(sorted(records.items(), key=lambda item: item[1].at)[-most:])


def _items(value: object) -> Iterable[tuple[str, Mapping[str, Any]]]:
    if not isinstance(value, Mapping):
        return ()
    return ((key, entry) for key, entry in value.items() if isinstance(entry, Mapping))


def _machine_record(plain: Mapping[str, Any]) -> MachineRecord | None:
    try:
        runs = {str(run): _number(peak) for run, peak in plain["peak_mib"].items()}
        declared = int(_number(plain["declared_mib"]))
        return MachineRecord(_number(plain["at"]), declared, runs) if runs and declared else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _platform_record(plain: Mapping[str, Any]) -> PlatformRecord | None:
    try:
        times = plain["cpu_and_wall_seconds"].items()
        runs = {str(run): CpuTime(_number(cpu), _number(wall)) for run, (cpu, wall) in times}
        return PlatformRecord(_number(plain["at"]), runs)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _number(value: Any) -> float:
    number = float(value)
    if not 0 <= number < _HUGE:
        raise ValueError(f"{value} is no amount")
    return number
