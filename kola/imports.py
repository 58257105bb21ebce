"""What Python files import of the tree that they are in, by their source: nothing is run."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from kola.version import PACKAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def with_imports(root: Path, files: Iterable[Path]) -> set[Path]:
    """Add to files what these import of the tree, and what that imports: a suite may use a module of another one.

    The harness is left out: it has a digest of its own (``kola.version``).

    Args:
        root: of the tree, where absolute imports begin.
        files: below it; of those in Python the imports are followed.
    """
    found = set(files)
    open_ = [file for file in found if file.suffix == ".py"]
    while open_:
        new = set(_imported(root, open_.pop())) - found
        found |= new
        open_ += new
    return found


def _imported(root: Path, file: Path) -> Iterator[Path]:
    own = next((folder for folder in file.parents if not (folder / "__init__.py").is_file()), root)
    for node in ast.walk(_parsed(file)):
        folders = {root, own}  # pytest puts the one that the outermost package is in on the path
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            folders = {*file.parents[node.level - 1 : node.level]}
            names = [f"{node.module or ''}.{alias.name}".lstrip(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for parts in (name.split(".") for name in names):
            if folders != {root, own} or parts[0] not in PACKAGES:
                for folder in folders:
                    yield from _files(folder, parts)


def _files(folder: Path, parts: list[str]) -> Iterator[Path]:
    """A dotted name may be that of a module or a package, or of something in one; packages are imported on the way."""
    for depth in range(1, len(parts) + 1):
        module = folder.joinpath(*parts[:depth])
        if (file := module.with_name(f"{module.name}.py")).is_file():
            yield file
        # Most have no more than a docstring.
        if (file := module / "__init__.py").is_file() and any(map(_acts, _parsed(file).body)):
            yield file


def _acts(statement: ast.stmt) -> bool:
    return not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError):
        return ast.Module([], [])  # some test's data; of a test, pytest will say so
