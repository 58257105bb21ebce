"""Which kola made a record: the version, and a digest of the code, because tests are judged by that."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import kola

_ROOT = Path(kola.__file__).parents[1]
PACKAGES = ("kola", "platforms", "rehearsal")
"""Of the harness; in a wheel they lie beside each other, too."""
_SHOWN = 12


@functools.cache
def harness_version() -> str:
    """Return such as ``0.1.0+1f2e3d4c5b6a``: equal if, and only if, machines are made and judged by the same code."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((_ROOT / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{path.relative_to(_ROOT)} {content}\n".encode())
    return f"{kola.__version__}+{digest.hexdigest()[:_SHOWN]}"
