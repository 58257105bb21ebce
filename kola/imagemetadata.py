"""What is known of an image beside its bytes: its ``image.json``, its name, the ``meta.json`` of its build."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from kola.arch import get_arch
from kola.document import Document
from kola.errors import ConfigError
from kola.metadata import describe_build
from kola.releases import read_releases

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = 1
_DESCRIPTION = ("name", "version", "build_id", "arch", "distro", "stream", "ignition_max", "capabilities")
"""Keys of an ``image.json`` that are true of the image wherever it is."""
_ANY = (r".*", "a string")
_TEXT_KEYS = {
    "name": _ANY,
    "version": _ANY,
    "build_id": _ANY,
    "arch": _ANY,
    "distro": _ANY,
    "stream": _ANY,
    "file": (r"(?!\.{1,2}$)[^/]+", "the name of a file in the same folder"),
    "sha256": (r"[0-9a-f]{64}", "64 hexadecimal digits in lower case"),
    "ignition_max": (r"3\.\d+\.0", "3.N.0"),
}
# The third number of a Fedora CoreOS version. Source: "Version numbers" in Design.md of coreos/fedora-coreos-tracker.
_STREAMS = {
    "1": "next",
    "2": "testing",
    "3": "stable",
    "10": "next-devel",
    "20": "testing-devel",
    "91": "rawhide",
    "92": "branched",
}
_FCOS_NAME = re.compile(
    r"(?P<name>fedora-coreos)-(?P<version>\d+\.\d{8}\.(?P<stream>\d+|dev)\.\d+)-[\w-]+\.(?P<arch>\w+)\.\w+(\.xz|\.gz)?"
)
_MADE_FOR = re.compile(
    r"-(aliyun|applehv|aws|azure|azurestack|digitalocean|exoscale|gcp|hetzner|hyperv|ibmcloud|kubevirt|metal|metal4k|"
    r"nutanix|openstack|oraclecloud|powervs|proxmoxve|qemu|virtualbox|vmware|vultr)\."
)
"""The platform in the name of a file, as coreos-assembler names what it builds."""


def made_for(path: Path) -> str:
    """Return the platform whose Ignition a file has by its name (``qemu``, ``aws``...); empty if that does not say."""
    found = _MADE_FOR.findall(path.name)
    return str(found[-1]) if found else ""


def metadata_beside(path: Path) -> dict[str, Any]:
    """Find what is known of a file: its sidecar, a folder's image.json that names it, or its own name."""
    sidecar = path.with_name(f"{path.name}.image.json")
    if sidecar.exists():
        known = read_metadata(sidecar)
        if known.get("file", path.name) != path.name:
            raise ConfigError(f"{sidecar}: file: names '{known['file']}', but the file beside it is '{path.name}'")
        return known
    shared = path.with_name("image.json")
    if shared.exists():
        known = read_metadata(shared)
        if known.get("file") == path.name:
            return known
    match = _FCOS_NAME.fullmatch(path.name)
    if match is None:
        return {}
    return {
        "name": match["name"],
        "version": match["version"],
        "build_id": match["version"],
        "arch": match["arch"],
        "distro": "fcos",
        "stream": _STREAMS.get(match["stream"], ""),
    }


def read_description(path: Path) -> dict[str, Any]:
    """Read what a file says of an image that is elsewhere: an ``image.json``, or a ``meta.json`` of coreos-assembler.

    Returns:
        Values of fields of ``kola.images.Image``, those that are known.

    Raises:
        ConfigError: it is neither; names file and key.
    """
    document = Document.parse(path.read_bytes(), str(path))
    if document.get("buildid") is not None:
        return describe_build(document)
    known = {key: value for key, value in read_metadata(path, updates=False).items() if key in _DESCRIPTION}
    if "capabilities" in known:  # the releases that it could be updated to are not at hand
        known["capabilities"] = frozenset(known["capabilities"]) - {"updates"}
    return known


def describe(known: dict[str, Any]) -> dict[str, Any]:
    """Return an ``image.json`` with that of what is known of an image that is true of it everywhere."""
    return {"schema": _SCHEMA, **{key: known[key] for key in _DESCRIPTION if known.get(key) is not None}}


def read_metadata(path: Path, *, updates: bool = True) -> dict[str, Any]:
    """Read an ``image.json``; keys that are not there or null are left out.

    Args:
        path: the file.
        updates: whether to look for what it can be updated to, beside it.

    Raises:
        ConfigError: it is none; names file and key.
    """
    try:
        known = json.loads(path.read_bytes())
    except ValueError as e:
        raise ConfigError(f"{path}: not JSON: {e}") from e
    if not isinstance(known, dict) or known.get("schema") != _SCHEMA:
        raise ConfigError(f'{path}: expected an object with "schema": {_SCHEMA}')
    known = {name: value for name, value in known.items() if value is not None}
    for name, (pattern, expected) in _TEXT_KEYS.items():
        value = known.get(name)
        if name in known and not (isinstance(value, str) and re.fullmatch(pattern, value)):
            raise ConfigError(f"{path}: {name}: expected {expected}, found {value!r}")
    capabilities = known.get("capabilities", [])
    if not isinstance(capabilities, list) or not all(isinstance(one, str) for one in capabilities):
        raise ConfigError(f"{path}: capabilities: expected a list of strings")
    if updates and "updates" in known:
        known["updates"] = read_releases(known["updates"], path)
    if known.get("arch"):
        try:
            known["arch"] = get_arch(known["arch"]).name
        except ConfigError as e:
            raise ConfigError(f"{path}: arch: {e}") from e
    return known
