"""Butane's ``fcos`` variant: the Ignition specification that each version stands for, and what it adds to that.

Source: the specification documents of coreos/butane (``docs/config-fcos-v1_*.md``).
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from kola.ignition.parts import APPENDED, BOOL, INT, TEXT
from kola.ignition.schema import CONFIG
from kola.ignition.shapes import Field, Items, Object, Scalar

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIANT = "fcos"
IGNITION_MINORS = {"1.0.0": 0, "1.1.0": 1, "1.2.0": 2, "1.3.0": 2, "1.4.0": 3, "1.5.0": 4, "1.6.0": 5}
"""Version of Butane -> minor version of the Ignition specification 3."""
VERSIONS = tuple(IGNITION_MINORS)

LAYOUTS = ("aarch64", "ppc64le", "x86_64")
S390X_LAYOUTS = ("s390x-eckd", "s390x-virt", "s390x-zfcp")
"""Since 1.6.0."""

_TANG = Items(Object({"url": Field(TEXT), "thumbprint": Field(TEXT), "advertisement": Field(TEXT, 5)}))
_BOOT_DEVICE = Object(
    {
        "layout": Field(TEXT),
        "luks": Field(
            Object(
                {
                    "tang": Field(_TANG),
                    "threshold": Field(INT),
                    "tpm2": Field(BOOL),
                    "discard": Field(BOOL, 5),
                    "device": Field(TEXT, 6),
                    "cex": Field(Object({"enabled": Field(BOOL)}), 6),
                }
            )
        ),
        "mirror": Field(Object({"devices": Field(APPENDED)})),
    }
)
_GRUB = Object({"users": Field(Items(Object({"name": Field(TEXT), "password_hash": Field(TEXT)})))})
_TREE = Object({"local": Field(TEXT), "path": Field(TEXT)})

_ADDED: Mapping[str, Mapping[str, Field]] = {
    "": {"boot_device": Field(_BOOT_DEVICE, 3), "grub": Field(_GRUB, 5)},
    "storage": {"trees": Field(Items(_TREE), 1)},
    "storage.filesystems": {"with_mount_unit": Field(BOOL, 1)},
    "passwd.users": {"ssh_authorized_keys_local": Field(APPENDED, 5)},
    "systemd.units": {"contents_local": Field(TEXT, 5)},
    "systemd.units.dropins": {"contents_local": Field(TEXT, 5)},
}
"""Object of the Ignition config -> what Butane adds to it, with the minor version of Butane that did."""


def minor_of(version: str) -> int:
    """Return the minor version of a version of Butane."""
    return VERSIONS.index(version)


def is_resource(shape: Object) -> bool:
    """Whether an object is something that Ignition fetches, and that Butane can embed."""
    return {"source", "verification"} <= shape.fields.keys()


@cache
def shape_of(version: str) -> Object:
    """Return everything that may be in a config: Ignition's names in snake case, and Butane's own."""
    config = _extended(CONFIG, "", minor_of(version), IGNITION_MINORS[version])
    return Object({"variant": Field(TEXT), "version": Field(TEXT), **config.fields})


def snake(name: str) -> str:
    """Return a name of Ignition as Butane spells it: ``sizeMiB`` -> ``size_mib``; paths as well."""
    return re.sub(r"MiB|[A-Z]", lambda match: "_" + match[0].lower(), name)


def camel(name: str) -> str:
    """Return a name of Butane as Ignition spells it."""
    return re.sub(r"_(mib$|\w)", lambda match: "MiB" if match[1] == "mib" else match[1].upper(), name)


def _extended(shape: Object, place: str, minor: int, ignition_minor: int) -> Object:
    fields = {
        snake(name): Field(_shape(field.shape, f"{place}.{name}".lstrip("."), minor, ignition_minor))
        for name, field in shape.fields.items()
        if field.since <= ignition_minor and (place, name) != ("ignition", "version")
    }
    if is_resource(shape):
        embeds = {"inline": 0 if place.startswith("storage.files.") else 1, "local": 1}
        fields.update({name: Field(TEXT) for name, since in embeds.items() if since <= minor})
    for name, field in _ADDED.get(place, {}).items():
        if field.since <= minor:
            fields[name] = Field(_dated(field.shape, minor))
    return Object(fields)


def _shape(shape: Scalar | Items | Object, place: str, minor: int, ignition_minor: int) -> Scalar | Items | Object:
    if isinstance(shape, Object):
        return _extended(shape, place, minor, ignition_minor)
    if isinstance(shape, Items):
        return _items(_shape(shape.of, place, minor, ignition_minor))
    return Scalar(shape.kind)


def _dated(shape: Scalar | Items | Object, minor: int) -> Scalar | Items | Object:
    """Leave out what later versions of Butane added to what is Butane's own."""
    if isinstance(shape, Object):
        return Object({n: Field(_dated(f.shape, minor)) for n, f in shape.fields.items() if f.since <= minor})
    return _items(_dated(shape.of, minor)) if isinstance(shape, Items) else shape


def _items(shape: Scalar | Items | Object) -> Items:
    if isinstance(shape, Items):
        raise TypeError("there is no list of lists in any version")
    return Items(shape)
