"""Where tests in kola's format lie, and what they are called.

Source: docs/kola/external-tests.md of coreos-assembler; where it is silent, what kola does.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from kola.errors import ConfigError

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
class Scan:
    """What is in a folder.

    Attributes:
        tests: by name.
        doubtful: files that begin with ``#!`` but are not executable for everybody: no tests.
        folders: below it, that may have tests.
    """

    tests: tuple[Found, ...]
    doubtful: tuple[Path, ...]
    folders: tuple[Path, ...]


def project_of(path: Path) -> Path | None:
    """Return the project in whose ``tests/kola`` a path is; None if it is in none."""
    for folder in (path, *path.parents):
        if folder.parts[-2:] == BELOW.parts:
            return folder.parent.parent
    return None


def prefix_of(folder: Path) -> str:
    """Return what the names of the tests in a folder of a ``tests/kola`` begin with: ``ext.project.folder``."""
    project = project_of(folder)
    if project is None:
        raise ConfigError(f"{folder} is not below a folder {BELOW}")
    return ".".join(("ext", project.name, *folder.relative_to(project / BELOW).parts))


def tests_of(project: Path) -> Path:
    """Return the folder with a project's tests.

    Raises:
        ConfigError: it has none.
    """
    root = project / BELOW
    if not root.is_dir():
        raise ConfigError(f"{project} has no folder {BELOW}, so there are no tests in it")
    return root


def scan(folder: Path) -> Scan:
    """Look into one folder of a ``tests/kola``.

    Raises:
        ConfigError: something in it cannot be read, or contradicts.
    """
    try:
        return _scan(folder, prefix_of(folder))
    except OSError as e:
        raise ConfigError(f"{e.filename}: {e.strerror}") from e


def _scan(folder: Path, prefix: str) -> Scan:
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
    config, alone = next(iter(configs), None), len(executables) == 1
    here = folder.resolve()
    for path in folders.values():
        if here.is_relative_to(real := path.resolve()):
            raise ConfigError(f"{path}: leads back to {real}")
    return Scan(
        tuple(Found(_name(prefix, path, alone=alone), path, config, metadata, data) for path in executables),
        tuple(path for path in others.values() if _is_script(path)),
        tuple(folders.values()),
    )


def _name(prefix: str, executable: Path, *, alone: bool) -> str:
    return prefix if alone and executable.name == _SINGLE else f"{prefix}.{executable.name}"


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError as e:
        raise ConfigError(f"{path}: a link to something that is not there: {path.readlink()}") from e


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"#!"
