"""What a job's tests are: a digest of their files, of what these import, and of pytest's configuration."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from kola.errors import ConfigError
from kola.external import tree
from kola.imports import with_imports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kola.matrix import Suite

CONFIGURATION = ("pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg", "conftest.py")
_LEFT_OUT = ("__pycache__", ".git")


def digest_of(suite: Suite, root: Path) -> str:
    """Return the SHA-256 digest of a suite's files, what these import, and pytest's configuration: names and content.

    What is imported may be of another suite; the configuration is that above the files.

    Args:
        suite: of the matrix.
        root: folder that its paths are relative to.

    Raises:
        ConfigError: one of its paths is not there, or cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for path in sorted(with_imports(root, _files(suite, root))):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{os.path.relpath(path, root)} {content}\n".encode(errors="surrogateescape"))
    except OSError as e:
        raise ConfigError(f"[suites.{suite.name}]: {e.filename}: {e.strerror}") from e
    return digest.hexdigest()


def _files(suite: Suite, root: Path) -> Iterator[Path]:
    given = [root / path.partition("::")[0] for path in suite.paths]
    for path in given:
        if not path.exists():
            shown = os.path.relpath(path, root)
            raise ConfigError(f"[suites.{suite.name}]: paths: {shown}: no such file or folder")
    try:
        given += [tree.tests_of(root / path) for path in suite.external]
    except ConfigError as e:
        raise ConfigError(f"[suites.{suite.name}]: external: {e}") from e
    for path in given:
        yield from (file for file in (path, *path.rglob("*")) if file.is_file() and not set(file.parts) & {*_LEFT_OUT})
    folders = {root, *(parent for path in given for parent in path.parents if parent.is_relative_to(root))}
    yield from (file for folder in folders for name in CONFIGURATION if (file := folder / name).is_file())
