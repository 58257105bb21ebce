"""What may be wrong with the results, the builds or the graph of a world in which the gate is open."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from kola.cincinnati import Release
from kola.gate.findings import Code
from kola.results import ImageRecord, MachineRecord, Outcome, RunRecord
from kola.statement import load_signer, statement_of
from tests.unit.gate.world import (
    BASIC,
    BUILD,
    COMMIT,
    EARLIER,
    PARENT,
    PARENT_COMMIT,
    STORAGE,
    World,
    good_releases,
    record_of,
    with_deployment,
    with_test,
)

ONE, TWO = f"{STORAGE}.1of2", f"{STORAGE}.2of2"


@dataclass(frozen=True)
class Case:
    """What closes the gate: ``code`` and a part of the text of the reason; in which phase; what else goes with it."""

    what: str
    code: Code
    text: str
    close: Callable[[World], object]
    phase: str = "results"
    also: Code | None = None


def job(name: str, change: Callable[[RunRecord], RunRecord]) -> Callable[[World], None]:
    """Change the results of a job, signed again."""
    return lambda world: world.change(name, change)


def outcome(value: Outcome, exit_code: int = 1, **changes: Any) -> Callable[[World], None]:
    return job(BASIC, lambda r: replace(with_test(r, outcome=value, reason="why", **changes), exit_code=exit_code))


def text_of(world: World, name: str, change: Callable[[str], str]) -> None:
    path = world.job(BASIC) / name
    path.write_text(change(path.read_text()))


def data_of(world: World, **changes: Any) -> None:
    text_of(world, "results.json", lambda text: json.dumps(json.loads(text) | changes))


def copied(world: World) -> None:
    """The results of the other share stand in for those that are missing."""
    shutil.rmtree(world.job(f"{STORAGE}.2of2"))
    shutil.copytree(world.job(ONE), world.job(f"{STORAGE}.2of2"))


def flaky(world: World, *builds: str) -> None:
    for build in builds:
        world.change(BASIC, lambda r: with_test(r, outcome=Outcome.FLAKY), build)


def two_flaky(record: RunRecord) -> RunRecord:
    return with_test(with_test(record, 0, outcome=Outcome.FLAKY), 1, outcome=Outcome.FLAKY)


def slowed(record: RunRecord) -> RunRecord:
    return replace(record, machines={n: replace(m, up=(m.up or 0) + 15) for n, m in record.machines.items()})


def without(record: RunRecord, number: int) -> RunRecord:
    gone = sorted(record.tests)[number]
    return replace(record, tests={n: t for n, t in record.tests.items() if n != gone})


def slower_and_slower(world: World) -> None:
    """So many builds since the last release were as slow, and held, that they are most of the last ones."""
    world.change(BASIC, slowed)
    for number in range(4):
        build, started = f"42.2{number}", world.started(BUILD) - 60 * (1 + number)
        world.store(slowed(record_of(BASIC, build, started)), build)
        world.write_meta(build)


def idle(record: RunRecord) -> RunRecord:
    """One more machine, of the build, which no test had."""
    more = MachineRecord("kola-more", booting=record.started, up=record.started + 20, deployment=COMMIT)
    target = replace(record.targets[0], deployments=[COMMIT])
    return replace(record, machines={**record.machines, more.name: more}, targets=[target])


def silent(record: RunRecord) -> RunRecord:
    more = MachineRecord("kola-more", booting=record.started, up=record.started + 20)
    return replace(record, machines={**record.machines, more.name: more})


def two_deployments(record: RunRecord) -> RunRecord:
    more = MachineRecord("kola-more", booting=record.started, up=record.started + 20, deployment="e" * 64)
    target = replace(record.targets[0], deployments=[COMMIT, "e" * 64])
    return replace(record, machines={**record.machines, more.name: more}, targets=[target])


def released(world: World) -> None:
    world.write_releases(*EARLIER, BUILD)


def graph(change: Callable[[list[Release]], list[Release]]) -> Callable[[World], None]:
    return lambda world: world.write_graph(*change(good_releases()))


def edges(change: Callable[[list[list[int]]], list[list[int]]]) -> Callable[[World], None]:
    def close(world: World) -> None:
        path = world.folder / "graph.json"
        data = json.loads(path.read_text())
        path.write_text(json.dumps(data | {"edges": change(data["edges"])}))

    return close


def unfinished(world: World, seconds: float = 0) -> None:
    """Nobody signs what is not finished; somebody did."""
    folder = world.job(BASIC)
    record = record_of(BASIC, BUILD, world.started(BUILD) + seconds)
    record = replace(record, complete=False, exit_code=None, finished=None)
    record.write(folder / "results.json")
    digest = hashlib.sha256((folder / "results.json").read_bytes()).hexdigest()
    signer = load_signer(str(world.folder / "key.pem"))
    (folder / "results.intoto.jsonl").write_bytes(signer.envelope(statement_of(record, digest).to_json()))


def moved(record: RunRecord, seconds: float) -> RunRecord:
    return replace(record, started=record.started + seconds, finished=(record.finished or 0) + seconds)


def not_run(world: World) -> None:
    world.change(BASIC, lambda r: replace(with_test(r, outcome=Outcome.NOT_RUN, reason="why"), exit_code=0))


def warned(world: World) -> None:
    text = (world.folder / "gate.toml").read_text()
    (world.folder / "gate.toml").write_text(text.replace("[tests]", "[tests]\nwarned_holds = true"))
    world.change(BASIC, lambda r: replace(with_test(r, outcome=Outcome.WARNED, reason="why"), exit_code=77))


def no_tests(world: World, *, skipped: bool = False) -> None:
    def change(record: RunRecord) -> RunRecord:
        if not skipped:
            return replace(no_machines(record), tests={}, exit_code=5)
        for number in range(3):
            record = with_test(record, number, outcome=Outcome.SKIPPED)
        return record

    for build in (BUILD, *EARLIER):  # else fewer tests would run than before
        world.change(BASIC, change, build)


def larger(world: World) -> None:
    image = {"path": "q", "sha256": "a" * 64, "size": 1000 * 2**20}
    world.write_meta(images={"qemu": image})


def parent(world: World, version: str, commit: str) -> None:
    world.write_meta(**{"fedora-coreos.parent-version": version, "fedora-coreos.parent-commit": commit})


def forget(world: World, *builds: str) -> None:
    for build in builds:
        shutil.rmtree(world.job(BASIC, build).parent)


def unsigned_past(world: World) -> None:
    (world.job(BASIC, PARENT) / "results.intoto.jsonl").unlink()


def steps(*all_of: Callable[[World], object]) -> Callable[[World], None]:
    def close(world: World) -> None:
        for step in all_of:
            step(world)

    return close


def waive(world: World, *pairs: tuple[str, str]) -> None:
    """Somebody answers for findings: code and pattern of each."""
    until = dt.datetime.fromtimestamp(world.now, dt.UTC).date() + dt.timedelta(days=1)
    rest = f'reason = "r"\nowner = "o"\ntracker = "t"\nexpires = {until}\n'
    world.write("waivers.toml", "".join(f'[[waivers]]\ncode = "{c}"\npattern = "{p}"\n{rest}' for c, p in pairs))


def missing_share(world: World) -> None:
    shutil.rmtree(world.job(ONE))
    waive(world, ("missing", ONE))


def nothing_there(world: World) -> None:
    for name in (BASIC, ONE, TWO):
        shutil.rmtree(world.job(name))
    waive(world, ("missing", "testing.*"))


def cut_short(world: World, change: Callable[[RunRecord], RunRecord]) -> None:
    """A run that was cut short, which is waived; nothing else of it is."""
    world.change(BASIC, lambda r: change(replace(r, complete=False, exit_code=2)))
    waive(world, ("incomplete", BASIC))


def no_machines(record: RunRecord) -> RunRecord:
    return replace(record, machines={}, targets=[replace(record.targets[0], deployments=[])])


def machines(record: RunRecord, **changes: Any) -> RunRecord:
    return replace(record, machines={name: replace(one, **changes) for name, one in record.machines.items()})


def updated(record: RunRecord, arrived: str) -> RunRecord:
    """All machines booted an image to update from."""
    record = machines(with_deployment(record, ""), updated=True, deployment=PARENT_COMMIT, arrived=arrived)
    return replace(record, targets=[replace(record.targets[0], from_image=ImageRecord("stream:stable"))])


def update(*changes: Callable[[RunRecord], RunRecord], arrived: str) -> Callable[[World], None]:
    """In a cell of updates, all machines of the run were updated."""

    def close(world: World) -> None:
        from_stable(world)
        for build in EARLIER:
            for name in (BASIC, "next.qemu.x86_64.basic"):
                world.change(name, lambda r: updated(r, COMMIT), build)
        world.change(BASIC, lambda r: reduce(lambda record, change: change(record), changes, updated(r, arrived)))

    return close


def empty_share(world: World, exit_code: int) -> None:
    for build in EARLIER:
        world.change(ONE, lambda r: replace(no_machines(r), tests={}, exit_code=5), build)
    world.change(ONE, lambda r: replace(no_machines(r), tests={}, exit_code=exit_code))


def sizeless(world: World, *builds: str) -> None:
    for build in builds:
        world.write_meta(build, images={"qemu": {"path": "q", "sha256": "a" * 64}})


def not_booted(record: RunRecord) -> RunRecord:
    return machines(record, origin="clone")


def junk_between(world: World) -> None:
    """Builds that nobody signed do not make the ones before fewer."""
    flaky(world, BUILD, PARENT, EARLIER[1])
    for number in range(3):
        record = record_of(BASIC, f"junk{number}", world.started(BUILD) - 60 - number)
        world.store(record, f"junk{number}", signed_by="")


def only_warned(record: RunRecord) -> RunRecord:
    for number in range(3):
        record = with_test(record, number, outcome=Outcome.WARNED)
    return record


def from_stable(world: World) -> None:
    text = (world.folder / "matrix.toml").read_text()
    basic = 'suites = ["basic"]\ncadence = "build"'
    world.write("matrix.toml", text.replace(basic, f'{basic}\nfrom_image = "stream:stable"'))
