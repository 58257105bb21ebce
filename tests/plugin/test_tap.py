"""``--tapfile``, of a run with workers."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = """
import pytest

def test_good(machine): pass

def test_bad(machine):
    assert machine.run("echo 1").stdout == "2"

@pytest.mark.kola(architectures=["s390x"])
def test_elsewhere(machine): pass
"""


def test_of_a_run(pytester: pytest.Pytester, tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(b"\0" * 1024)
    pytester.makepyfile(test_it=TESTS)
    pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-n", "2", "--platform=tests.simulation.platform:Simulated",
        f"--image={tmp_path / 'disk.raw'}", f"--kola-cache={tmp_path / 'cache'}", "--tapfile=out.tap",
    )  # fmt: skip
    assert (pytester.path / "out.tap").read_text().splitlines() == [
        "TAP version 13",
        "1..3",
        "not ok 1 - test_it.py::test_bad",
        "# failed: AssertionError: assert '1\\n' == '2'",
        "ok 2 - test_it.py::test_elsewhere # SKIP not for architecture x86_64 (architectures: s390x)",
        "ok 3 - test_it.py::test_good",
    ]
