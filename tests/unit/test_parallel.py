from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kola import parallel
from kola.arch import get_arch
from kola.clonecache import Limits
from kola.options import Settings
from kola.parallel import MOST_ELSEWHERE, Workers, choose_workers, workers_for
from kola.usage import CpuTime, Kind, Peak, Report, UsageStore

PLENTY = 1_000_000


def chosen(accelerator: str = "tcg", *, cores: int = 2, cpus: float | None = None, **changed: Any) -> Workers:
    facts: dict[str, Any] = {"budget_mib": PLENTY, "charge_mib": None, "declared_mib": 1728, **changed}
    return choose_workers(accelerator, cores=cores, mean_cpus=cpus, **facts)


@pytest.mark.parametrize(
    ("cores", "cpus", "expected"),
    [(2, 0.6, 3), (2, 1.9, 1), (2, 5.0, 1), (8, 1.0, 8), (8, 0.5, 16), (8, 0.1, 32), (8, 0.0, 32)],
)
def test_a_record_decides(cores: int, cpus: float, expected: int) -> None:
    for accelerator in ("tcg", "kvm"):
        assert chosen(accelerator, cores=cores, cpus=cpus).count == expected
    assert str(chosen(cpus=0.62)) == "3 workers: a test used 0.6 of 2 CPUs in earlier runs"


def test_without_a_record() -> None:
    assert [chosen("tcg", cores=cores).count for cores in (1, 2, 4, 16)] == [1, 2, 3, 9]
    assert [chosen("kvm", cores=cores).count for cores in (1, 2, 16)] == [1, 2, 16]
    assert "no earlier run" in chosen("kvm").reason
    assert str(chosen("tcg", cores=1)).startswith("1 worker: ")


def test_machines_elsewhere_do_not_depend_on_this_hosts_cores() -> None:
    assert [chosen("cloud", cores=1, cpus=cpus).count for cpus in (None, 5.0)] == [MOST_ELSEWHERE] * 2


def test_memory_limits_what_fits_beside_one_that_grows() -> None:
    tight = chosen("kvm", cores=16, budget_mib=4000)
    assert tight == Workers(2, "memory budget 4000 MiB, 1728 MiB a test")
    assert chosen("kvm", cores=16, budget_mib=4000, charge_mib=500).count == 5, "4 of 500 and one of 1728"
    assert chosen("kvm", cores=16, budget_mib=4000, charge_mib=9000).count == 2
    assert chosen("kvm", cores=16, budget_mib=100).count == 1


SETTINGS = Settings(
    platform="toy",
    arch=get_arch("x86_64"),
    image=None,
    platform_options=(),
    clone=True,
    clone_limits=Limits(),
    keep_machines="never",
    output=Path("out"),
    cache=Path("cache"),
    memory_budget_mib=PLENTY,
    owner="me",
)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(parallel, "available_cores", lambda: 4)
    return replace(SETTINGS, cache=tmp_path)


def test_the_record_of_the_last_accelerator_is_used(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: True)
    monkeypatch.setattr(parallel, "host_arch", lambda: get_arch("x86_64"))
    assert workers_for(replace(settings, platform=None)) is None
    assert workers_for(settings) == chosen("kvm", cores=4)
    assert workers_for(replace(settings, arch=get_arch("s390x"))) == chosen("tcg", cores=4)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert workers_for(settings) == chosen("tcg", cores=4)
    cpu = CpuTime(50, 100)
    UsageStore(settings.cache).add(Report("run", Kind("toy", "x86_64", "kvm"), "image", {"k": Peak(349, 1728)}, cpu))
    assert workers_for(settings) == chosen("kvm", cores=4, cpus=0.5)
    small = replace(settings, memory_budget_mib=2300)
    assert workers_for(small) == Workers(2, "memory budget 2300 MiB, 500 MiB a test")
