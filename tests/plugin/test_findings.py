"""What a machine shows belongs to the test that used it, however that test ended."""

from __future__ import annotations

import pytest

SESSION = """
    import pytest

    pytestmark = pytest.mark.kola(isolation="shared")

    def spoil(machine, unit):
        machine.run(f'echo "{unit}.service loaded failed failed Spoilt" >>"$SIMULATED/failed-units"')

    def test_1_fails(machine):
        spoil(machine, "failing")
        pytest.fail("by its own word")

    def test_2_skips(machine):
        spoil(machine, "skipping")
        pytest.skip("not here")

    def test_3_is_expected_to_fail(machine):
        spoil(machine, "xfailing")
        pytest.xfail("known")

    @pytest.mark.timeout(2, func_only=True)
    def test_4_takes_too_long(machine):
        spoil(machine, "hanging")
        machine.run("sleep 50")

    def test_5_skips_and_is_well(machine):
        pytest.skip("not here")

    def test_6_is_well(machine):
        pass
"""


def test_no_other_test_is_charged(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SESSION)
    (pytester.path / "image.raw").write_bytes(b"\0" * 510 + b"\x55\xaa")
    result = pytester.runpytest_subprocess(
        "-p", "no:xdist", "-p", "no:cacheprovider", "-v",
        "--platform=tests.simulation.platform:Simulated", "--image=image.raw", "--kola-cache=cache",
    )  # fmt: skip
    result.assert_outcomes(failed=3, xfailed=1, skipped=1, passed=1)
    said = result.stdout.str()
    failures = said[said.index("= FAILURES =") :]
    first, skipping, hanging = failures.split("_ test_")[1:]
    assert "by its own word" in first
    assert "failing.service" in first
    assert "skipping.service" in skipping
    assert "the test skipped itself: not here" in skipping
    assert "failing.service" not in skipping
    assert "hanging.service" in hanging
    assert "xfailing.service" not in failures
