"""How many workers ``-n auto`` leads to."""

from __future__ import annotations

import pytest

from kola import parallel
from kola.cgroup import available_cores
from kola.usage import CpuTime, Kind, Report, UsageStore


def told_to_pytest(pytester: pytest.Pytester, *arguments: str) -> int:
    """Return how many workers ``-n auto`` leads to."""
    pytester.makeconftest("""
        def pytest_configure(config):
            print("chosen:", config.option.numprocesses)
    """)
    always = ("-p", "no:cacheprovider", "--collect-only", "-n", "auto", "--kola-cache=cache", "--arch=x86_64")
    result = pytester.runpytest_subprocess(*always, "--memory-budget=1000000", *arguments)
    (line,) = [line for line in result.outlines if line.startswith("chosen: ")]
    return int(line.removeprefix("chosen: "))


def test_n_auto(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    cores = available_cores()
    seven = CpuTime(700, 700 * 7 / cores)  # as many as seven workers have cores
    UsageStore(pytester.path / "cache").add(Report("run", Kind("qemu", "x86_64", "tcg"), "image", {}, seven))
    expected = min(7, parallel.MOST_PER_CORE * cores)
    assert told_to_pytest(pytester, "--platform=qemu") == expected
    assert told_to_pytest(pytester, "--platform=qemu", "--maxprocesses=2") == 2
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "5")
    assert told_to_pytest(pytester, "--platform=qemu") == 5, "the user's word"
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "6")
    assert told_to_pytest(pytester) == 6


def test_n_auto_with_wrong_settings_is_told_what_is_wrong(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "auto", "--platform=qemu", "--arch=vax")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: unknown architecture 'vax'*"])
