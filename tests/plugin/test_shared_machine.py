"""A machine of several external tests that does not come up by the fault of one of them; machines are simulated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kola.results import Outcome, read
from tests.simulation.platform import Fate, config

ROOT = Path(__file__).parents[2]

CONFTEST = """
    from kola import runext

    # There is no systemd.
    runext.run = lambda machine, program, seconds: machine.run("true")
    runext.output = lambda machine, program: ""
"""


def external(project: Path, name: str) -> Path:
    folder = project / "tests/kola" / name
    folder.mkdir(parents=True)
    program = folder / "test.sh"
    program.write_text('#!/bin/bash\n## kola:\n##   exclusive: false\n##   description: "x"\ntrue\n')
    program.chmod(0o755)
    return folder


def test_only_the_one_that_is_to_blame_fails(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{pytester.path}")
    pytester.makeconftest(CONFTEST)
    project = pytester.path / "project"
    names = ("a-good", "b-good", "z-bad")
    folders = [external(project, name) for name in names]
    (folders[-1] / "config.ign").write_text(json.dumps(config(Fate.NO_BOOT)))
    image = pytester.path / "image.raw"
    image.write_bytes(b"\0" * 510 + b"\x55\xaa")
    pytester.runpytest_subprocess(
        "-p", "no:xdist", "-p", "no:cacheprovider", "--platform=tests.simulation.platform:Simulated",
        f"--image={image}", f"--kola-cache={pytester.path / 'cache'}", "-P", "boot=0.1", "-E", project,
    )  # fmt: skip
    record = read(pytester.path / "kola-runs/latest/results.json")
    found = {name.rpartition(".")[2]: test.outcome for name, test in record.tests.items()}
    assert list(found) == list(names)
    assert found == {"a-good": Outcome.PASSED, "b-good": Outcome.PASSED, "z-bad": Outcome.FAILED}
    assert len(record.machines) == 4, "one for all, then one each"
