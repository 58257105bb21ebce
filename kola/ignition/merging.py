"""Merging a child config into a parent as Ignition does for ``ignition.config.merge``.

Source: "Config Merging" in the operator notes of coreos/ignition; checked against its implementation.
"""

from __future__ import annotations

from typing import Any

from kola.ignition.model import Config, checked, highest
from kola.ignition.schema import CONFIG
from kola.ignition.shapes import Items, Object, Tree


def merge(parent: Config, child: Config) -> Config:
    """Merge two configs; the child wins, and the higher version is declared.

    Entries of lists with the same key (path, name, device, ...) are merged member by member. Mind that this holds for
    a file's contents too: a child that only gives ``source`` keeps the parent's ``compression`` and ``verification``.
    Files, directories and links share their keys, so do ``shouldExist`` and ``shouldNotExist`` of kernel arguments:
    the child's entry replaces the parent's in the other list.

    Raises:
        ConfigError: the two are valid, but together they are not.
    """
    version = highest((parent.version, child.version))
    tree = merge_trees(parent.tree, child.tree)
    tree["ignition"] = {**tree["ignition"], "version": version}
    # What was a tolerated warning in one of them stays tolerated.
    return checked(tree, f"{parent.source} merged with {child.source}", allow_warnings=True)


def merge_trees(parent: Tree, child: Tree) -> Tree:
    """Merge two JSON documents, as ``merge`` does with configs; nothing is checked."""
    return _objects(CONFIG, parent, child)


def _objects(shape: Object, parent: Tree, child: Tree) -> Tree:
    result: Tree = {}
    for name, member in shape.fields.items():
        both: Any = child.get(name, parent.get(name))
        if name in parent and isinstance(member.shape, Items):
            both = _lists(member.shape, parent[name], child.get(name, []), _replaced(shape, name, child))
        elif name in parent and name in child and isinstance(member.shape, Object):
            both = _objects(member.shape, parent[name], child[name])
        if both is not None:
            result[name] = both
    return result


def _lists(shape: Items, parent: list[Any], child: list[Any], replaced: set[str]) -> list[Any]:
    """Merge two lists; the parent's entries with a key in ``replaced`` are dropped."""
    if shape.key is None:
        return parent + child
    mine = {shape.key(entry): entry for entry in child}
    result = []
    for entry in parent:
        key = shape.key(entry)
        if key not in mine:
            if key not in replaced:
                result.append(entry)
        elif not isinstance(shape.of, Object):
            result.append(entry)
        elif shape.of.removed_without is None or shape.of.removed_without in mine[key]:
            result.append(_objects(shape.of, entry, mine[key]))
    inherited = {shape.key(entry) for entry in parent}
    return result + [entry for entry in child if shape.key(entry) not in inherited]


def _replaced(owner: Object, name: str, child: Tree) -> set[str]:
    """Return the keys that the child has in the other lists of the key space of list ``name``."""
    keys: set[str] = set()
    for other in owner.one_key_space - {name} if name in owner.one_key_space else ():
        shape = owner.fields[other].shape
        if isinstance(shape, Items) and shape.key is not None:
            keys.update(map(shape.key, child.get(other, [])))
    return keys
