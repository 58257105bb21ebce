"""What the record says of tests that pytest's own options leave out."""

from __future__ import annotations

import pytest

from kola.results import Outcome, read

ARGUMENTS = (
    "--platform=tests.simulation.platform:Simulated", "--image=image.raw", "--kola-cache=cache", "--run-name=run",
)  # fmt: skip


@pytest.mark.parametrize("workers", [("-p", "no:xdist"), ("-n", "2")])
def test_last_failed(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    """pytest takes them out after every hook that takes tests out."""
    pytester.makepyfile(
        test_it="""
        def test_1(): pass
        def test_2(): assert 0
        def test_3(): pass
    """
    )
    (pytester.path / "image.raw").write_bytes(b"\0" * 510 + b"\x55\xaa")
    arguments = (*ARGUMENTS, *workers, "test_it.py")  # of a file that is not named, pytest does not even collect them
    pytester.runpytest_subprocess(*arguments).assert_outcomes(passed=2, failed=1)
    pytester.runpytest_subprocess(*arguments, "--lf")
    record = read(pytester.path / "kola-runs/run/results.json")
    assert {nodeid.partition("::")[2]: test.outcome for nodeid, test in record.tests.items()} == {
        "test_2": Outcome.FAILED
    }
    assert (record.deselected, record.complete) == (2, False)
