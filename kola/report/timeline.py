"""The machines of a run on a line of time: what they booted, configured and tested when. Pure geometry, for SVG."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from kola.results import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from kola.results import MachineRecord, RunRecord, TestRecord

LABEL, WIDTH, ROW, TOP = 96, 1100, 26, 26
"""Pixels: of the names at the left, of all, of a row, above the first."""
INSET = 4
ROOM = 50
"""Pixels of the name of a moment."""
LEAST = 2.0
"""Pixels of the shortest bar."""
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_MOST_TICKS = 12

Span = tuple[float, float]


@dataclass(frozen=True)
class Bar:
    """A time in the life of a machine.

    Attributes:
        kind: ``life``, ``wait``, ``boot``, ``ignition``, ``clone`` or ``test``.
        outcome: of a test.
        title: says all of it.
        link: id of what is told of it elsewhere on the page; may be empty.
    """

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str
    outcome: str = ""
    link: str = ""


@dataclass(frozen=True)
class Row:
    """One or several machines that did not live at the same time, of one worker; named if it is the worker's first."""

    y: float
    label: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Tick:
    """A moment that is named."""

    x: float
    label: str


@dataclass(frozen=True)
class Timeline:
    """All of it; ``summary`` says in words what it shows."""

    width: int
    height: int
    left: int
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    summary: str


@dataclass
class _Scale:
    start: float
    end: float

    def x(self, moment: float) -> float:
        share = (moment - self.start) / max(self.end - self.start, 1e-3)
        return round(LABEL + max(0.0, min(1.0, share)) * (WIDTH - LABEL - 8), 1)

    def width(self, span: Span) -> float:
        return round(max(LEAST, self.x(span[1]) - self.x(span[0])), 1)


@dataclass
class _Lane:
    label: str
    machines: list[MachineRecord] = field(default_factory=list)
    free: float = 0.0


def timeline_of(
    record: RunRecord, ignition: Mapping[str, Span], link: Callable[[TestRecord], str], most: int = 60
) -> Timeline | None:
    """Lay a run out; None if it had no machines.

    Args:
        record: of the run.
        ignition: machine -> when Ignition ran in it.
        link: says where more is told of a test.
        most: rows that are drawn.
    """
    machines = [machine for machine in record.machines.values() if _began(machine) is not None]
    if not machines:
        return None
    ends = [test.started + test.duration for test in record.tests.values() if test.started is not None]
    ends += [moment for machine in machines for moment in (machine.gone, machine.up, _began(machine)) if moment]
    scale = _Scale(record.started, record.finished or max(ends))
    used: dict[str, list[TestRecord]] = {}
    for test in record.tests.values():
        for name in test.machines:
            used.setdefault(name, []).append(test)
    lanes = _lanes(machines, scale.end)
    painter = _Painter(scale, used, ignition, link)
    rows = tuple(painter.row(lane, TOP + number * ROW) for number, lane in enumerate(lanes[:most]))
    hidden = f" {len(lanes) - most} rows are not drawn." if len(lanes) > most else ""
    height = TOP + len(rows) * ROW + 6
    return Timeline(WIDTH, height, LABEL, rows, _ticks(scale), _summary(machines, scale) + hidden)


def _began(machine: MachineRecord) -> float | None:
    return next((moment for moment in (machine.created, machine.booting, machine.up) if moment is not None), None)


def _lanes(machines: Iterable[MachineRecord], end: float) -> list[_Lane]:
    """Put machines of a worker that did not live at the same time into one row."""
    runs = {machine.name.rpartition("-")[0].rpartition("-")[0] for machine in machines}
    workers: dict[str, list[_Lane]] = {}
    for machine in sorted(machines, key=lambda machine: (_began(machine) or 0.0, machine.name)):
        prefix = machine.name.rpartition("-")[0]
        label = machine.worker if len(runs) == 1 or not prefix else prefix.removeprefix("kola-")
        lanes = workers.setdefault(label, [])
        began = _began(machine) or 0.0
        lane = next((lane for lane in lanes if lane.free <= began), None)
        if lane is None:
            lane = _Lane("" if lanes else label)
            lanes.append(lane)
        lane.machines.append(machine)
        lane.free = machine.gone or end
    return [lane for label in sorted(workers) for lane in workers[label]]


