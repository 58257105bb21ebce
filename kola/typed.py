"""Plain data -> dataclasses, by the types of their fields: nothing is taken for something else. Pure."""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from typing import Any

MOST = 6e10
"""Of any number: seconds beyond it are in no calendar (``datetime`` ends in the year 9999)."""


@functools.cache
def _fields(kind: type) -> dict[str, tuple[Any, bool]]:
    """Return type and whether it is needed, of each field."""
    hints = typing.get_type_hints(kind)
    missing = dataclasses.MISSING
    return {
        field.name: (hints[field.name], field.default is missing and field.default_factory is missing)
        for field in dataclasses.fields(kind)
    }


def typed(kind: Any, value: Any, where: str = "") -> Any:
    """Return a value as what a field's annotation says: a dataclass of an object, a word of an enum of a string...

    A bool is no number, a number is finite and at most ``MOST`` away from 0.

    Args:
        kind: the annotation.
        value: of ``json``.
        where: names it in messages.

    Raises:
        ValueError: it is something else; says where, and what is expected.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in {types.UnionType, typing.Union}:  # X | None is all there is
        return None if value is None else typed(args[0], value, where)
    if origin is list:
        _need(isinstance(value, list), where, "a list")
        return [typed(args[0], one, f"{where}[{number}]") for number, one in enumerate(value)]
    if origin is dict:
        _need(isinstance(value, dict), where, "an object")
        return {key: typed(args[1], one, f"{where}.{key}") for key, one in value.items()}
    if dataclasses.is_dataclass(kind):
        return _object(typing.cast("type", kind), value, where)
    if kind in {int, float}:
        whole = kind is int
        number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        name = "whole number" if whole else "number"
        _need(number and abs(value) <= MOST, where, f"a {name} within {MOST:.0f}")
        return value
    _need(isinstance(value, str if issubclass(kind, enum.StrEnum) else kind), where, f"a {kind.__name__}")
    return kind(value)


def _object(kind: type, value: Any, where: str) -> Any:
    _need(isinstance(value, dict), where, "an object")
    fields = _fields(kind)
    if unknown := sorted(set(value) - set(fields)):
        raise ValueError(f"{where or 'the record'}: unknown key '{unknown[0]}'")
    if lacking := [name for name, (_, needed) in fields.items() if needed and name not in value]:
        raise ValueError(f"{where or 'the record'}: no '{lacking[0]}'")
    return kind(**{name: typed(fields[name][0], one, f"{where}.{name}".lstrip(".")) for name, one in value.items()})


def _need(good: bool, where: str, what: str) -> None:  # noqa: FBT001 - internal
    if not good:
        raise ValueError(f"{where}: expected {what}")
