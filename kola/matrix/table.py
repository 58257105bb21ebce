"""Strict reading of one TOML table: every key known, every value of its kind. Pure."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from typing import TYPE_CHECKING, Any

from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}")
NAMES = "letters, digits, '_' and '-', at most 48"


def read_toml(text: str, source: str, keys: Collection[str]) -> Table:
    """Return the outermost table of a text.

    Args:
        text: TOML.
        source: names it in messages.
        keys: that are known in it.

    Raises:
        ConfigError: it is no TOML, or has another key.
    """
    try:
        return Table(source, tomllib.loads(text), keys)
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{source}: {e}") from e
    except RecursionError as e:
        raise ConfigError(f"{source}: nested too deeply") from e


class Table:
    """One table of a file.

    Args:
        where: file and table, for messages.
        data: what stands there.
        keys: that are known.

    Raises:
        ConfigError: it is no table, or has an unknown key; as all methods do for a wrong value.
    """

    def __init__(self, where: str, data: object, keys: Collection[str]) -> None:
        if not isinstance(data, dict):
            raise ConfigError(f"{where}: expected a table, found {data!r}")
        self.where = where
        self.data: Mapping[str, Any] = data
        if unknown := [key for key in data if key not in keys]:
            raise ConfigError(f"{where}: unknown key '{unknown[0]}'; allowed: {', '.join(keys) or 'none'}")

    def wrong(self, key: str, expected: str) -> ConfigError:
        """Return the error for a value."""
        value = self.data.get(key)
        found = "nothing" if key not in self.data else str(value) if isinstance(value, dt.date) else repr(value)
        return ConfigError(f"{self.where}: {key}: expected {expected}, found {found}")

    def names(self) -> list[str]:
        """Return the keys, if they are names."""
        for key in self.data:
            if not _NAME.fullmatch(key):
                raise ConfigError(f"{self.where}: name '{key}': allowed: {NAMES}")
        return list(self.data)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string of one line that is not empty; without a default it must be there."""
        value = self.data.get(key, default)
        if value == default and default is not None:
            return default
        if not _is_text(value):
            raise self.wrong(key, "a string of one line")
        return str(value)

    def one_of(self, key: str, allowed: Collection[str], default: str | None = None) -> str:
        """Return one of some words."""
        value = self.data.get(key, default)
        if not isinstance(value, str) or value not in allowed:
            raise self.wrong(key, f"one of {', '.join(allowed)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings; empty if it is not there."""
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(map(_is_text, value)):
            raise self.wrong(key, "a list of strings of one line")
        return tuple(value)

    def some_of(self, key: str, allowed: Collection[str], default: Collection[str] = ()) -> tuple[str, ...]:
        """Return words of some, each once, one at least."""
        value = self.data.get(key, list(default))
        if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
            raise self.wrong(key, f"a list of some of {', '.join(allowed)}")
        if unknown := [word for word in value if word not in allowed]:
            raise ConfigError(f"{self.where}: {key}: unknown '{unknown[0]}'; allowed: {', '.join(allowed)}")
        if twice := [word for number, word in enumerate(value) if word in value[:number]]:
            raise ConfigError(f"{self.where}: {key}: '{twice[0]}' is there twice")
        return tuple(value)

    def number(self, key: str, default: int, most: int) -> int:
        """Return a whole number from 1 on."""
        value = self.data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise self.wrong(key, f"a whole number from 1 to {most}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.data.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()
