"""A config that may be kept with the artifacts of a run: without what opens a machine."""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kola.ignition.checks import decode_data_url

if TYPE_CHECKING:
    from kola.ignition.model import Config
    from kola.ignition.shapes import Tree

PLACEHOLDER = "redacted"
_PLACEHOLDER_URL = f"data:,{PLACEHOLDER}"
_HOST_KEY = re.compile(r"/etc/ssh/[^/]*_key")
_PRIVATE_KEY = b"PRIVATE KEY-----"
_DEFAULT_FILE_MODE = 0o644


def redact(config: Config) -> Config:
    """Replace secrets by a placeholder; the result is still a valid config, of the same version.

    Secrets are: password hashes, LUKS key files, the values of HTTP headers, embedded (``data:``) configs, and the
    contents of files that are SSH host keys, hold a private key, or cannot be read by group and others. Whether a
    remote source needs a secret cannot be seen from here.
    """
    tree = _without_secrets(config.tree)
    storage = tree.get("storage", {})
    for file in storage.get("files", []):
        if _is_secret(file):
            for resource in (file.get("contents", {}), *file.get("append", [])):
                _replace_data(resource)
    for device in storage.get("luks", []):
        _replace_data(device.get("keyFile", {}))
    references = tree["ignition"].get("config", {})
    for number, resource in enumerate((references.get("replace", {}), *references.get("merge", []))):
        _replace_data(resource, f"{_PLACEHOLDER_URL}-{number}")  # sources have to stay distinct
    return replace(config, tree=tree)


def _without_secrets(value: Any) -> Any:
    """Copy a tree, replacing what is a secret by its name alone."""
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if not isinstance(value, dict):
        return value
    result = {name: _without_secrets(item) for name, item in value.items()}
    if "passwordHash" in result:
        result["passwordHash"] = PLACEHOLDER
    for header in result.get("httpHeaders", []):
        if "value" in header:
            header["value"] = PLACEHOLDER
    return result


def _is_secret(file: Tree) -> bool:
    if _HOST_KEY.fullmatch(file["path"]) or not file.get("mode", _DEFAULT_FILE_MODE) & 0o077:
        return True
    return any(_PRIVATE_KEY in _embedded(part) for part in (file.get("contents", {}), *file.get("append", [])))


def _embedded(resource: Tree) -> bytes:
    source = resource.get("source", "")
    if not source.lower().startswith("data:"):
        return b""
    data = decode_data_url(source)
    if resource.get("compression") != "gzip":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return data  # Ignition will fail on it; nobody reads a key from it


def _replace_data(resource: Tree, url: str = _PLACEHOLDER_URL) -> None:
    """Replace an embedded source in a copied tree; the digest would no longer be right."""
    if resource.get("source", "").lower().startswith("data:"):
        resource["source"] = url
        resource.pop("compression", None)
        resource.pop("verification", None)
