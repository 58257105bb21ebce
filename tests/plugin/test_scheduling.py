"""Who says which worker runs what: kola, unless the user names one of xdist's, wherever that is."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("place", "given", "scheduler"),
    [
        ("arguments", "", "KolaScheduling"),
        ("arguments", "-d", "LoadScheduling"),
        ("ini", "--dist loadgroup", "LoadGroupScheduling"),
        ("environment", "--dist=loadfile", "LoadFileScheduling"),
    ],
)
def test_scheduler(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, place: str, given: str, scheduler: str
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", given if place == "environment" else "")
    pytester.makeini(f"[pytest]\naddopts = -n 1 {given if place == 'ini' else ''}\n")
    pytester.makepyfile("def test_it(): pass")
    (pytester.path / "image.raw").write_bytes(b"\0" * 510 + b"\x55\xaa")
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-v", "--platform=tests.simulation.platform:Simulated", "--image=image.raw",
        "--kola-cache=cache", *(given.split() if place == "arguments" else ()),
    )  # fmt: skip
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"scheduling tests via {scheduler}"])
