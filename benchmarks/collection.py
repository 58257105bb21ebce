"""What the plugin costs a user who only collects, or runs no machine at all."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.table import Row, at_most

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS, ROUNDS, PLUGIN_ROUNDS = 1000, 5, 11
PLUGIN_MS = 150
ALONE = ("kola", "xdist", "xdist.looponfail", "timeout")
"""Plugins that pytest would find."""
EXTERNAL = 10_000
SUITE = """
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_it(number):
    pass
"""
MARKED = """
import pytest

@pytest.mark.kola(isolation="shared")
@pytest.mark.parametrize("number", range({count}))
def test_it(machine, number):
    pass
"""


def rows() -> Iterator[Row]:
    """Compare pytest with and without the plugin."""
    yield from _plugin()
    with _project() as folder:
        (folder / "test_none.py").write_text("")
        (folder / "test_plain.py").write_text(SUITE.format(count=TESTS))
        (folder / "test_marked.py").write_text(MARKED.format(count=TESTS))
        collecting = [_collect(file) for file in ("test_none.py", "test_plain.py", "test_marked.py")]
        nothing, plain, marked = _medians(folder, ROUNDS, *collecting)
    detail = f"{marked - nothing:.2f} s against {plain - nothing:.2f} s for {TESTS} tests"
    yield Row("collecting marked tests, against plain ones", (marked - nothing) / (plain - nothing), detail=detail)
    yield from _external()


def _plugin() -> Iterator[Row]:
    """Import the plugin, and collect a test that has nothing to do with it; pytest alone is without xdist, too."""
    pytest, plugin = ["-c", "import pytest"], ["-c", "import pytest, kola.plugin"]
    alone = [argument for name in ALONE for argument in ("-p", f"no:{name}")]
    with _project() as folder:
        (folder / "test_one.py").write_text("def test_one(): pass\n")
        with_it = _collect("test_one.py")
        imported, loaded, collected, all_of_it = _medians(
            folder, PLUGIN_ROUNDS, pytest, plugin, [*with_it, *alone], with_it
        )
    yield _beyond("importing the plugin, beyond pytest", imported, loaded)
    yield _beyond("--collect-only with it, beyond pytest", collected, all_of_it)


def _beyond(what: str, before: float, after: float) -> Row:
    detail = f"{1000 * after:.0f} ms against {1000 * before:.0f} ms, {after / before:.2f} x"
    return at_most(what, 1000 * (after - before), PLUGIN_MS, detail, unit="ms")


def _external() -> Iterator[Row]:
    """Collect tests in kola's external format: a hundred folders of a hundred, half with YAML, half with JSON."""
    with _project() as folder:
        root = folder / "project" / "tests" / "kola"
        for number in range(EXTERNAL):
            path = root / f"folder{number // 100}" / f"test{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            yaml = '## kola:\n##   exclusive: false\n##   tags: "a b"\n##   description: some words\n'
            stanza = yaml if number % 2 else '# kola: { "minMemory": 2048, "description": "some words" }\n'
            path.write_text(f"#!/bin/bash\n{stanza}true\n")
            path.chmod(0o755)
        (folder / "test_none.py").write_text("")
        nothing, all_of_them = _medians(folder, 3, _collect("test_none.py"), _collect(str(root)))
    detail = f"{all_of_them:.1f} s (goal: under 5 s)"
    yield Row(f"collecting {EXTERNAL} external tests, against none", all_of_them / nothing, detail=detail)


@contextmanager
def _project() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kola-bench-") as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n")
        yield folder


def _collect(file: str) -> list[str]:
    return ["-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", file]


def _medians(folder: Path, rounds: int, *commands: list[str]) -> list[float]:
    """Return the median of the seconds of each of Python's commands, run in turn, once before it counts.

    All is compiled then, as it is on a user's machine, whatever this process may write.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    times = [[_seconds(folder, command, environment) for command in commands] for _ in range(rounds + 1)]
    return [statistics.median(column) for column in zip(*times[1:], strict=True)]


def _seconds(folder: Path, command: list[str], environment: dict[str, str]) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, check=False)
    return time.monotonic() - began
