"""YAML as a tree that knows its lines; what a scalar means is up to who reads it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_STR = "tag:yaml.org,2002:str"
_TAGS = {_STR, "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}
_NULLS = {"", "~", "null", "Null", "NULL"}
_MERGE = "<<"

MOST_NODES = 100_000
"""A document of a few lines can grow without bounds by aliases."""
DEEPEST = 100


@dataclass(frozen=True)
class Scalar:
    """A text; ``plain``: written without quotes, so that it may be a number, a truth value or nothing."""

    line: int
    text: str
    plain: bool

    @property
    def is_null(self) -> bool:
        """Whether it is YAML's way to say nothing."""
        return self.plain and self.text in _NULLS


@dataclass(frozen=True)
class Sequence:
    """A list."""

    line: int
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Mapping:
    """Keys and values in their order, each key once; merge keys (``<<``) are resolved."""

    line: int
    entries: tuple[tuple[Scalar, Node], ...]


Node = Scalar | Sequence | Mapping


def kind_of(node: Node) -> str:
    """Name what a node is for a message."""
    if isinstance(node, Scalar):
        return "nothing" if node.is_null else repr(node.text if len(node.text) < 40 else node.text[:37] + "...")  # noqa: PLR2004
    return "a list" if isinstance(node, Sequence) else "an object"


def parse(text: bytes | str, source: str, *, first_line: int = 1) -> Node | None:
    """Read one YAML document; None if there is nothing in it.

    Args:
        text: in UTF-8.
        source: names it in messages.
        first_line: number of its first line in the source.

    Raises:
        ConfigError: not YAML, several documents, a key given twice, tags, aliases that never end; says in which line.
    """
    before = first_line - 1
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        root = yaml.compose(decoded, Loader=_LOADER)
        return None if root is None else _Builder(source, before).build(root)
    except UnicodeDecodeError as e:
        raise ConfigError(f"{source}: not UTF-8: byte {e.start} is 0x{e.object[e.start]:02x}") from e
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        where = f"line {mark.line + 1 + before}, column {mark.column + 1}: " if mark is not None else ""
        raise ConfigError(f"{source}: {where}not YAML: {e.problem or e.context}") from e
    except yaml.reader.ReaderError as e:
        # Its position is in bytes or characters, as the reader pleases.
        line = decoded.count("\n", 0, decoded.index(chr(e.character))) + 1 + before
        raise ConfigError(f"{source}: line {line}: not YAML: {e.reason}: 0x{e.character:02x}") from e
    except (RecursionError, ValueError) as e:
        raise ConfigError(f"{source}: not YAML: {type(e).__name__}") from e


class _Builder:
    def __init__(self, source: str, before: int) -> None:
        self.source = source
        self.before = before
        self.count = 0

    def build(self, node: yaml.Node, depth: int = 0) -> Node:
        line = node.start_mark.line + 1 + self.before
        self.count += 1
        if depth > DEEPEST or self.count > MOST_NODES:
            raise ConfigError(f"{self.source}: line {line}: nested too deeply, or an alias of itself")
        if node.tag not in _TAGS:
            raise ConfigError(f"{self.source}: line {line}: the tag {_shown(node.tag)} is not supported")
        if isinstance(node, yaml.ScalarNode):
            return Scalar(line, node.value, not node.style)
        if isinstance(node, yaml.MappingNode):
            return Mapping(line, tuple(self._entries(node, depth)))
        return Sequence(line, tuple(self.build(item, depth + 1) for item in node.value))

    def _entries(self, node: yaml.MappingNode, depth: int) -> Iterator[tuple[Scalar, Node]]:
        own: dict[str, tuple[Scalar, Node]] = {}
        inherited: dict[str, tuple[Scalar, Node]] = {}
        for key_node, value_node in node.value:
            key, value = self.build(key_node, depth + 1), self.build(value_node, depth + 1)
            if not isinstance(key, Scalar):
                raise ConfigError(f"{self.source}: line {key.line}: {kind_of(key)} cannot be a key")
            if key.text == _MERGE and key.plain:
                for entry in self._merged(value):
                    inherited.setdefault(entry[0].text, entry)
            elif key.text in own:
                raise ConfigError(
                    f"{self.source}: line {key.line}: the key '{key.text}' is given twice, first in line "
                    f"{own[key.text][0].line}"
                )
            else:
                own[key.text] = (key, value)
        yield from own.values()
        yield from (entry for text, entry in inherited.items() if text not in own)

    def _merged(self, value: Node) -> Iterator[tuple[Scalar, Node]]:
        for mapping in value.items if isinstance(value, Sequence) else (value,):
            if not isinstance(mapping, Mapping):
                raise ConfigError(f"{self.source}: line {mapping.line}: '<<' needs an object, found {kind_of(mapping)}")
            yield from mapping.entries


def _shown(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def from_json(value: Any, text: str, *, first_line: int = 1) -> Node:
    """Return a JSON value as such a tree. The line of a key is that of its first appearance in the text."""

    def line_of(key: str) -> int:
        at = text.find(json.dumps(key, ensure_ascii=False))
        return first_line + text.count("\n", 0, max(at, 0))

    def node(found: Any, line: int) -> Node:
        if isinstance(found, dict):
            return Mapping(
                line, tuple((Scalar(line_of(k), k, plain=False), node(v, line_of(k))) for k, v in found.items())
            )
        if isinstance(found, list):
            return Sequence(line, tuple(node(item, line) for item in found))
        return (
            Scalar(line, found, plain=False) if isinstance(found, str) else Scalar(line, json.dumps(found), plain=True)
        )

    return node(value, first_line)
