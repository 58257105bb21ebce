"""One record of the records of several runs that had a share of the tests each (``--sharding``). Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from kola.errors import ConfigError
from kola.results import PRECEDENCE, FirstFailure, RunRecord, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def merge(records: Sequence[RunRecord], folders: Sequence[str] = ()) -> RunRecord:
    """Make one record of those of all shares of one thing: the same build, target and version of kola.

    What was not run in its share was not run. Of shares that are not there the merged record knows nothing: it is not
    complete.

    Args:
        records: in any order; a single one that is no share is returned as it is.
        folders: where each of them lies, seen from where the merged one will be read: what paths begin with then.

    Raises:
        ConfigError: there are none; they are not shares of one thing; a share, a test or a machine is there twice.
    """
    if not records:
        raise ConfigError("no records to merge")
    records = [_moved(*pair) for pair in zip(records, folders, strict=True)] if folders else list(records)
    first = records[0]
    if len(records) == 1 and first.shard is None:
        return first
    _check(records)
    codes = [record.exit_code for record in records]
    ends = [record.finished for record in records if record.finished is not None]
    total = first.shard.total if first.shard is not None else 1
    return RunRecord(
        run_id="+".join(record.run_id for record in records),
        kola_version=first.kola_version,
        started=min(record.started for record in records),
        targets=[_merged(each) for each in zip(*(record.targets for record in records), strict=True)],
        tests={nodeid: test for record in records for nodeid, test in record.tests.items()},
        machines={name: machine for record in records for name, machine in record.machines.items()},
        suites=sorted({suite for record in records for suite in record.suites}),
        artifacts=[artifact for record in records for artifact in record.artifacts],
        finished=max(ends) if len(ends) == len(records) else None,
        complete=len(records) == total and all(record.complete for record in records),
        exit_code=_worst(codes),
        deselected=sum(record.deselected for record in records),
    )


def _check(records: Sequence[RunRecord]) -> None:
    first, ids = records[0], ", ".join(record.run_id for record in records)
    for record in records:
        if record.shard is None:
            raise ConfigError(f"runs {ids} are of the same tests: {record.run_id} is no share of them (--sharding)")
        if (what := _difference(first, record)) is not None:
            raise ConfigError(f"runs {ids} are no shares of one thing: {record.run_id} has {what}")
    _once("share", (str(record.shard.number) for record in records if record.shard is not None), ids)
    _once("test", (nodeid for record in records for nodeid in record.tests), ids)
    _once("machine", (name for record in records for name in record.machines), ids)


def _difference(one: RunRecord, other: RunRecord) -> str | None:
    if one.kola_version != other.kola_version:
        return f"version {other.kola_version} of kola, not {one.kola_version}"
    if one.shard is not None and other.shard is not None and one.shard.total != other.shard.total:
        return f"one of {other.shard.total} shares, not of {one.shard.total}"
    if [replace(target, deployments=[]) for target in one.targets] != [
        replace(target, deployments=[]) for target in other.targets
    ]:
        return "another image or target"
    return None


def _once(what: str, names: Iterable[str], ids: str) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise ConfigError(f"runs {ids}: {what} {name} is there {times} times")


def _merged(targets: Sequence[Target]) -> Target:
    return replace(targets[0], deployments=sorted({one for target in targets for one in target.deployments}))


def _worst(codes: Sequence[int | None]) -> int | None:
    if None in codes:
        return None
    order: dict[int | None, int] = {code.value: place for place, code in enumerate(PRECEDENCE)}
    return min(codes, key=lambda code: order.get(code, -1))  # one that is not in the table is somebody's plugin's


def _moved(record: RunRecord, folder: str) -> RunRecord:
    """Return a record that is read from elsewhere."""

    def moved(paths: Iterable[str]) -> list[str]:
        return [f"{folder}/{path}" for path in paths]

    def first(failure: FirstFailure | None) -> FirstFailure | None:
        return None if failure is None else replace(failure, artifacts=moved(failure.artifacts))

    return replace(
        record,
        artifacts=moved(record.artifacts),
        tests={
            nodeid: replace(test, artifacts=moved(test.artifacts), first_failure=first(test.first_failure))
            for nodeid, test in record.tests.items()
        },
        machines={
            name: replace(machine, artifacts=f"{folder}/{machine.artifacts}" if machine.artifacts else "")
            for name, machine in record.machines.items()
        },
    )
