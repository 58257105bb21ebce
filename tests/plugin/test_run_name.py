"""``--run-name`` of a run that still works in its folder."""

from __future__ import annotations

import os

import pytest

from kola.run import _hold_name, _output_folder


def test_a_second_run_leaves_it_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    (pytester.path / "image.raw").write_bytes(b"\0" * 510 + b"\x55\xaa")
    runs = pytester.path / "runs"
    arguments = (
        "-p", "no:cacheprovider", "--platform=tests.simulation.platform:Simulated", "--image=image.raw",
        "--kola-cache=cache", "--kola-output=runs", "--run-name=name",
    )  # fmt: skip
    with _hold_name(runs, "name", "id1"):
        results = _output_folder(runs, "id1", "name") / "results.json"
        results.write_text("of id1")
        result = pytester.runpytest_subprocess(*arguments)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: --run-name name: run id1 (pid {os.getpid()}) works in *"])
        assert results.read_text() == "of id1"
    # Workers are of the same run.
    assert pytester.runpytest_subprocess(*arguments, "-n", "2").ret == 0
