"""Has something become slower or larger than it was: by more than noise, and by more than is tolerated. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from kola.gate.findings import Code, Finding
from kola.results import Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from kola.gate.build import Build
    from kola.gate.cells import CellReport
    from kola.gate.history import History, Past
    from kola.gate.policy import Policy, Rule
    from kola.results import RunRecord

    Measure = tuple[Code, str]
    Measures = Mapping[Measure, float]

_NORMAL = 1.4826
"""Median absolute deviation -> standard deviation, where noise is normal."""
_MIB = 2**20
_UNITS = {Code.BOOT_TIME: "s", Code.TEST_TIME: "s", Code.IMAGE_SIZE: "MiB"}


def limit(earlier: Sequence[float], rule: Rule) -> float:
    """Return what a measure may be at most, given that of earlier builds.

    The median stands for them, because one build on a busy host says little; how much they differ among themselves
    (median absolute deviation) says what is noise.
    """
    middle = median(earlier)
    spread = _NORMAL * median(abs(value - middle) for value in earlier)
    return middle + max(rule.mads * spread, rule.percent / 100 * middle, rule.least)


def measures(cells: Mapping[str, Sequence[RunRecord]], builds: Mapping[str, Build]) -> dict[Measure, float]:
    """Return all measures of a build, by kind and subject; times only of one accelerator in each cell."""
    found: dict[Measure, float] = {}
    for cell, records in cells.items():
        boots: dict[str, list[float]] = {}
        for record in records:
            accelerator = record.targets[0].accelerator
            for machine in record.machines.values():
                if machine.boot_seconds is not None and not machine.updated:
                    boots.setdefault(accelerator, []).append(machine.boot_seconds)
            for nodeid, test in record.tests.items():
                if test.outcome is Outcome.PASSED and "call" in test.phases:
                    found[Code.TEST_TIME, f"{cell}::{nodeid} on {accelerator}"] = test.phases["call"]
        found |= {(Code.BOOT_TIME, f"{cell} on {name}"): median(seconds) for name, seconds in boots.items()}
    for arch, build in builds.items():
        for platform, image in build.images.items():
            if image.size is not None:
                found[Code.IMAGE_SIZE, f"{arch} {platform}"] = image.size / _MIB
    return found


@dataclass(frozen=True)
class _Earlier:
    """What is compared with. ``cells``: in how many of the builds there are results of each."""

    stream: str
    measures: Sequence[Measures]
    cells: Counter[str]

    @classmethod
    def of(cls, history: History, own: str) -> _Earlier:
        """Take a history, with the names of the stream ``own``."""
        whole = [_renamed(past, history.stream, own) for past in history.baseline]
        found = [measures(records, past.builds) for records, past in zip(whole, history.baseline, strict=True)]
        return cls(history.stream, found, Counter(name for records in whole for name in records))


def regressions(
    reports: Sequence[CellReport], builds: Mapping[str, Build], histories: Sequence[History], policy: Policy
) -> Iterator[Finding]:
    """Yield what has become worse than in one of the histories.

    Args:
        reports: of this build.
        builds: of this build.
        histories: of its own stream first, and of the one that it is promoted from, whose cells are called otherwise.
        policy: the rules.
    """
    cells = {report.cell.name: report.genuine for report in reports if report.genuine}
    needed = {report.cell.name for report in reports if report.cell.required}
    # Of images that no required cell boots nobody waits for the results either.
    needed |= {f"{report.cell.arch} {report.cell.platform.driver}" for report in reports if report.cell.required}
    now = measures(cells, builds)
    own = histories[0].stream
    yield from _no_size(builds, own, needed)
    rules = {
        Code.BOOT_TIME: policy.boot_time,
        Code.TEST_TIME: policy.test_time,
        Code.IMAGE_SIZE: policy.image_size,
    }
    for history in histories:
        earlier = _Earlier.of(history, own)
        if policy.history_required and policy.for_stream(history.stream).history_required:
            has_cells = {f"{own}{name.removeprefix(history.stream)}" for name in history.cells} or set(cells)
            compared = [report for report in reports if report.genuine and report.cell.name in has_cells]
            yield from _too_few(compared, now, earlier, policy)
            if history.metadata or history.stream == own:
                yield from _sizes_too_few(builds, earlier, own, needed, policy)
        for (code, subject), value in sorted(now.items()):
            before = [past[code, subject] for past in earlier.measures if (code, subject) in past]
            if len(before) < policy.history_least:
                continue
            most = limit(before, rules[code])
            if value > most:
                unit, name = _UNITS[code], subject.partition(" on ")[0]
                text = (
                    f"{value:.1f} {unit}; median of {len(before)} builds of {history.stream}: {median(before):.1f}, "
                    f"the one before: {before[0]:.1f}, allowed: {most:.1f}"
                )
                shown = f"{own}.{name}" if code is Code.IMAGE_SIZE else name
                yield Finding(code, shown, text, name.partition("::")[0] in needed)


def _renamed(past: Past, stream: str, own: str) -> dict[str, Sequence[RunRecord]]:
    """Return a build's cells as those of the other stream are called."""
    return {f"{own}{name.removeprefix(stream)}": records for name, records in past.cells.items()}


def _too_few(reports: Sequence[CellReport], now: Measures, earlier: _Earlier, policy: Policy) -> Iterator[Finding]:
    """Yield the cells whose boots cannot be compared: than what is not there, nothing is worse."""
    stream, pasts = earlier.stream, earlier.measures
    for report in reports:
        cell, required = report.cell.name, report.cell.required
        prefix = f"{cell} on "
        measured = {key for key in now if key[0] is Code.BOOT_TIME and key[1].startswith(prefix)}
        for key in sorted(measured):
            if (there := sum(key in past for past in pasts)) < policy.history_least:
                where = key[1].removeprefix(prefix)
                text = f"boots were measured on {where} in {there} earlier builds of {stream}"
                yield _too_little(cell, text, policy, required=required)
        before = sum(any(key[1].startswith(prefix) for key in past if key[0] is Code.BOOT_TIME) for past in pasts)
        if not measured and before and report.ran:
            text = f"no boot was measured; in {before} earlier builds of {stream} some were"
            yield Finding(Code.TOO_FEW, cell, text, required)
        if not measured and not before and earlier.cells[cell] < policy.history_least:
            text = f"results of {earlier.cells[cell]} earlier builds of {stream}"
            yield _too_little(cell, text, policy, required=required)


def _sizes_too_few(
    builds: Mapping[str, Build], earlier: _Earlier, own: str, needed: Collection[str], policy: Policy
) -> Iterator[Finding]:
    for arch, build in builds.items():
        for platform in build.images:
            key = Code.IMAGE_SIZE, f"{arch} {platform}"
            if (there := sum(key in past for past in earlier.measures)) < policy.history_least:
                text = f"the size of the image is known of {there} earlier builds of {earlier.stream}"
                yield _too_little(f"{own}.{key[1]}", text, policy, required=key[1] in needed)


def _no_size(builds: Mapping[str, Build], own: str, needed: Collection[str]) -> Iterator[Finding]:
    for arch, build in builds.items():
        for platform, image in build.images.items():
            if image.size is None:
                name = f"{arch} {platform}"
                yield Finding(
                    Code.IMAGE_SIZE, f"{own}.{name}", "meta.json does not say the size of the image", name in needed
                )


def _too_little(subject: str, text: str, policy: Policy, *, required: bool) -> Finding:
    return Finding(Code.TOO_FEW, subject, f"{text}; {policy.history_least} are needed to compare", required)
