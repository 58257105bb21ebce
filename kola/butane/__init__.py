"""Butane configs (variant ``fcos``, every stable version) -> Ignition configs, without any program but this one.

``schema`` says what may be in a config, ``resources`` takes in what lies in files beside it, ``checking`` says what is
wrong, ``rendering`` writes what short words stand for. Source: the specification documents of coreos/butane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kola.butane import checking, rendering, resources
from kola.butane.schema import IGNITION_MINORS, VARIANT, VERSIONS, camel, is_resource, minor_of, shape_of
from kola.errors import ConfigError
from kola.ignition.merging import merge_trees
from kola.ignition.model import checked
from kola.ignition.shapes import Items, Object, Scalar, Tree
from kola.yamltext import Mapping, Node, kind_of, parse
from kola.yamltext import Scalar as Text
from kola.yamlvalues import Notes, read

if TYPE_CHECKING:
    from pathlib import Path

    from kola import ignition

__all__ = ["VARIANT", "VERSIONS", "translate"]


def translate(
    text: bytes | str, source: str = "config.bu", *, files: Path | None = None, allow_warnings: bool = False
) -> ignition.Config:
    """Translate a config.

    As strict as ``butane --strict``, and stricter where ``kola.ignition.parse`` is stricter than Ignition. The result
    is equal to Butane's but for the form of data URLs.

    Args:
        text: YAML in UTF-8.
        source: names the config in messages, such as a file's path.
        files: the folder that local paths are relative to; without one they are refused.
        allow_warnings: accept what Butane only warns of; what it ignores is then left out.

    Raises:
        ConfigError: one line with the source, the line, the key and what would be right.
    """
    node, version = _versioned(parse(text, source), source)
    minor = minor_of(version)
    notes = Notes(source, strict=not allow_warnings)
    values = read(shape_of(version), node, notes)
    notes.raise_if_wrong()
    boot_device, grub = values.pop("boot_device", {}), values.pop("grub", {})
    for name in ("variant", "version"):
        del values[name]

    local = resources.Files(files, notes)
    trees = values.get("storage", {}).pop("trees", [])
    mounted = [bool(fs.pop("with_mount_unit", False)) for fs in values.get("storage", {}).get("filesystems", [])]
    tree: Tree = _translated(shape_of(version), values, "", local)
    tree.setdefault("ignition", {})["version"] = f"3.{IGNITION_MINORS[version]}.0"
    checking.check(tree, mounted, minor, notes)
    rendering.check_boot_device(boot_device, minor, notes)
    grub_storage = rendering.grub(grub.get("users", []), notes)
    notes.raise_if_wrong()

    storage = tree.get("storage", {})
    filesystems = list(zip(storage.get("filesystems", []), mounted, strict=True))
    units = rendering.mount_units(filesystems, storage.get("luks", []), minor)
    tree = _over({"systemd": {"units": units}}, tree)
    resources.add_trees(tree, trees, local)
    tree = _over({"storage": rendering.boot_device(boot_device)}, tree)
    checking.check_labels(tree, notes)
    notes.raise_if_wrong()
    return checked(_over({"storage": grub_storage}, tree), source, allow_warnings=allow_warnings)


def _versioned(node: Node | None, source: str) -> tuple[Mapping, str]:
    """Return the config and the version of Butane that it is written in."""
    if not isinstance(node, Mapping):
        found = "nothing" if node is None else kind_of(node)
        raise ConfigError(f"{source}: expected an object with the keys 'variant' and 'version', found {found}")
    given = {key.text: value for key, value in node.entries}
    version = ""
    for name, allowed in (("variant", (VARIANT,)), ("version", VERSIONS)):
        value = given.get(name)
        if value is None:
            raise ConfigError(f"{source}: {name}: required, but missing; allowed: {', '.join(allowed)}")
        version = value.text if isinstance(value, Text) else ""
        if version not in allowed:
            raise ConfigError(f"{source}: line {value.line}: {name}: {kind_of(value)}; allowed: {', '.join(allowed)}")
    return node, version


def _translated(shape: Scalar | Items | Object, value: Any, path: str, local: resources.Files) -> Any:
    """Return a part of a config in Ignition's names, with everything embedded that it takes from elsewhere."""
    if isinstance(shape, Items):
        return [_translated(shape.of, item, f"{path}[{index}]", local) for index, item in enumerate(value)]
    if not isinstance(shape, Object):
        return value
    made: Tree = {}
    for name, item in value.items():
        place = f"{path}.{name}" if path else name
        own = name in {"inline", "local", "contents_local", "ssh_authorized_keys_local"}
        made[name if own else camel(name)] = _translated(shape.fields[name].shape, item, place, local)
    if is_resource(shape):
        resources.embed(made, path, local)
    elif "contents_local" in made:
        resources.fill_unit(made, path, local)
    elif "ssh_authorized_keys_local" in made:
        resources.add_keys(made, path, local)
    return made


def _over(parent: Tree, child: Tree) -> Tree:
    """Return the config merged over what was rendered."""
    return merge_trees({name: value for name, value in parent.items() if any(value.values())}, child)
