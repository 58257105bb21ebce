"""YAML -> the values that a schema wants, with the line of each and what is wrong with them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from kola.errors import ConfigError
from kola.ignition.shapes import Items, Object, Scalar, Tree
from kola.yamltext import Mapping, Node, Sequence, kind_of
from kola.yamltext import Scalar as Text

_TRUE = {"true", "True", "TRUE", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON"}
_FALSE = {"false", "False", "FALSE", "n", "N", "no", "No", "NO", "off", "Off", "OFF"}
_INTEGERS = (
    (r"[-+]?0b([01_]+)", 2),
    (r"[-+]?0o?([0-7_]+)", 8),
    (r"[-+]?0x([0-9a-fA-F_]+)", 16),
    (r"[-+]?([0-9_]+)", 10),
)
_LONGEST_INTEGER = 100
"""Characters; 64 bits in binary take less, and Python refuses to read or write thousands of digits."""
_EXPECTED = {str: "a string", int: "an integer", bool: "true or false"}
_SHOWN = 5


@dataclass
class Notes:
    """What is known of a document beside its values: where each stands, and what is wrong.

    Attributes:
        source: names the document in messages.
        strict: whether a warning is an error.
        lines: path, such as ``storage.files[0].mode`` -> line.
        problems: in the order found.
    """

    source: str
    strict: bool
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def wrong(self, path: str, text: str) -> None:
        """Note an error."""
        self.problems.append(f"{self.at(path)}: {text}" if path else f"{self.at(path)}{text}")

    def doubtful(self, path: str, text: str) -> None:
        """Note what is an error for who is strict only."""
        if self.strict:
            self.wrong(path, text)

    def at(self, path: str) -> str:
        """Return ``line 7: storage.files[0].mode``; of what is not in the source, the line of what surrounds it."""
        known = path
        while known and known not in self.lines:
            known = re.sub(r"(\[\d+\]|\.?[^.\[\]]+)$", "", known)
        line = f"line {self.lines[known]}: " if known in self.lines else ""
        return f"{line}{path}"

    def raise_if_wrong(self) -> None:
        """Raise what has been found.

        Raises:
            ConfigError: something has.
        """
        if self.problems:
            more = len(self.problems) - _SHOWN
            shown = "; ".join(dict.fromkeys(self.problems[:_SHOWN]))
            raise ConfigError(f"{self.source}: {shown}{f'; and {more} more' if more > 0 else ''}")


def read(shape: Object, node: Node, notes: Notes) -> Tree:
    """Return the values of a document; what is wrong with it is in ``notes`` then, and left out.

    Scalars are taken as Go's yaml.v3 takes them: ``yes`` is true where a truth value is wanted, else a text.
    """
    value = _value(shape, node, "", notes)
    return value if isinstance(value, dict) else {}


def _value(shape: Scalar | Items | Object, node: Node, path: str, notes: Notes) -> Any:
    notes.lines[path] = node.line
    if isinstance(node, Text) and node.is_null:
        if not isinstance(shape, Scalar) or path.endswith("]"):
            notes.doubtful(path, "nothing is given; leave it out")
        return None
    if isinstance(shape, Object):
        if isinstance(node, Mapping):
            return _object(shape, node, path, notes)
        expected = "an object"
    elif isinstance(shape, Items):
        if isinstance(node, Sequence):
            items = (_value(shape.of, item, f"{path}[{index}]", notes) for index, item in enumerate(node.items))
            return [item for item in items if item is not None]
        expected = "a list"
    else:
        if isinstance(node, Text) and (found := _scalar(shape.kind, node)) is not None:
            if isinstance(found, int) and abs(found) >= 1 << 63:
                notes.wrong(path, f"{found} does not fit into 64 bits")
                return None
            return found
        expected = _EXPECTED[shape.kind]
    notes.wrong(path, f"expected {expected}, found {kind_of(node)}")
    return None


def _object(shape: Object, node: Mapping, path: str, notes: Notes) -> Tree:
    values: Tree = {}
    for key, value in node.entries:
        place = f"{path}.{key.text}" if path else key.text
        if key.text in shape.fields:
            found = _value(shape.fields[key.text].shape, value, place, notes)
            if found is not None:
                values[key.text] = found
        else:
            notes.lines[place] = key.line
            notes.doubtful(place, f"unknown key; known here: {', '.join(sorted(shape.fields))}")
    return values


def _scalar(kind: type, node: Text) -> str | int | bool | None:
    """Return a scalar as the type that the schema wants (as Go's yaml.v3 does); None if it is of another."""
    if kind is str:
        return node.text
    if kind is bool:
        # As quoted strings, too, the words of YAML 1.1 count, but not those of 1.2.
        words = (
            (_TRUE, _FALSE) if node.plain else (_TRUE - {"true", "True", "TRUE"}, _FALSE - {"false", "False", "FALSE"})
        )
        return True if node.text in words[0] else False if node.text in words[1] else None
    if node.plain and len(node.text) <= _LONGEST_INTEGER:
        for pattern, base in _INTEGERS:
            if match := re.fullmatch(pattern, node.text):
                digits = match[1].replace("_", "")
                return int(digits, base) * (-1 if node.text.startswith("-") else 1) if digits else None
    return None
