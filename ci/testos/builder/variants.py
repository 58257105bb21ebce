"""Releases and variants: what a folder with a `variant.toml` changes of a definition.

    variants/NAME/variant.toml      values; see KEYS
    variants/NAME/overlay/          files that are added to the system or replace some
    variants/NAME/policy/           CIL modules that are added to the SELinux policy
    variants/NAME/configure         a program that is run inside the tree at the end

A release after the first is the one before it with such a folder applied. A variant changes one release.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .definition import HERE, Definition
from .errors import BuildError

RELEASES = HERE / "releases"
VARIANTS = HERE / "variants"
# What is added to a list of the definition; with `without_` before the name, taken out of it.
_LISTS = ("packages", "masked_units", "kernel_arguments", "selinux_booleans", "capabilities", "removed")
_TEXTS = ("kernel_suite", "kernel_package")
KEYS = ("description", "release", *_TEXTS, *_LISTS, *(f"without_{name}" for name in _LISTS))


def releases() -> tuple[Definition, ...]:
    """The releases, first to last."""
    found = [Definition()]
    for folder in sorted(RELEASES.iterdir(), key=lambda path: int(path.name)):
        found.append(replace(changed(found[-1], folder, _read(folder)), release=int(folder.name)))
    return tuple(found)


def with_variant(series: Sequence[Definition], wanted: str) -> tuple[Definition, ...]:
    """The releases, one of them changed by a variant: a name in `variants/`, or the path of such a folder."""
    folder = VARIANTS / wanted if "/" not in wanted else Path(wanted).resolve()
    if not (folder / "variant.toml").is_file():
        known = ", ".join(path.name for path in sorted(VARIANTS.iterdir()) if path.is_dir())
        raise BuildError(f"no variant '{wanted}': there is no {folder / 'variant.toml'}; known: {known}, or a folder")
    values = _read(folder)
    number = values.get("release", 1)
    if number not in range(1, len(series) + 1):
        raise BuildError(f"{folder / 'variant.toml'}: release = {number!r}: allowed: 1 to {len(series)}")
    found = list(series)
    found[number - 1] = changed(found[number - 1], folder, values)
    # The image is that of the first release, whichever of them differs.
    found[0] = replace(found[0], name=f"{series[0].name}-{folder.name}")
    return tuple(found)


def changed(definition: Definition, folder: Path, values: dict[str, Any]) -> Definition:
    """Apply one folder."""
    changes: dict[str, Any] = {name: values[name] for name in _TEXTS if name in values}
    for name in _LISTS:
        unwanted = values.get(f"without_{name}", [])
        if missing := sorted(set(unwanted) - set(getattr(definition, name))):
            raise BuildError(f"{folder / 'variant.toml'}: without_{name}: not there: {', '.join(missing)}")
        kept = [item for item in getattr(definition, name) if item not in unwanted]
        changes[name] = (*kept, *values.get(name, []))
    if (folder / "overlay").is_dir():
        changes["overlays"] = (*definition.overlays, folder / "overlay")
    if (folder / "policy").is_dir():
        changes["policy_modules"] = (*definition.policy_modules, folder / "policy")
    if (folder / "configure").is_file():
        changes["scripts"] = (*definition.scripts, folder / "configure")
    return replace(definition, **changes)


def _read(folder: Path) -> dict[str, Any]:
    file = folder / "variant.toml"
    try:
        values = tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise BuildError(f"{file}: {error}") from None
    for name, value in values.items():
        if name not in KEYS:
            raise BuildError(f"{file}: unknown key '{name}'; allowed: {', '.join(KEYS)}")
        expected = "a number" if name == "release" else "a string" if name in ("description", *_TEXTS) else "strings"
        good = {
            "a number": isinstance(value, int) and not isinstance(value, bool),
            "a string": isinstance(value, str),
            "strings": isinstance(value, list) and all(isinstance(item, str) for item in value),
        }[expected]
        if not good:
            raise BuildError(f"{file}: {name} = {value!r}: expected {expected}")
    return values
