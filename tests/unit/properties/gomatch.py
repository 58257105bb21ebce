"""A slow matcher of patterns, written from the documentation of Go's ``path/filepath`` (``func Match``).

    pattern:         { term }
    term:            '*' | '?' | '[' [ '^' ] { character-range } ']' | c | '\\' c
    character-range: c | '\\' c | lo '-' hi

A class must not be empty; ``*`` and ``?`` do not match the separator, a class may. What the documentation does not say,
and Go 1.26 does: a star takes as little as it can and is not tried again, but for the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator


class BadPatternError(Exception):
    """Go's ``ErrBadPattern``."""


Term = Callable[[str], bool] | None
"""What one character must be; None stands for ``*``."""


def go_match(pattern: str, name: str) -> bool:
    """Tell whether a pattern matches the whole of a name."""
    chunks: list[list[Callable[[str], bool]]] = [[]]
    for term in _terms(pattern):
        if term is None:
            chunks.append([])
        else:
            chunks[-1].append(term)
    begin, *starred = chunks
    if not _fits(begin, name, 0):
        return False
    at = len(begin)
    for number, chunk in enumerate(starred, 1):
        last = number == len(starred)
        places = (
            end for end in _ends(name, at) if _fits(chunk, name, end) and (not last or end + len(chunk) == len(name))
        )
        place = next(places, None)
        if place is None:
            return False
        at = place + len(chunk)
    return at == len(name)


def _fits(chunk: list[Callable[[str], bool]], name: str, at: int) -> bool:
    part = name[at : at + len(chunk)]
    return len(part) == len(chunk) and all(term(c) for term, c in zip(chunk, part, strict=True))


def _ends(name: str, start: int) -> Iterator[int]:
    """Where a ``*`` that begins there may end."""
    yield start
    for at in range(start, len(name)):
        if name[at] == "/":
            return
        yield at + 1


def _terms(pattern: str) -> Iterator[Term]:
    at = 0
    while at < len(pattern):
        match pattern[at]:
            case "*":
                yield None
                at += 1
            case "?":
                yield lambda c: c != "/"
                at += 1
            case "[":
                term, at = _class(pattern, at + 1)
                yield term
            case "\\":
                if at + 1 == len(pattern):
                    raise BadPatternError
                yield pattern[at + 1].__eq__
                at += 2
            case c:
                yield c.__eq__
                at += 1


def _class(pattern: str, at: int) -> tuple[Term, int]:
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[tuple[str, str]] = []
    while pattern[at : at + 1] != "]" or not ranges:
        low, at = _character(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _character(pattern, at + 1)
        ranges.append((low, high))
    return (lambda c: any(low <= c <= high for low, high in ranges) is not negated), at + 1


def _character(pattern: str, at: int) -> tuple[str, int]:
    """Return one of a class, and where the next begins."""
    found = pattern[at : at + 1]
    if found in {"", "-", "]"}:
        raise BadPatternError
    if found == "\\":
        at += 1
        found = pattern[at : at + 1]
        if not found:
            raise BadPatternError
    return found, at + 1
