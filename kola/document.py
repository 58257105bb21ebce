"""A JSON document that somebody else wrote: every access says what is wrong there, and where. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from kola.errors import ConfigError


@dataclass(frozen=True)
class Document:
    """A JSON object and where it is from; every access says what is missing there."""

    value: Any
    source: str
    path: str = ""

    @classmethod
    def parse(cls, text: bytes, source: str) -> Document:
        """Read one.

        Raises:
            ConfigError: it is no JSON object.
        """
        try:
            value = json.loads(text)
        except ValueError as e:
            raise ConfigError(f"{source}: not JSON: {e}") from e
        except RecursionError as e:
            raise ConfigError(f"{source}: not JSON: nested too deeply") from e
        return cls(value, source).of(dict, "an object")

    def of(self, kind: type | tuple[type, ...], name: str) -> Document:
        """Return this, if it is of a type, or of one of several.

        Raises:
            ConfigError: it is not.
        """
        if not isinstance(self.value, kind):
            raise ConfigError(f"{self.source}: {self.path or 'the document'}: expected {name}")
        return self

    def get(self, key: str) -> Document | None:
        """Return a member; None if there is none.

        Raises:
            ConfigError: this is no object.
        """
        value = self.of(dict, "an object").value.get(key)
        return None if value is None else Document(value, self.source, f"{self.path}.{key}".lstrip("."))

    def need(self, *keys: str) -> Document:
        """Return a member of a member.

        Raises:
            ConfigError: there is none; names those that there are.
        """
        found = self
        for key in keys:
            inner = found.get(key)
            if inner is None:
                known = ", ".join(sorted(found.value)) or "nothing"
                place = f"{found.path}: " if found.path else ""
                raise ConfigError(f"{self.source}: {place}no '{key}'; there is: {known}")
            found = inner
        return found

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string member.

        Raises:
            ConfigError: it is none, or there is none and no default.
        """
        found = self.get(key) if default is not None else self.need(key)
        return default or "" if found is None else str(found.of(str, "a string").value)

    def items(self) -> list[Document]:
        """Return the members of a list.

        Raises:
            ConfigError: this is none.
        """
        values = self.of(list, "a list").value
        return [Document(value, self.source, f"{self.path}[{number}]") for number, value in enumerate(values)]
