"""Small Ignition configs, and what is in them, for tests."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any
from urllib.parse import unquote_to_bytes

from kola import ignition

INSTALLABLE = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"


def config(version: str = "3.0.0", **sections: Any) -> ignition.Config:
    return ignition.parse(json.dumps({"ignition": {"version": version}, **sections}))


def one_file(tree: dict[str, Any]) -> dict[str, Any]:
    (file,) = tree["storage"]["files"]
    assert isinstance(file, dict)
    return file


def unpacked(resource: dict[str, str]) -> bytes:
    """Decode a data URL on our own, not with what is under test."""
    head, _, body = resource["source"].partition(",")
    data = base64.b64decode(body) if head.endswith(";base64") else unquote_to_bytes(body)
    return gzip.decompress(data) if resource.get("compression") == "gzip" else data
