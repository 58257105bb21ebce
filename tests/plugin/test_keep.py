"""``--keep-machines`` in whole sessions, on a platform that boots nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kola.results import read
from kola.runs import list_runs

ROOT = Path(__file__).parents[2]

KEEPING = """
    import contextlib

    from tests.simulation.platform import Simulated

    class Keeping(Simulated):
        @contextlib.contextmanager
        def launch(self, *arguments):
            with super().launch(*arguments) as instance:
                instance.keep = lambda: None
                yield instance
"""


def test_a_machine_that_a_test_launches_itself_is_kept(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{pytester.path}")
    pytester.makepyfile(keeping=KEEPING)
    pytester.makepyfile("""
        import pytest

        @pytest.mark.kola(isolation="first_boot")
        def test_it(flight):
            flight.launch()
    """)
    image = pytester.path / "image.raw"
    image.write_bytes(b"\0" * 510 + b"\x55\xaa")
    result = pytester.runpytest_subprocess(
        "-p", "no:xdist", "-p", "no:cacheprovider", "--platform=keeping:Keeping", f"--image={image}",
        f"--kola-cache={pytester.path / 'cache'}", "-P", "boot=0.1", "--keep-machines=always",
    )  # fmt: skip
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["kept: ssh *"])
    (machine,) = read(pytester.path / "kola-runs/latest/results.json").machines.values()
    assert machine.kept
    # The reaper of what is kept lives on until then.
    gc = pytester.run(sys.executable, "-m", "kola", "gc", f"--kola-cache={pytester.path / 'cache'}")
    assert gc.ret == 0
    assert list_runs(pytester.path / "cache") == []
