from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from kola.errors import ConfigError
from kola.results import (
    ExitCode,
    FirstFailure,
    ImageRecord,
    MachineRecord,
    Outcome,
    RunRecord,
    Share,
    Target,
    TestRecord,
)
from kola.shards import merge

TARGET = Target("qemu", "x86_64", "kvm", ImageRecord("build:x", build_id="42.1", sha256="0" * 64), firmware="uefi")


def share(number: int, total: int = 2, outcome: Outcome = Outcome.PASSED) -> RunRecord:
    name = f"kola-{number}-main-1"
    folder = f"machines/{name}"
    test = TestRecord(
        f"a.py::test_{number}", outcome, "basic", machines=[name], artifacts=[folder],
        first_failure=FirstFailure("why", artifacts=[folder]),
    )  # fmt: skip
    return RunRecord(
        run_id=f"run{number}",
        kola_version="1",
        started=100.0 * number,
        targets=[replace(TARGET, deployments=[str(number) * 64])],
        tests={test.nodeid: test},
        machines={name: MachineRecord(name, artifacts=folder)},
        suites=["basic"],
        shard=Share(number, total),
        artifacts=["reaper.log"],
        finished=100.0 * number + 50,
        complete=True,
        exit_code=0,
    )


def test_shares_become_one_record() -> None:
    merged = merge([share(2), share(1)], ["two", "one"])
    assert (merged.run_id, merged.shard, merged.complete, merged.exit_code) == ("run2+run1", None, True, 0)
    assert (merged.started, merged.finished, merged.suites) == (100.0, 250.0, ["basic"])
    assert sorted(merged.tests) == ["a.py::test_1", "a.py::test_2"]
    assert merged.targets[0].deployments == ["1" * 64, "2" * 64]
    assert merged.artifacts == ["two/reaper.log", "one/reaper.log"]
    test = merged.tests["a.py::test_1"]
    assert test.artifacts == ["one/machines/kola-1-main-1"]
    assert test.first_failure == FirstFailure("why", artifacts=test.artifacts)
    assert merged.machines["kola-2-main-1"].artifacts == "two/machines/kola-2-main-1"


def test_a_single_record_stays_as_it_is() -> None:
    whole = replace(share(1), shard=None)
    assert merge([whole]) is whole


def test_while_a_share_is_missing_the_record_is_not_complete() -> None:
    assert not merge([share(1)]).complete
    assert not merge([share(1, 3), share(3, 3)]).complete


def test_what_was_not_run_in_its_share_was_not_run() -> None:
    cut_short = replace(share(2, outcome=Outcome.NOT_RUN), complete=False, exit_code=None, finished=None)
    merged = merge([share(1), cut_short])
    assert merged.counts()["not-run"] == 1
    assert (merged.complete, merged.exit_code, merged.finished) == (False, None, None)


@pytest.mark.parametrize(
    ("codes", "worst"),
    [((0, 0), 0), ((0, 1), 1), ((75, 1), ExitCode.FAILED), ((77, 0), 77), ((1, 3), 3), ((0, 117), 117), ((5, 0), 5)],
)
def test_the_worst_exit_code_counts(codes: tuple[int, int], worst: int) -> None:
    assert merge([replace(share(n), exit_code=code) for n, code in enumerate(codes, 1)]).exit_code == worst


def of_another_build(record: RunRecord) -> RunRecord:
    target = replace(record.targets[0], image=replace(TARGET.image, build_id="42.2"))
    return replace(record, targets=[target])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: replace(record, shard=None), "run2 is no share of them"),
        (lambda record: replace(record, shard=Share(1, 2)), "share 1 is there 2 times"),
        (lambda record: replace(record, shard=Share(2, 3)), "run2 has one of 3 shares, not of 2"),
        (lambda record: replace(record, kola_version="2"), "run2 has version 2 of kola, not 1"),
        (of_another_build, "run2 has another image or target"),
        (lambda record: replace(record, targets=[]), "run2 has another image or target"),
        (lambda record: replace(record, tests=share(1).tests), "test a.py::test_1 is there 2 times"),
        (lambda record: replace(record, machines=share(1).machines), "machine kola-1-main-1 is there 2 times"),
    ],
)
def test_no_shares_of_one_thing(change: Callable[[RunRecord], RunRecord], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        merge([share(1), change(share(2))])


def test_nothing_cannot_be_merged() -> None:
    with pytest.raises(ConfigError, match="no records"):
        merge([])
