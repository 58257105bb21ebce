"""The vocabulary of the schema, and the two walks over a config that it steers: cleaning and checking."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Tree = dict[str, Any]


@dataclass(frozen=True)
class Need:
    """A value that Ignition understands only from spec ``3.minor.0`` on."""

    minor: int
    what: str
    ignored: bool = False
    """Older versions ignore it with a warning instead of refusing the config."""


@dataclass(frozen=True)
class Doubt:
    """Something that Ignition accepts with a warning; nearly always a mistake of the author."""

    text: str


Remark = str | Need | Doubt


@dataclass(frozen=True)
class Finding:
    """One thing to say about one place of a config.

    Attributes:
        path: such as ``storage.files[0].mode``.
        text: what is wrong, without the path.
        minor: the config is fine from spec ``3.minor.0`` on; None: it is wrong in every version.
        warning: Ignition itself would only warn.
    """

    path: str
    text: str
    minor: int | None = None
    warning: bool = False


def _nothing(_value: Any) -> Iterator[Remark]:
    return iter(())


@dataclass(frozen=True)
class Scalar:
    """A string, integer or boolean; ``check`` says what is wrong with a value of the right type."""

    kind: type
    check: Callable[[Any], Iterator[Remark]] = _nothing


@dataclass(frozen=True)
class Items:
    """A list. ``key`` identifies an entry, for duplicates and for merging; without one, lists are only appended."""

    of: Scalar | Object
    key: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Object:
    """A JSON object.

    Attributes:
        fields: what may be in it.
        checks: what spans several fields; yields pairs of a path relative to the object and a remark.
        one_key_space: lists among the fields whose entries may not share keys (files, directories and links).
        removed_without: name of a field; in a merge, a child's entry without it removes the parent's entry.
    """

    fields: Mapping[str, Field]
    checks: tuple[Callable[[Tree], Iterator[tuple[str, Remark]]], ...] = ()
    one_key_space: frozenset[str] = field(default=frozenset())
    removed_without: str | None = None


@dataclass(frozen=True)
class Field:
    """A member of an object, present in the spec since ``3.since.0``."""

    shape: Scalar | Items | Object
    since: int = 0
    required: bool = False


_KIND_NAMES = {str: "a string", int: "an integer", bool: "true or false"}


def kind_of(value: Any) -> str:
    """Name a JSON value's type for a message."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"the number {value}"
    return _KIND_NAMES.get(type(value)) or ("a list" if isinstance(value, list) else "an object")


def cleaned(shape: Scalar | Items | Object, value: Any, minor: int | None = None) -> Any:
    """Copy a config without nulls, which mean the same as absence.

    Args:
        shape: what the value should be.
        value: any JSON value.
        minor: when given, members are left out as well that Ignition ignores in spec ``3.minor.0``: unknown ones and
            those of later versions.
    """
    if isinstance(value, dict):
        fields = shape.fields if isinstance(shape, Object) else {}
        return {
            name: cleaned(fields[name].shape if name in fields else Scalar(str), item, minor)
            for name, item in value.items()
            if item is not None and (minor is None or (name in fields and fields[name].since <= minor))
        }
    if isinstance(value, list):
        of = shape.of if isinstance(shape, Items) else Scalar(str)
        return [cleaned(of, item, minor) for item in value]
    return value


def findings(shape: Scalar | Items | Object, value: Any, path: str = "") -> Iterator[Finding]:
    """Yield everything there is to say about a (cleaned) value, outermost and first things first."""
    if isinstance(shape, Scalar):
        # bool is a subclass of int, and both are types of their own in JSON.
        if type(value) is not shape.kind:
            yield Finding(path, f"expected {_KIND_NAMES[shape.kind]}, found {kind_of(value)}")
        elif isinstance(value, int) and abs(value) >= 1 << 63:
            yield Finding(path, f"{value} does not fit into 64 bits")
        else:
            yield from _remarks(path, ((("", remark)) for remark in shape.check(value)))
    elif isinstance(shape, Items):
        if not isinstance(value, list):
            yield Finding(path, f"expected a list, found {kind_of(value)}")
            return
        for index, item in enumerate(value):
            yield from findings(shape.of, item, f"{path}[{index}]")
    elif not isinstance(value, dict):
        yield Finding(path or "the config", f"expected an object, found {kind_of(value)}")
    else:
        yield from _object_findings(shape, value, path)


def _object_findings(shape: Object, value: Tree, path: str) -> Iterator[Finding]:
    prefix = f"{path}." if path else ""
    broken = False
    for name, item in value.items():
        member = shape.fields.get(name)
        if member is None:
            yield Finding(prefix + name, f"unknown key; known here: {', '.join(sorted(shape.fields))}", warning=True)
            continue
        if member.since:
            yield Finding(prefix + name, "this key", minor=member.since, warning=True)
        for finding in findings(member.shape, item, prefix + name):
            broken = broken or (finding.minor is None and not finding.warning)
            yield finding
    for name, member in shape.fields.items():
        if member.required and name not in value:
            broken = True
            yield Finding(prefix + name, "required, but missing")
    # Checks that span several members may rely on each being right.
    if not broken:
        yield from _duplicates(shape, value, prefix)
        for check in shape.checks:
            yield from _remarks(path, check(value))


def _duplicates(shape: Object, value: Tree, prefix: str) -> Iterator[Finding]:
    shared: dict[str, str] = {}
    for name, item in value.items():
        member = shape.fields.get(name)
        if member is None or not isinstance(member.shape, Items) or member.shape.key is None:
            continue
        seen = shared if name in shape.one_key_space else {}
        for index, entry in enumerate(item):
            key = member.shape.key(entry)
            place = f"{prefix}{name}[{index}]"
            if key in seen:
                yield Finding(place, f"duplicate of {seen[key]} ({key})")
            seen.setdefault(key, place)


def _remarks(path: str, remarks: Iterator[tuple[str, Remark]]) -> Iterator[Finding]:
    for relative, remark in remarks:
        # A remark about the object itself has an empty relative path; an index follows without a dot.
        place = path + ("." if path and relative and not relative.startswith("[") else "") + relative
        if isinstance(remark, Need):
            yield Finding(place, remark.what, minor=remark.minor, warning=remark.ignored)
        elif isinstance(remark, Doubt):
            yield Finding(place, remark.text, warning=True)
        else:
            yield Finding(place, remark)
