"""Input of all sorts, and what a parser may make of it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import yaml
from hypothesis import strategies as st

from kola.errors import ConfigError
from kola.ignition.shapes import Items, Object

T = TypeVar("T")


def value_or_refusal(parse: Callable[[], T], begins: str) -> T | None:
    """Return what a parser makes of its input; None if it refuses it, with one line that begins so."""
    try:
        return parse()
    except ConfigError as e:
        message = str(e)
    assert re.match(begins, message), message
    assert not [c for c in message if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}], repr(message)
    assert len(message) <= ConfigError.LONGEST
    return None


TEXT = st.text(max_size=30)
WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=12)
LINES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=30)
"""Text of one line without control characters."""
ODD_SCALARS = st.sampled_from(
    [
        *("", "~", "null", "yes", "No", "0x1f", "0o17", "010", "1_000", "-1", "1e999", "1.5", ".nan", "9" * 5000, "<<"),
        *("*a", "&a x", "!!int 3", "!x y", "[", "{", "'", '"', "|", ">", "%", "@", "`", "a: b", "- a", "#", "\t"),
        *("---", "...", "\x08", "\x1b[2J"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.dates()


def structures(keys: Iterable[str]) -> st.SearchStrategy[Any]:
    """Nested lists and objects, most of whose keys a schema knows."""
    names = st.sampled_from(sorted(keys)) | WORDS | TEXT
    return st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
        max_leaves=12,
    )


def broken_yaml(keys: Iterable[str]) -> st.SearchStrategy[str]:
    """Lines that look like YAML and seldom are."""
    values = ODD_SCALARS | TEXT
    line = st.tuples(st.sampled_from(["", "  ", "- ", "  - "]), st.sampled_from(sorted(keys)) | TEXT, values)
    return st.lists(line.map(lambda parts: f"{parts[0]}{parts[1]}: {parts[2]}"), max_size=6).map("\n".join)


def keys_of(shape: object) -> set[str]:
    """Return every key that a schema knows, at any depth."""
    if isinstance(shape, Items):
        return keys_of(shape.of)
    if not isinstance(shape, Object):
        return set()
    return set(shape.fields).union(*(keys_of(member.shape) for member in shape.fields.values()))


def put_somewhere(value: Any, other: Any, data: st.DataObject) -> None:
    """Put something else into one place of nested lists and objects."""
    while isinstance(value, dict | list) and value:
        place = data.draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        if not isinstance(value[place], dict | list) or data.draw(st.booleans()):
            value[place] = other
            return
        value = value[place]


def as_yaml(value: Any) -> str:
    """Return YAML as another program writes it."""
    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=10**6)
