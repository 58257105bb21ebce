"""Parts of the schema that occur in many places."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kola.ignition import checks
from kola.ignition.shapes import Field, Items, Object, Remark, Scalar, Tree

Where = Iterator[tuple[str, Remark]]


def by(name: str) -> Callable[[Tree], str]:
    """Entries are identified by one member."""
    return lambda entry: entry.get(name, "")


def itself(entry: Any) -> str:
    """Entries are identified by what they are."""
    return str(entry)


TEXT = Scalar(str)
BOOL = Scalar(bool)
INT = Scalar(int)
NATURAL = Scalar(int, checks.natural)
NAME = Scalar(str, checks.not_empty)
PATH = Scalar(str, checks.absolute_path)
APPENDED = Items(TEXT)
UNIQUE = Items(TEXT, key=itself)


def resource(*, since: int = 0, required: bool = False) -> Object:
    """Something that Ignition fetches. ``since`` is that of ``compression``, which some resources got later."""

    def consistent(value: Tree) -> Where:
        source = value.get("source")
        if required and source == "":
            yield "source", "must not be empty"
        if source is None and "hash" in value.get("verification", {}):
            yield "verification.hash", "there is no source to verify"
        if value.get("httpHeaders") and not (source or "").lower().startswith(("http:", "https:")):
            yield "httpHeaders", "need a source with the scheme http or https"

    return Object(
        {
            "source": Field(Scalar(str, checks.url), required=required),
            "compression": Field(Scalar(str, checks.compression), since),
            "verification": Field(Object({"hash": Field(Scalar(str, checks.digest))})),
            "httpHeaders": Field(
                Items(
                    Object(
                        {"name": Field(NAME, required=True), "value": Field(NAME)},
                        removed_without="value",
                    ),
                    key=by("name"),
                ),
                1,
            ),
        },
        (consistent,),
    )
