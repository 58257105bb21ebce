"""What the machines of a run had booted, and whether that is the build: else its tests say nothing of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kola.matrix import Runner
from kola.results import Outcome
from kola.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kola.gate.build import Build
    from kola.matrix import Cell
    from kola.results import RunRecord, Target

GOOD = frozenset({Outcome.PASSED, Outcome.FLAKY})
RAN = frozenset({*GOOD, Outcome.FAILED, Outcome.WARNED})
"""Outcomes of tests that said something of the operating system."""


def what_booted(cell: Cell, record: RunRecord, build: Build | None) -> Iterator[str]:
    """Yield what speaks against a run's machines having booted a build.

    Args:
        cell: that the run is of.
        record: of the run; of one target.
        build: what meta.json says; None if that is not known.
    """
    target = record.targets[0]
    yield from _image(cell, target, build)
    yield from _said(record, target)
    yield from _machines(record)
    yield from _arrived(record, build)
    if len(target.deployments) > 1:
        yield f"machines had booted different deployments: {', '.join(target.deployments)}"
    wrong = [problem for one in target.deployments if build is not None and (problem := build.deployment_problem(one))]
    if wrong:
        yield f"machines had booted {wrong[0]}"


def _image(cell: Cell, target: Target, build: Build | None) -> Iterator[str]:
    if not target.image.sha256 and not target.image.platform_id:
        yield "nobody knows which image was booted"
    if build is not None and cell.runner is Runner.REHEARSE:
        # That cloud made its image on the host of the test, of the build's, and no meta.json can name it.
        if not target.deployments:
            yield "nobody knows which deployment was booted on a rehearsed cloud"
    elif build is not None and (problem := build.image_problem(target)):
        yield problem


def _said(record: RunRecord, target: Target) -> Iterator[str]:
    """Yield where the machines do not say what they had booted, or something else than the target."""
    up = [machine for machine in record.machines.values() if machine.up is not None and not machine.updated]
    if silent := [machine.name for machine in up if not machine.deployment]:
        yield f"{len(silent)} of {len(up)} machines did not say which deployment they had booted: {some(silent, 3)}"
    said = sorted({machine.deployment for machine in up} - {""})
    if said != sorted(target.deployments):
        yield f"the machines had booted {some(said, 3)}, the target says {some(sorted(target.deployments), 3)}"


def _arrived(record: RunRecord, build: Build | None) -> Iterator[str]:
    """Yield that no machine of a test that ran was one of the build: all were updated, or there was none."""
    if record.targets[0].from_image is None and any(machine.updated for machine in record.machines.values()):
        yield "machines had booted an image to update from, and the target names none"
    ran = [test for test in record.tests.values() if test.outcome in RAN]
    used = {name for test in ran for name in test.machines}
    up = [machine for name, machine in record.machines.items() if name in used and machine.up is not None]
    # One that no test used says nothing of what these did.
    if not ran or any(not machine.updated for machine in up):
        return
    arrived = {machine.arrived for machine in up} - {""}
    if not arrived:
        yield "tests ran, and no machine says that it had booted the build, or was updated to it"
    elif build is not None and all(problems := [build.deployment_problem(one) for one in sorted(arrived)]):
        yield f"machines were updated to {problems[0]}"


def _machines(record: RunRecord) -> Iterator[str]:
    """Yield why the machines of tests that ran are not those of the record."""
    known = {name for name, machine in record.machines.items() if machine.up is not None}
    ran = sorted((nodeid, test) for nodeid, test in record.tests.items() if test.outcome in RAN)
    if unknown := [nodeid for nodeid, test in ran if not set(test.machines) <= set(record.machines)]:
        yield f"{len(unknown)} tests name machines that are not in the record: {some(unknown, 3)}"
    # A test that failed may have had none that came up; one without isolation needs none.
    good = [(nodeid, test) for nodeid, test in ran if test.outcome in GOOD]
    if alone := [
        nodeid for nodeid, test in good if (test.machines or test.isolation) and not known & set(test.machines)
    ]:
        yield f"{len(alone)} tests passed without a machine that was up: {some(alone, 3)}"
