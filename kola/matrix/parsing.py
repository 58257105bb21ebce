"""``ci/matrix.toml`` -> ``Matrix``; docs/matrix.md. Pure but for ``read``."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from kola.arch import ARCHES
from kola.errors import ConfigError
from kola.matrix.model import (
    AUTO,
    PLATFORM_FIRMWARE,
    Cadence,
    Cell,
    Matrix,
    Platform,
    Runner,
    Stream,
    Suite,
)
from kola.matrix.table import Table, read_toml
from kola.spec import FIRMWARES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

_TOP = ("streams", "platforms", "suites", "cells")
_CELLS = (
    "streams", "platforms", "arches", "suites", "firmware", "cadence", "required", "shards", "timeout_min", "runner",
    "workers", "from_image",
)  # fmt: skip
MOST_SHARDS = 256
MOST_MINUTES = 7 * 24 * 60
MOST_WORKERS = 1024
TAKEN = (
    "--platform", "--image", "--from-image", "--arch", "--sharding", "--kola-output", "--run-name", "--suite", "-n",
    "--numprocesses", "-P", "-E", "--exttest", "--junitxml", "--junit-xml",
)  # fmt: skip
"""Options of pytest that the matrix gives itself."""


def read(path: Path) -> Matrix:
    """Read the file.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong: names the file, the key, what is allowed.
    """
    try:
        return parse(path.read_bytes().decode(), str(path))
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise ConfigError(f"{path}: byte {e.start} is not UTF-8") from e


def parse(text: str, source: str) -> Matrix:
    """Read the text of the file that is named ``source`` in messages.

    Raises:
        ConfigError: something in it is wrong.
    """
    top = read_toml(text, source, _TOP)
    known: dict[str, Mapping[str, Any]] = {
        "streams": _named(top, "streams", _stream),
        "platforms": _named(top, "platforms", _platform),
        "suites": _named(top, "suites", _suite),
    }
    groups = top.data.get("cells")
    if not isinstance(groups, list) or not groups:
        raise top.wrong("cells", "tables, each headed [[cells]]")
    cells: dict[str, tuple[int, Cell]] = {}
    for number, group in enumerate(groups, 1):
        for cell in _cells(Table(f"{source}: [[cells]] {number}", group, _CELLS), known):
            if cell.name in cells:
                other = cells[cell.name][0]
                raise ConfigError(f"{source}: [[cells]] {number}: the cell {cell.name} is in [[cells]] {other}, too")
            cells[cell.name] = number, cell
    matrix = Matrix(tuple(cell for _, cell in cells.values()), source)
    _all_used(source, known, matrix.cells)
    return matrix


def _named(top: Table, key: str, make: Callable[[str, str, object], Any]) -> dict[str, Any]:
    """Read the tables below ``[KEY]``, by their names."""
    tables = Table(f"{top.where}: [{key}]", top.data.get(key, {}), top.data.get(key, {}))
    return {name: make(name, f"{top.where}: [{key}.{name}]", tables.data[name]) for name in tables.names()}


def _stream(name: str, where: str, data: object) -> Stream:
    table = Table(where, data, ("image",))
    return Stream(name, table.text("image"))


def _platform(name: str, where: str, data: object) -> Platform:
    table = Table(where, data, ("driver", "options"))
    options = Table(f"{where}: options", table.data.get("options", {}), table.data.get("options", {}))
    return Platform(
        name, table.text("driver", name), tuple(f"{key}={_option(options, key)}" for key in options.names())
    )


def _option(options: Table, key: str) -> str:
    value = options.data[key]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str) or not value.isprintable():
        raise options.wrong(key, "a string of one line, a number, true or false")
    return value


def _suite(name: str, where: str, data: object) -> Suite:
    table = Table(where, data, ("paths", "external", "arguments"))
    suite = Suite(name, table.texts("paths"), table.texts("external"), table.texts("arguments"))
    if not suite.paths and not suite.external:
        raise ConfigError(f"{where}: paths or external: one of them has to say where the tests are")
    for key in ("paths", "external"):
        if any(path.startswith("-") for path in table.texts(key)):
            raise table.wrong(key, "paths; options stand in 'arguments'")
    for word in suite.arguments:
        if taken := next((option for option in TAKEN if _is_option(word, option)), ""):
            raise ConfigError(f"{where}: arguments: {taken} is what the matrix says itself")
    return suite


def _is_option(word: str, option: str) -> bool:
    """Tell whether a word is that option, with or without its value; pytest takes no abbreviations."""
    if option.startswith("--"):
        return word.partition("=")[0] == option
    return word.startswith(option)


def _cells(table: Table, known: Mapping[str, Mapping[str, Any]]) -> Iterable[Cell]:
    runner = Runner(table.one_of("runner", list(Runner), Runner.PYTEST))
    common: dict[str, Any] = {
        "cadence": Cadence(table.one_of("cadence", list(Cadence))),
        "required": table.flag("required", default=True),
        "shards": table.number("shards", 1, MOST_SHARDS),
        "timeout_min": table.number("timeout_min", 60, MOST_MINUTES),
        "runner": runner,
        "workers": _workers(table),
        "from_image": table.text("from_image", ""),
    }
    if common["from_image"] and runner is Runner.REHEARSE:
        raise table.wrong("from_image", "nothing: a rehearsed cloud has one image")
    firmware = (PLATFORM_FIRMWARE, *FIRMWARES)
    axes = (
        [known["streams"][name] for name in table.some_of("streams", known["streams"])],
        [known["platforms"][name] for name in table.some_of("platforms", known["platforms"])],
        table.some_of("arches", ARCHES),
        [known["suites"][name] for name in table.some_of("suites", known["suites"])],
        table.some_of("firmware", firmware, (PLATFORM_FIRMWARE,)),
    )
    for stream, platform, arch, suite, boots_by in itertools.product(*axes):
        if runner is Runner.REHEARSE and not re.fullmatch("[a-z0-9]+", platform.driver):
            raise table.wrong("runner", f"{Runner.PYTEST}: {platform.driver} is no cloud that can be rehearsed")
        yield Cell(stream, platform, arch, suite, boots_by, **common)


def _workers(table: Table) -> str:
    value = table.data.get("workers", AUTO)
    if value == AUTO:
        return AUTO
    try:
        return str(table.number("workers", 1, MOST_WORKERS))
    except ConfigError:
        raise table.wrong("workers", f"'{AUTO}' or a whole number from 1 to {MOST_WORKERS}") from None


def _all_used(source: str, known: Mapping[str, Mapping[str, Any]], cells: Iterable[Cell]) -> None:
    """Refuse what stands there and is tested nowhere: its name was meant to be in some cell."""
    used = {
        "streams": {cell.stream.name for cell in cells},
        "platforms": {cell.platform.name for cell in cells},
        "suites": {cell.suite.name for cell in cells},
    }
    for key, tables in known.items():
        if unused := [name for name in tables if name not in used[key]]:
            raise ConfigError(f"{source}: [{key}.{unused[0]}]: in no [[cells]]")
