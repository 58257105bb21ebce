"""What the page says of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kola.report.gathering import Library
from kola.report.history import Point, past_of
from kola.report.model import MISSING, Place, Report, identity, report_of
from kola.report.runs import Build, Found, Note, Run, combine
from kola.report.stores import open_store
from kola.results import ImageRecord, Outcome, RunRecord, Share, Target, TestRecord
from kola.results import read as read_record
from tests.unit.report.nightly import BROKEN_LABEL, BUILDS, Nightly, nodeid, write_nightly

IMAGE = ImageRecord("build:1", "fedora-coreos", "44.1", "44.1", "testing", sha256="0" * 64)
TARGET = Target("qemu", "x86_64", "kvm", IMAGE, firmware="bios")


def read(folder: Path, history: Path | None = None) -> Report:
    library = Library((open_store(str(folder)),), (open_store(str(history)),) if history else ())
    found, unread = library.found(500)
    runs, notes = combine(found)
    return report_of(runs, [*unread, *notes])


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nights")
    write_nightly(folder, lines=3)
    return folder


@pytest.fixture(scope="module")
def report(nights: Path) -> Report:
    return read(nights / f"night-{BUILDS - 1}", nights)


def cells(report: Report) -> dict[tuple[str, str], str]:
    return {(cell.place.target, cell.place.suite): cell.state for cell in report.matrices[0].cells}


def test_the_matrix_shows_the_worst_of_each_place(report: Report) -> None:
    (matrix,) = report.matrices
    assert matrix.build == Build("testing-devel", "44.20261123.20.0", "44.20261123.20.0")
    assert matrix.targets == ("aws x86_64", "qemu aarch64 uefi", "qemu x86_64 bios", "qemu x86_64 uefi")
    assert cells(report) == {
        ("aws x86_64", "basic"): "provider-error",
        ("aws x86_64", "containers"): "passed",
        ("aws x86_64", "ignition"): "passed",
        ("qemu aarch64 uefi", "basic"): "passed",
        ("qemu aarch64 uefi", "ignition"): MISSING,
        ("qemu x86_64 bios", "basic"): "failed",
        ("qemu x86_64 bios", "containers"): "flaky",
        ("qemu x86_64 bios", "ignition"): "passed",
        ("qemu x86_64 bios", "upgrade"): "failed",
        ("qemu x86_64 uefi", "basic"): "failed",
        ("qemu x86_64 uefi", "containers"): "passed",
        ("qemu x86_64 uefi", "ignition"): "passed",
        ("qemu x86_64 uefi", "upgrade"): "not-run",
    }


def test_problems_come_with_their_past_the_new_ones_first(report: Report) -> None:
    told = [
        (problem.test.nodeid.rpartition("::")[2], problem.place.target, problem.past.since.run.build.version[5:11],
         problem.past.streak, problem.past.new)
        for problem in report.problems
    ]  # fmt: skip
    assert told == [
        ("test_update_and_rollback", "qemu x86_64 bios", "261123", 1, True),
        ("test_selinux_enforcing", "qemu x86_64 bios", "261121", 3, False),
        ("test_selinux_enforcing", "qemu x86_64 uefi", "261121", 3, False),
        ("test_growfs", "aws x86_64", "261123", 1, True),
        ("test_rootless", "qemu x86_64 bios", "261122", 2, False),
    ]


def test_evidence_is_of_this_run_and_the_last_good_one(report: Report) -> None:
    label = report.problems[1]
    assert label.bad.run.build.version == "44.20261123.20.0"
    assert label.good is not None
    assert label.good.run.build.version == "44.20261120.20.0"
    assert label.good.window is not None
    assert label.good.window[0] == label.good.run.record.tests[label.test.nodeid].started
    assert label.good.artifacts[0].startswith("1/night-2/")  # of the history, the second store


def test_of_a_flaky_test_it_is_both_tries(report: Report) -> None:
    flaky = report.problems[-1]
    assert flaky.test.first_failure is not None
    assert flaky.bad.artifacts[0].endswith(flaky.test.first_failure.machines[0])
    assert "newuidmap" in flaky.bad.text
    assert flaky.good is not None
    assert flaky.good.run is flaky.bad.run
    assert flaky.good.artifacts[0].endswith(flaky.test.machines[0])


def test_what_was_not_run_is_told(report: Report) -> None:
    told = [(gap.place.suite, gap.run is None, gap.names) for gap in report.gaps]
    assert told == [("ignition", True, ()), ("upgrade", False, (nodeid("upgrade", "test_etc_is_merged"),))]


def test_shares_are_one_run(report: Report) -> None:
    shared = [run for run in report.runs if "+" in run.record.run_id]
    assert len(shared) == 1
    assert shared[0].record.complete
    assert len(shared[0].record.tests) == 10


def test_a_missing_share_is_a_gap(nights: Path) -> None:
    night = nights / f"night-{BUILDS - 1}"
    only = next(night.glob("*1of2"))
    report = read(only)
    assert cells(report)["qemu x86_64 bios", "basic"] == "not-run"
    assert [(gap.place.suite, gap.names) for gap in report.gaps] == [("basic", ())]


def test_without_history_nothing_is_known_of_since(nights: Path) -> None:
    report = read(nights / f"night-{BUILDS - 1}")
    assert {len(problem.past.recent) for problem in report.problems} == {1}
    assert [problem.good for problem in report.problems if problem.test.outcome is not Outcome.FLAKY] == [None] * 4


def test_a_run_that_is_in_the_history_too_counts_once(nights: Path) -> None:
    report = read(nights, nights)
    assert len(report.runs) == 12
    assert report.problems[1].past.streak == 3


def test_builds_of_several_streams_are_apart(tmp_path: Path) -> None:
    for stream in ("next", "stable"):
        Nightly(tmp_path / stream, stream, lines=1).run(0, TARGET, "upgrade")
    report = read(tmp_path)
    assert [(matrix.build.stream, len(matrix.cells)) for matrix in report.matrices] == [("next", 1), ("stable", 1)]


def test_a_variant_is_a_stream_of_its_own(tmp_path: Path) -> None:
    """Of one stream, as its images say: as ``testos`` and ``testos-docker``, which a night has in one folder."""
    nightly = Nightly(tmp_path, "testos", lines=1)
    for name, ends in (("testos", {"test_etc_is_merged": BROKEN_LABEL}), ("testos-docker", {})):
        folder = nightly.run(0, TARGET, "upgrade" if ends else "containers", ends)
        record = read_record(folder / "results.json")
        image = replace(record.targets[0].image, name=name, build_id=name, version="1")
        replace(record, targets=[replace(record.targets[0], image=image)]).write(folder / "results.json")
    report = read(tmp_path)
    assert [(matrix.build.stream, [cell.state for cell in matrix.cells]) for matrix in report.matrices] == [
        ("testos", ["failed"]),
        ("testos-docker", ["passed"]),
    ]
    assert [problem.place.stream for problem in report.problems] == ["testos"]
    assert report.gaps == ()


def test_the_newest_build_is_the_one_that_was_tested_first_the_latest(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, lines=1)
    nightly.run(1, TARGET, "basic")
    nightly.run(2, TARGET, "basic")
    old = nightly.image(1)
    again = RunRecord("again", "0.1.0", 2e9, [replace(TARGET, image=old)], suites=["basic"], complete=True)
    (tmp_path / "again").mkdir()
    again.write(tmp_path / "again" / "results.json")
    assert read(tmp_path).matrices[0].build.version == "44.20261120.20.0"


def test_a_record_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    folder = Nightly(tmp_path, lines=1).run(0, TARGET, "basic")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "results.json").write_text('{"schema": 1}')
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "results.json").write_text((folder / "results.json").read_text()[:-30])
    notes = read(tmp_path).notes
    assert len(notes) == 2
    assert any("old/results.json: schema 1 is not known" in note.text for note in notes)
    assert any("cut/results.json: not a whole JSON document" in note.text for note in notes)


def test_a_run_without_tests_is_a_gap(tmp_path: Path) -> None:
    Nightly(tmp_path, lines=1).run(0, TARGET, "basic", names=())
    report = read(tmp_path)
    assert [cell.state for cell in report.cells] == ["not-run"]
    assert [(gap.place.suite, gap.names) for gap in report.gaps] == [("basic", ())]


def test_shares_that_do_not_fit_are_runs_of_their_own() -> None:
    one = RunRecord("a", "0.1.0", 1.0, [TARGET], suites=["x"], shard=Share(1, 2), complete=True)
    one.tests["t"] = TestRecord("t", Outcome.PASSED, "x")
    two = RunRecord("b", "0.1.0", 2.0, [TARGET], suites=["x"], shard=Share(2, 2), complete=True)
    two.tests["t"] = TestRecord("t", Outcome.PASSED, "x")
    runs, notes = combine([Found(one, "0/a", True), Found(two, "0/b", True)])
    assert [run.record.complete for run in runs] == [False, False]
    assert notes == [Note("runs a, b: test t is there 2 times", given=True)]


def test_shares_of_different_runs_are_not_mixed() -> None:
    """Whatever the order in which they were begun."""
    found = []
    for start, (suite, number) in enumerate([("a", 1), ("b", 2), ("b", 1), ("a", 2)]):
        name = f"testing.qemu.x86_64.{suite}.{number}of2"
        record = RunRecord(
            name, "0.1.0", start, [TARGET], suites=["x"], shard=Share(number, 2), complete=True, name=name
        )
        record.tests[f"{suite}{number}"] = TestRecord(f"{suite}{number}", Outcome.PASSED, "x")
        found.append(Found(record, f"0/{name}", given=True))
    runs, notes = combine(found)
    assert [(sorted(run.record.tests), run.record.complete) for run in runs] == [
        (["a1", "a2"], True),
        (["b1", "b2"], True),
    ]
    assert notes == []


HOUR = 3600.0


@pytest.mark.parametrize(
    ("shares", "nights"),
    [
        ([("1", 0), ("2", 1), ("1", 24), ("2", 25)], ["1@0 2@1", "1@24 2@25"]),
        ([("2", 1), ("1", 24), ("2", 25), ("1", 48), ("2", 49)], ["2@1", "1@24 2@25", "1@48 2@49"]),  # one is lost
        ([("2", 1), ("1", 24), ("2", 25), ("1", 48)], ["2@1", "1@24 2@25", "1@48"]),
        ([("1", 0), ("2", 3), ("1", 4), ("2", 7)], ["1@0 2@3", "1@4 2@7"]),  # run again at once
        ([("1", 0), ("1", 1), ("2", 2), ("2", 3)], ["1@0 2@3", "1@1 2@2"]),  # beside each other
        ([("1", 0), ("1", 1), ("2", 2)], ["1@0", "1@1 2@2"]),  # the first one was broken off
        ([("1", 0), ("2", 8)], ["1@0 2@8"]),  # done in the morning
        ([("1", 0), ("2", 24)], ["1@0", "2@24"]),
    ],
)
def test_shares_of_one_night_belong_together(shares: list[tuple[str, int]], nights: list[str]) -> None:
    found = []
    for number, hour in shares:
        name = f"{number}@{hour}"
        record = RunRecord(name, "0.1.0", hour * HOUR, [TARGET], suites=["x"], shard=Share(int(number), 2))
        record.complete = True
        record.tests[number] = TestRecord(number, Outcome.PASSED, "x")
        found.append(Found(record, f"0/{name}", given=True))
    runs, notes = combine(found)
    assert [run.record.run_id.replace("+", " ") for run in runs] == nights
    assert notes == []


def test_of_a_test_that_failed_twice_both_errors_are_there(tmp_path: Path) -> None:
    twice = replace(BROKEN_LABEL, first="E   the first time")
    Nightly(tmp_path, lines=1).run(0, TARGET, "upgrade", {"test_etc_is_merged": twice})
    (problem,) = read(tmp_path).problems
    assert (problem.bad.title, problem.bad.text) == ("First try", "E   the first time")
    assert "wrong label" in problem.bad.again
    assert problem.good is None


def test_an_id_is_of_place_and_name() -> None:
    place = Place("testing", "qemu x86_64", "basic")
    assert identity(place, "a") == identity(place, "a")
    assert len({identity(place, "a"), identity(place, "b"), identity(replace(place, suite="c"), "a")}) == 3


def points(*outcomes: Outcome) -> Sequence[Point]:
    runs = [Run(RunRecord(str(n), "0.1.0", float(n), [TARGET]), given=True) for n in range(len(outcomes))]
    return [Point(run, TestRecord("t", outcome)) for run, outcome in zip(runs, outcomes, strict=True)]


P, F, K, W, S, E, N = (
    Outcome.PASSED, Outcome.FAILED, Outcome.FLAKY, Outcome.WARNED, Outcome.SKIPPED, Outcome.PROVIDER_ERROR,
    Outcome.NOT_RUN,
)  # fmt: skip


@pytest.mark.parametrize(
    ("outcomes", "since", "streak", "good"),
    [
        ([P, F], 1, 1, 0),
        ([P, F, F], 1, 2, 0),
        ([F, P, F], 2, 1, 1),
        ([F, F], 0, 2, None),
        ([P, F, E, N, S, F], 1, 2, 0),  # what says nothing about the operating system ends no streak
        ([P, W, F], 1, 2, 0),
        ([P, K, F], 2, 1, 0),  # flaky is no failure, but not the good run to compare with either
        ([F, K, F], 2, 1, 1),  # unless there is no better one
        ([P, K, K], 1, 2, 0),
        ([P, F, K], 1, 2, 0),
        ([F, E, E], 1, 2, None),
        ([P, E], 1, 1, 0),
    ],
)
def test_since_when(outcomes: list[Outcome], since: int, streak: int, good: int | None) -> None:
    known = points(*outcomes)
    past = past_of(known)
    assert (past.since, past.streak) == (known[since], streak)
    assert past.last_good == (None if good is None else known[good])
    assert past.recent == tuple(known)