@dataclass(frozen=True)
class _Painter:
    scale: _Scale
    used: Mapping[str, list[TestRecord]]
    ignition: Mapping[str, Span]
    link: Callable[[TestRecord], str]

    def row(self, lane: _Lane, top: float) -> Row:
        bars = [bar for machine in lane.machines for bar in (*self._life(machine, top), *self._tests(machine, top))]
        return Row(top, lane.label, tuple(bars))

    def _tests(self, machine: MachineRecord, top: float) -> Iterator[Bar]:
        for test in sorted(self.used.get(machine.name, []), key=lambda test: test.started or 0.0):
            if test.started is None or test.outcome in {Outcome.NOT_RUN, Outcome.SKIPPED}:
                continue
            # Its set-up is the machine's boot or clone, which has a bar of its own.
            start = max(test.started + test.phases.get("setup", 0.0), machine.up or 0.0)
            span = (start, max(start, test.started + test.duration))
            title = f"{test.nodeid}: {test.outcome.value}, {span[1] - span[0]:.1f} s on {machine.name}"
            yield self._bar("test", span, top, title, (test.outcome.value, self.link(test)))

    def _life(self, machine: MachineRecord, top: float) -> Iterator[Bar]:
        name, began = machine.name, _began(machine)
        if began is None:
            return
        end = machine.gone or self.scale.end
        yield self._bar("life", (began, end), top, f"{name}: {end - began:.1f} s{_memory(machine)}")
        if machine.origin == "clone":
            if machine.up is not None:
                yield self._bar("clone", (began, machine.up), top, f"{name}: cloned")
            return
        if machine.created is not None and machine.booting is not None:
            yield self._bar("wait", (machine.created, machine.booting), top, f"{name}: being made")
        if machine.booting is not None:
            up = machine.up or end
            took = f"{up - machine.booting:.1f} s until SSH answered" if machine.up else "SSH never answered"
            yield self._bar("boot", (machine.booting, up), top, f"{name}: boot, {took}")
        if (span := self.ignition.get(name)) is not None:
            yield self._bar("ignition", span, top, f"{name}: Ignition, {span[1] - span[0]:.1f} s")

    def _bar(self, kind: str, span: Span, top: float, title: str, test: tuple[str, str] = ("", "")) -> Bar:
        inset = {"life": INSET, "ignition": ROW / 2}.get(kind, INSET + 2)
        height = ROW - INSET - 2 - inset if kind == "ignition" else ROW - 2 * inset
        return Bar(kind, self.scale.x(span[0]), top + inset, self.scale.width(span), height, title, *test)


def _memory(machine: MachineRecord) -> str:
    return f", at most {machine.peak_mib:.0f} MiB" if machine.peak_mib else ""


def _ticks(scale: _Scale) -> tuple[Tick, ...]:
    length = scale.end - scale.start
    step = next((step for step in _TICKS if length / step <= _MOST_TICKS), max(_TICKS[-1], int(length / _MOST_TICKS)))
    ticks = (
        Tick(scale.x(scale.start + number * step), clock(number * step)) for number in range(int(length // step) + 1)
    )
    return tuple(tick for tick in ticks if tick.x < WIDTH - ROOM)


def clock(seconds: float) -> str:
    """Return a duration for a person: ``45 s``, ``3:05 min``, ``1:02 h``."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"


def _summary(machines: Iterable[MachineRecord], scale: _Scale) -> str:
    boots = [machine for machine in machines if machine.origin == "boot"]
    times = [seconds for machine in boots if (seconds := machine.boot_seconds) is not None]
    clones = len(list(machines)) - len(boots)
    words = [f"{len(boots)} booted", f"{clones} cloned"]
    if times:
        words.append(f"boot until SSH {median(times):.1f} s (median), {max(times):.1f} s (longest)")
    return f"{clock(scale.end - scale.start)}: {', '.join(words)}."
