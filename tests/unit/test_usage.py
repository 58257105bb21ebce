import json
import random
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kola.usage import (
    MOST_MACHINES,
    MOST_PLATFORMS,
    RUNS,
    CpuTime,
    Kind,
    Peak,
    Record,
    Report,
    UsageStore,
    with_margin,
)

TCG = Kind("qemu", "x86_64", "tcg")
KVM = Kind("qemu", "x86_64", "kvm")
IMAGE = "972c595e74cd0123456789"


def report(run: str, *, key: str = "k", mib: float = 400, declared: int = 1728, cpu: CpuTime | None = None) -> Report:
    return Report(run, TCG, IMAGE, {key: Peak(mib, declared)}, cpu)


def record(*reports: Report) -> Record:
    known = Record()
    for number, one in enumerate(reports):
        known = known.add(one, now=float(number))
    return known


def expected(known: Record, declared: int = 1728) -> int:
    return known.expected_mib(TCG, IMAGE, "k", declared)


def test_the_margin_never_leads_beyond_the_declaration() -> None:
    assert [with_margin(peak, 1728) for peak in (0, 400, 1331, 1332, 5000)] == [64, 564, 1727, 1728, 1728]


def test_without_knowledge_it_is_the_declaration() -> None:
    assert expected(Record()) == 1728
    known = record(report("a"))
    assert known.expected_mib(KVM, IMAGE, "k", 1728) == 1728
    assert known.expected_mib(TCG, "another image", "k", 1728) == 1728
    assert known.expected_mib(TCG, IMAGE, "another machine", 1728) == 1728


def test_the_most_of_the_last_runs_counts_and_what_is_older_is_forgotten() -> None:
    assert expected(record(report("a", mib=800), report("b", mib=400))) == 1064
    later = [report(f"r{n}", mib=400) for n in range(RUNS - 1)]
    assert expected(record(report("a", mib=800), *later)) == 1064
    assert expected(record(report("a", mib=800), *later, report("z", mib=300))) == 564


def test_processes_of_one_run_are_one_run() -> None:
    known = record(
        report("a", mib=300, cpu=CpuTime(30, 40)),
        report("a", mib=500, cpu=CpuTime(30, 60)),
        report("a", mib=400),
    )
    assert expected(known) == 689
    assert known.machines["qemu/x86_64/tcg/972c595e74cd/k"].runs == {"a": 500}
    assert known.mean_cpus(TCG) == 0.6


def test_cores_are_the_mean_over_runs_by_their_length_and_need_some_time() -> None:
    assert Record().mean_cpus(TCG) is None
    assert record(report("a", cpu=CpuTime(59, 59))).mean_cpus(TCG) is None, "too short to tell"
    known = record(report("a", cpu=CpuTime(10, 100)), report("b", cpu=CpuTime(290, 300)))
    assert known.mean_cpus(TCG) == 0.75
    for n in range(RUNS):
        known = known.add(report(f"short{n}", cpu=CpuTime(9, 9)), now=5)
    assert known.mean_cpus(TCG) == 0.75, "a single quick test does not displace a run"
    assert known.mean_cpus(KVM) is None


def test_the_last_accelerator_and_the_typical_machine() -> None:
    known = record(report("a", key="small", mib=100), report("b", key="big", mib=1000))
    assert known.typical_mib(TCG) == round((189 + 1314) / 2)
    assert known.typical_mib(KVM) is None
    assert known.last_accelerator("qemu", "x86_64") == "tcg"
    assert known.last_accelerator("qemu", "aarch64") is None
    known = known.add(Report("c", KVM, IMAGE, {}), now=5).add(report("d"), now=6)
    assert known.last_accelerator("qemu", "x86_64") == "tcg"
    assert known.add(Report("e", KVM, IMAGE, {}), now=7).last_accelerator("qemu", "x86_64") == "kvm"


def test_the_size_is_bounded_and_the_oldest_go() -> None:
    known = record(*(report("a", key=f"k{n}") for n in range(MOST_MACHINES + 3)))
    assert len(known.machines) == MOST_MACHINES
    assert not any(key.endswith(("/k0", "/k1", "/k2")) for key in known.machines)
    for n in range(MOST_PLATFORMS + 3):
        known = known.add(Report("a", Kind(f"p{n}", "x86_64", "cloud"), IMAGE, {}), now=1000.0 + n)
    assert len(known.platforms) == MOST_PLATFORMS
    assert "p52/x86_64/cloud" in known.platforms


def test_the_file_is_its_owners_and_comes_back(tmp_path: Path) -> None:
    store = UsageStore(tmp_path / "cache")
    assert store.read() == Record()
    store.add(report("a", cpu=CpuTime(61.25, 122.5)))
    store.add(report("b", mib=500.04))
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert {path.name for path in store.path.parent.iterdir()} == {"usage.json", "usage.lock"}
    known = store.read()
    assert expected(known) == 689
    assert known.mean_cpus(TCG) == pytest.approx(0.5, abs=0.01)
    assert Record.from_plain(known.to_plain()) == known


def test_a_file_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache").write_text("a file in the place of the folder")
    UsageStore(tmp_path / "cache").add(report("a"))
    assert "could not be recorded" in caplog.text


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"schema": 2, "machines": {"a": {}}}', "[" * 100_000, "\0", "7"]
)
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    store = UsageStore(tmp_path)
    store.path.write_text(text)
    assert store.read() == Record()
    store.add(report("a"))
    assert expected(store.read()) == 564


def values(plain: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of nested builtins that holds something."""
    for key in list(plain) if isinstance(plain, dict) else range(len(plain)) if isinstance(plain, list) else ():
        yield plain, key
        yield from values(plain[key])


@pytest.mark.parametrize("seed", range(100))
def test_what_makes_no_sense_is_left_out(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - not a secret
    plain: Any = record(report("a", cpu=CpuTime(60, 120)), report("b"), report("c", key="l")).to_plain()
    for _ in range(rng.randint(1, 3)):
        place, key = rng.choice(list(values(plain)))
        place[key] = rng.choice(
            [None, -1, 1e300, "x", [], {}, [1], {"a": 1}, float("nan"), float("inf"), True, [1, 2, 3]]
        )
    store = UsageStore(tmp_path)
    store.path.write_text(json.dumps(plain))
    known = store.read()
    assert 1 <= expected(known) <= 1728
    assert (known.mean_cpus(TCG) or 0.0) >= 0.0
    store.add(report("z", mib=600))
    assert 814 <= expected(store.read()) <= 1728
