"""Where tests in kola's format lie, and what they are called.

Source: docs/kola/external-tests.md of coreos-assembler; where it is silent, what kola does.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

BELOW = Path("tests") / "kola"
"""Where a project has its tests."""
_DATA = "data"
_CONFIGS = ("config.ign", "config.bu")
_SINGLE = "test.sh"
"""A test of this name that is alone in its folder is called as the folder."""


@dataclass(frozen=True)
class Found:
    """An executable that is a test.

    Attributes:
        name: as kola calls it, such as ``ext.project.folder.executable``.
        executable: the program.
        config: ``config.ign`` or ``config.bu`` of its folder.
        metadata: ``kola.json`` of its folder.
        data: the folder that comes with it.
    """

    name: str
    executable: Path
    config: Path | None = None
    metadata: Path | None = None
    data: Path | None = None


@dataclass(frozen=True)
class Doubt:
    """A file that its author may have meant to be a test."""

    path: Path
    text: str


def project_of(path: Path) -> Path | None:
    """Return the project in whose ``tests/kola`` a path is; None if it is in none."""
    for folder in (path, *path.parents):
        if folder.parts[-2:] == BELOW.parts:
            return folder.parent.parent
    return None


def find(project: Path) -> Iterator[Found | Doubt]:
    """Yield the tests of a project, sorted by folder and name, and what may have been meant to be one.

    Raises:
        ConfigError: it has no ``tests/kola``, or something in it cannot be read.
    """
    root = project / BELOW
    if not root.is_dir():
        raise ConfigError(f"{project} has no folder {BELOW}, so there are no tests in it")
    try:
        yield from _folder(root, f"ext.{project.name}", (root.resolve(),))
    except OSError as e:
        raise ConfigError(f"{e.filename}: {e.strerror}") from e


def _folder(folder: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[Found | Doubt]:
    entries = {path: _mode(path) for path in sorted(folder.iterdir(), key=lambda path: path.name)}
    files = {path: mode for path, mode in entries.items() if stat.S_ISREG(mode)}
    executables = [path for path, mode in files.items() if mode & stat.S_IXOTH]
    others = {path.name: path for path, mode in files.items() if not mode & stat.S_IXOTH}
    folders = {path.name: path for path, mode in entries.items() if stat.S_ISDIR(mode)}
    data, metadata = folders.pop(_DATA, None), others.pop("kola.json", None)
    configs = [others.pop(name) for name in _CONFIGS if name in others]
    if len(configs) > 1:
        raise ConfigError(f"{folder}: both {' and '.join(_CONFIGS)}: which one holds?")
    if "config.fcc" in others:
        raise ConfigError(f"{others['config.fcc']}: config.fcc is not supported; rename it to config.bu")
    for path in others.values():
        if _is_script(path):
            yield Doubt(path, "begins with #! but is not executable for everybody, so it is no test")
    for executable in executables:
        alone = len(executables) == 1 and executable.name == _SINGLE
        name = prefix if alone else f"{prefix}.{executable.name}"
        yield Found(name, executable, configs[0] if configs else None, metadata, data)
    for path in folders.values():
        real = path.resolve()
        if real in above:
            raise ConfigError(f"{path}: leads back to {real}")
        yield from _folder(path, f"{prefix}.{path.name}", (*above, real))


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError as e:
        raise ConfigError(f"{path}: a link to something that is not there: {path.readlink()}") from e


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"#!"
