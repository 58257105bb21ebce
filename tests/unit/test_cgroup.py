import os
from pathlib import Path

import pytest

from kola import cgroup

CGROUP = "13:memory:/old\n0::/user.slice/run.scope\n"


def write_cgroup(folder: Path, *, limit: str, current: int, cache: tuple[int, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{current}\n")
    (folder / "memory.stat").write_text(f"anon 5\nactive_file {cache[0]}\ninactive_file {cache[1]}\n")


def test_the_tightest_cgroup_limits_what_is_available(tmp_path: Path) -> None:
    assert cgroup.folders(CGROUP, tmp_path) == [
        tmp_path / "user.slice/run.scope",
        tmp_path / "user.slice",
        tmp_path,
    ]
    assert cgroup.folders("4:memory:/old\n", tmp_path) == [], "no cgroup v2"
    assert cgroup.memory_headroom(tmp_path) is None, "the root has no limit"
    write_cgroup(tmp_path / "a", limit="max", current=100, cache=(0, 0))
    assert cgroup.memory_headroom(tmp_path / "a") is None
    write_cgroup(tmp_path / "a", limit="1000", current=900, cache=(30, 20))
    assert cgroup.memory_headroom(tmp_path / "a") == 150, "page cache can be dropped"
    write_cgroup(tmp_path / "a", limit="1000", current=1100, cache=(0, 0))
    assert cgroup.memory_headroom(tmp_path / "a") == 0


def test_the_tightest_quota_and_the_affinity_limit_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cgroup.cpu_quota(tmp_path) is None, "the root has no quota"
    outer, inner = tmp_path / "a", tmp_path / "a/b"
    inner.mkdir(parents=True)
    (outer / "cpu.max").write_text("250000 100000\n")
    (inner / "cpu.max").write_text("max 100000\n")
    assert cgroup.cpu_quota(outer) == 2.5
    assert cgroup.cpu_quota(inner) is None
    monkeypatch.setattr(cgroup, "own_folders", lambda: [inner, outer])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5, 7})
    assert cgroup.available_cores() == 2
    (inner / "cpu.max").write_text("20000 100000\n")
    assert cgroup.available_cores() == 1, "at least one"
    monkeypatch.setattr(cgroup, "own_folders", list)
    assert cgroup.available_cores() == 4


def test_this_host_has_cores() -> None:
    assert 1 <= cgroup.available_cores() <= len(os.sched_getaffinity(0))
