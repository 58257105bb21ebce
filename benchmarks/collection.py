"""What the plugin costs a user who only collects, or runs no machine at all."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS, ROUNDS = 1000, 5
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
    with tempfile.TemporaryDirectory(prefix="kola-bench-") as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "test_none.py").write_text("")
        (folder / "test_plain.py").write_text(SUITE.format(count=TESTS))
        (folder / "test_marked.py").write_text(MARKED.format(count=TESTS))

        def median(file: str, *arguments: str) -> float:
            return statistics.median(_seconds(folder, file, *arguments) for _ in range(ROUNDS))

        without, with_it = median("test_none.py", "-p", "no:kola"), median("test_none.py")
        plain, marked = median("test_plain.py"), median("test_marked.py")
    yield Row("pytest with the plugin, against without", with_it / without, detail=f"{with_it:.2f} s, {without:.2f} s")
    detail = f"{marked - with_it:.2f} s against {plain - with_it:.2f} s for {TESTS} tests"
    yield Row("collecting marked tests, against plain ones", (marked - with_it) / (plain - with_it), detail=detail)
    yield from _external()


def _external() -> Iterator[Row]:
    """Collect tests in kola's external format: a hundred folders of a hundred, half with YAML, half with JSON."""
    with tempfile.TemporaryDirectory(prefix="kola-bench-") as name:
        root = Path(name) / "project" / "tests" / "kola"
        for number in range(EXTERNAL):
            path = root / f"folder{number // 100}" / f"test{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            yaml = '## kola:\n##   exclusive: false\n##   tags: "a b"\n##   description: some words\n'
            stanza = yaml if number % 2 else '# kola: { "minMemory": 2048, "description": "some words" }\n'
            path.write_text(f"#!/bin/bash\n{stanza}true\n")
            path.chmod(0o755)
        (Path(name) / "pytest.ini").write_text("[pytest]\n")
        (Path(name) / "test_none.py").write_text("")
        nothing = _seconds(Path(name), "test_none.py")
        all_of_them = statistics.median(_seconds(Path(name), str(root)) for _ in range(3))
    detail = f"{all_of_them:.1f} s (goal: under 5 s)"
    yield Row(f"collecting {EXTERNAL} external tests, against none", all_of_them / nothing, detail=detail)


def _seconds(folder: Path, file: str, *arguments: str) -> float:
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *arguments, file]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    began = time.monotonic()
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    return time.monotonic() - began
