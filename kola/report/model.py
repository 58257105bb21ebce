"""What the page says, made of runs alone. Pure; the page's template knows nothing else."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from kola.report.history import Past, Point, past_of
from kola.results import Outcome, TestRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kola.report.runs import Build, Note, Run
    from kola.report.verdicts import Answer

MISSING = "no-run"
"""State of a cell that was run for an earlier build, and not for this one."""
WORST = (
    Outcome.FAILED, Outcome.PROVIDER_ERROR, Outcome.NOT_RUN, Outcome.WARNED, Outcome.FLAKY, Outcome.PASSED,
    Outcome.SKIPPED,
)  # fmt: skip
"""The state of a cell is the first of these that one of its tests has."""
BROKEN = frozenset({*WORST[:3], MISSING})
SHOWN = (Outcome.FAILED, Outcome.PROVIDER_ERROR, Outcome.WARNED, Outcome.FLAKY)
"""What each test is told about that came to it, in this order; ``not-run`` is told of the cell."""
MOST_PROBLEMS = 1000
MOST_TESTS = 5000
MOST_NAMES = 200
MOST_BUILDS = 20


@dataclass(frozen=True, order=True)
class Place:
    """Where tests of a stream run, and which: what has one verdict."""

    stream: str
    target: str
    suite: str


@dataclass(frozen=True)
class Slice:
    """What one run says of one place."""

    run: Run
    tests: tuple[TestRecord, ...]

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        """Outcomes that there are, the worst first, with their numbers."""
        counter = Counter(test.outcome for test in self.tests)
        return tuple((outcome.value, counter[outcome]) for outcome in WORST if counter[outcome])

    @property
    def state(self) -> str:
        """The worst outcome; what passed in a run that was cut short counts as not run."""
        worst = next((outcome for outcome in WORST if any(test.outcome is outcome for test in self.tests)), None)
        if worst is None or (not self.run.record.complete and worst not in WORST[:3]):
            return Outcome.NOT_RUN.value
        return worst.value


@dataclass(frozen=True)
class Cell:
    """A place in the matrix of a build; ``slice`` is None if nothing was run there."""

    place: Place
    slice: Slice | None

    @property
    def state(self) -> str:
        """An outcome, or ``MISSING``."""
        return MISSING if self.slice is None else self.slice.state


@dataclass(frozen=True)
class Matrix:
    """One build's places: suites down, targets across; None where there never was anything.

    Attributes:
        past: builds up to this one, oldest first.
        strips: place -> state in each of these; empty where there is none.
    """

    build: Build
    started: float
    targets: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]
    past: tuple[Build, ...]
    strips: Mapping[Place, tuple[str, ...]]

    @property
    def cells(self) -> list[Cell]:
        """All of them."""
        return [cell for _, row in self.rows for cell in row if cell is not None]


@dataclass(frozen=True)
class Evidence:
    """Where the logs of one try of a test are.

    Attributes:
        title: whose they are.
        run: in which that was.
        text: what pytest shows of it.
        artifacts: folders of its machines.
        window: when it ran, in unix seconds; None if that is not known.
        again: what pytest shows of a second try that failed, too.
    """

    title: str
    run: Run
    text: str
    artifacts: tuple[str, ...]
    window: tuple[float, float] | None
    again: str = ""


@dataclass(frozen=True)
class Problem:
    """A test that is not simply good.

    Attributes:
        id: the same in every report, for links.
        bad: what it looks like now; of one that was run again, its first try.
        good: the same where it passed last, if that is known.
    """

    id: str
    place: Place
    run: Run
    test: TestRecord
    past: Past
    bad: Evidence
    good: Evidence | None


@dataclass(frozen=True)
class Gap:
    """Tests of a place that were not run, or all of it."""

    place: Place
    run: Run | None
    names: tuple[str, ...]

    @property
    def shown(self) -> tuple[str, ...]:
        """The first of the names."""
        return self.names[:MOST_NAMES]


@dataclass(frozen=True)
class TestRow:
    """A test on all targets of a stream."""

    __test__ = False

    stream: str
    suite: str
    nodeid: str
    description: str
    note: str
    cells: tuple[TestRecord | None, ...]
    links: tuple[str, ...]

    @property
    def outcomes(self) -> str:
        """Those that there are, for the filter."""
        return " ".join(sorted({test.outcome.value for test in self.cells if test is not None}))


@dataclass(frozen=True)
class Report:
    """All of the page.

    Attributes:
        hidden: number of problems that are left out, because there are too many.
        untold: number of tests that are left out.
        notes: what could not be read.
        answers: what the gate has said of the builds, if that is known.
    """

    matrices: tuple[Matrix, ...]
    problems: tuple[Problem, ...]
    gaps: tuple[Gap, ...]
    runs: tuple[Run, ...]
    tests: tuple[TestRow, ...]
    hidden: int
    untold: int
    notes: tuple[Note, ...]
    answers: tuple[Answer, ...] = ()

    @property
    def held(self) -> bool:
        """Whether the gate holds one of the builds."""
        return any(answer.holds for answer in self.answers)

    @property
    def cells(self) -> list[Cell]:
        """Of all matrices."""
        return [cell for matrix in self.matrices for cell in matrix.cells]

    @property
    def broken(self) -> list[Cell]:
        """Those that say that something is wrong, or nothing at all."""
        return [cell for cell in self.cells if cell.state in BROKEN]


def report_of(runs: Sequence[Run], notes: Iterable[Note] = ()) -> Report:
    """Make the page's content of runs.

    It is about the newest build of each stream among those that were given; everything before is its history.

    Args:
        runs: sorted by their start.
        notes: what could not be read.
    """
    slices = _slices(runs)
    builds = _builds(runs)
    current = {}
    for build, run in builds.items():  # a build is as new as its first run: it may be run again later
        if any(other.given for other in runs if other.build == build):
            current[run.build.stream] = build
    matrices = tuple(_matrix(build, slices, builds) for _, build in sorted(current.items()))
    problems: list[Problem] = []
    gaps: list[Gap] = []
    for matrix in matrices:
        for cell in matrix.cells:
            if cell.slice is None:
                gaps.append(Gap(cell.place, None, ()))
                continue
            names = tuple(test.nodeid for test in cell.slice.tests if test.outcome is Outcome.NOT_RUN)
            if names or not cell.slice.tests or not cell.slice.run.record.complete:
                gaps.append(Gap(cell.place, cell.slice.run, names))
            problems += _problems(cell.place, cell.slice, slices[cell.place])
    problems.sort(
        key=lambda problem: (SHOWN.index(problem.test.outcome), problem.past.streak, problem.place, problem.test.nodeid)
    )
    shown = {problem.id for problem in problems[:MOST_PROBLEMS]}
    tests = [row for matrix in matrices for row in _tests(matrix, shown)]
    tests.sort(key=lambda row: not any(row.links))
    used = {id(cell.slice.run): cell.slice.run for matrix in matrices for cell in matrix.cells if cell.slice}
    return Report(
        matrices=matrices,
        problems=tuple(problems[:MOST_PROBLEMS]),
        gaps=tuple(gaps),
        runs=tuple(sorted(used.values(), key=lambda run: run.record.started)),
        tests=tuple(tests[:MOST_TESTS]),
        hidden=max(0, len(problems) - MOST_PROBLEMS),
        untold=max(0, len(tests) - MOST_TESTS),
        notes=tuple(notes),
    )


def _urgency(problem: Problem) -> tuple[int, int, Place, str]:
    """Sort the worst and the newest first."""
    return SHOWN.index(problem.test.outcome), problem.past.streak, problem.place, problem.test.nodeid


def identity(place: Place, nodeid: str) -> str:
    """Return the id of a test at a place, the same in every report."""
    name = "\0".join((*astuple(place), nodeid))
    return "t-" + hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:12]


def _slices(runs: Iterable[Run]) -> dict[Place, list[Slice]]:
    """Return what is known of every place, in the order of time."""
    found: dict[Place, list[Slice]] = defaultdict(list)
    for run in runs:
        suites: dict[str, list[TestRecord]] = {suite: [] for suite in run.record.suites}
        for test in run.record.tests.values():
            suites.setdefault(test.suite or "tests", []).append(test)
        for suite, tests in suites.items():
            ordered = tuple(sorted(tests, key=lambda test: test.nodeid))
            found[Place(run.build.stream, run.target.name, suite)].append(Slice(run, ordered))
    return found


def _builds(runs: Iterable[Run]) -> dict[Build, Run]:
    """Return all builds with their first runs, the oldest first."""
    found: dict[Build, Run] = {}
    for run in runs:
        found.setdefault(run.build, run)
    return found


def _matrix(build: Build, slices: Mapping[Place, Sequence[Slice]], builds: Mapping[Build, Run]) -> Matrix:
    started = builds[build].record.started
    order = [other for other in builds if other.stream == build.stream]
    past = tuple(order[: order.index(build) + 1][-MOST_BUILDS:])
    places = sorted(place for place in slices if place.stream == build.stream and _known(slices[place], past))
    newest = {place: {one.run.build: one for one in slices[place]} for place in places}  # the last run of each build
    targets = tuple(sorted({place.target for place in places}))
    rows = []
    for suite in sorted({place.suite for place in places}):
        row = [Place(build.stream, target, suite) for target in targets]
        rows.append((suite, tuple(Cell(place, newest[place].get(build)) if place in newest else None for place in row)))
    strips = {
        place: tuple(newest[place][other].state if other in newest[place] else "" for other in past) for place in places
    }
    return Matrix(build, started, targets, tuple(rows), past, strips)


def _known(slices: Iterable[Slice], builds: Sequence[Build]) -> bool:
    return any(one.run.build in builds for one in slices)


def _problems(place: Place, present: Slice, history: Sequence[Slice]) -> list[Problem]:
    earlier = itertools.takewhile(lambda one: one is not present, history)
    points: dict[str, list[Point]] = defaultdict(list)
    for one in earlier:
        for test in one.tests:
            points[test.nodeid].append(Point(one.run, test))
    found = []
    for test in present.tests:
        if test.outcome in SHOWN:
            past = past_of([*points[test.nodeid], Point(present.run, test)])
            bad, good = _evidence(present.run, test, past)
            found.append(Problem(identity(place, test.nodeid), place, present.run, test, past, bad, good))
    return found


def _evidence(run: Run, test: TestRecord, past: Past) -> tuple[Evidence, Evidence | None]:
    first = test.first_failure
    if first is not None:
        flaky = test.outcome is Outcome.FLAKY
        bad = Evidence("First try", run, first.text, tuple(first.artifacts), None, "" if flaky else test.text)
        if flaky:
            return bad, _of_record("Second try, which passed", run, test)
    else:
        bad = _of_record("This run", run, test)
    good = past.last_good
    if good is None:
        return bad, None
    return bad, _of_record(f"Last good run: {good.run.build.label}", good.run, good.test)


def _of_record(title: str, run: Run, test: TestRecord) -> Evidence:
    window = None if test.started is None else (test.started, test.started + test.duration)
    return Evidence(title, run, test.text, tuple(test.artifacts), window)


def _tests(matrix: Matrix, shown: set[str]) -> list[TestRow]:
    known: dict[tuple[str, str], dict[str, TestRecord]] = defaultdict(dict)
    for cell in matrix.cells:
        for test in cell.slice.tests if cell.slice else ():
            known[cell.place.suite, test.nodeid][cell.place.target] = test
    rows = []
    for (suite, nodeid), by_target in sorted(known.items()):
        cells = tuple(by_target.get(target) for target in matrix.targets)
        ids = [identity(Place(matrix.build.stream, target, suite), nodeid) for target in matrix.targets]
        some = next(iter(by_target.values()))
        note = next((test.reason for test in by_target.values() if test.outcome is Outcome.SKIPPED), "")
        links = tuple(one if one in shown else "" for one in ids)
        rows.append(TestRow(matrix.build.stream, suite, nodeid, some.description, note, cells, links))
    return rows
