"""``ci/demo`` with an empty cache and once more with what that left; takes long."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]


def rows() -> Iterator[Row]:
    """Compare the two."""
    with tempfile.TemporaryDirectory(prefix="kola-bench-") as cache:
        cold, warm = _seconds(cache), _seconds(cache)
    yield Row("ci/demo: cold, against warm", cold / warm, detail=f"{cold:.0f} s, {warm:.0f} s")


def _seconds(cache: str) -> float:
    began = time.monotonic()
    environment = {**os.environ, "KOLA_CACHE": cache}
    done = subprocess.run([ROOT / "ci/demo"], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-5000:], done.stderr[-2000:], flush=True)
    return time.monotonic() - began
