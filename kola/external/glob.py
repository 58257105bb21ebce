"""Patterns for the names of tests, as Go's ``filepath.Match`` understands them; pure."""

from __future__ import annotations

import re
from functools import cache

from kola.errors import ConfigError


def matches(pattern: str, name: str) -> bool:
    r"""Tell whether a pattern is a whole name's.

    ``*`` is any text and ``?`` any character, both without ``/``; ``[a-z]`` and ``[^a-z]`` are one character of a
    class; ``\` takes the next character as it is.

    Raises:
        ConfigError: the pattern is malformed.
    """
    return compiled(pattern).fullmatch(name) is not None


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern as a regular expression.

    Raises:
        ConfigError: it is malformed.
    """
    chunks, rest = [""], pattern
    while rest:
        first, rest = rest[0], rest[1:]
        if first == "*":
            chunks.append("")
        elif first == "?":
            chunks[-1] += "[^/]"
        elif first == "[":
            one, rest = _class(rest, pattern)
            chunks[-1] += one
        else:
            one, rest = _literal(first + rest, pattern)
            chunks[-1] += re.escape(one)
    # Go takes the first place where what follows a star fits, and does not come back to it; but for the last star.
    begin, *middle = chunks
    last = f"[^/]*?{middle.pop()}" if middle else ""
    return re.compile(begin + "".join(f"(?>[^/]*?{chunk})" for chunk in middle) + last, re.DOTALL)


def _literal(rest: str, pattern: str) -> tuple[str, str]:
    rest = rest.removeprefix("\\")
    if not rest:
        raise ConfigError(f"'{pattern}' is not a pattern: nothing behind the last '\\'")
    return rest[0], rest[1:]


def _class(rest: str, pattern: str) -> tuple[str, str]:
    made, rest = ("[^", rest[1:]) if rest.startswith("^") else ("[", rest)
    empty = True
    while empty or not rest.startswith("]"):
        low, rest = _member(rest, pattern)
        high = low
        if rest.startswith("-"):
            high, rest = _member(rest[1:], pattern)
        if low <= high:  # a range that is empty matches nothing
            made += f"{re.escape(low)}-{re.escape(high)}"
        empty = False
    return (f"{made}]" if len(made) > len("[^") else _nothing(made)), rest[1:]


def _member(rest: str, pattern: str) -> tuple[str, str]:
    if not rest or rest[0] in "-]":
        raise ConfigError(f"'{pattern}' is not a pattern: a class such as [a-z] is malformed or does not end")
    found, rest = _literal(rest, pattern)
    if not rest:
        raise ConfigError(f"'{pattern}' is not a pattern: a class such as [a-z] does not end")
    return found, rest


def _nothing(made: str) -> str:
    return "." if made == "[^" else "(?!)"
