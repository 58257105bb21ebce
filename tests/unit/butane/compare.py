"""Two Ignition configs that mean the same are equal after this: data URLs and compression undone, nothing empty."""

from __future__ import annotations

import base64
import gzip
import re
from typing import Any
from urllib.parse import unquote_to_bytes


def meaning(value: Any) -> Any:
    """Return a config without what says nothing, and with the bytes that its data URLs stand for."""
    if isinstance(value, list):
        return [meaning(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = dict(value)
    source = value.get("source")
    if isinstance(source, str) and source.startswith("data:"):
        value["source"] = _decoded(source, value.pop("compression", None) or "")
    members = {name: meaning(item) for name, item in value.items()}
    idle = (("compression", ""), ("number", 0))
    return {name: item for name, item in members.items() if item not in (None, {}, []) and (name, item) not in idle}


def _decoded(url: str, compression: str) -> str:
    match = re.fullmatch(r"data:[^,]*?(;base64)?,(.*)", url, re.DOTALL)
    if match is None:
        return url
    data = base64.b64decode(match[2]) if match[1] else unquote_to_bytes(match[2])
    if compression == "gzip":
        try:
            data = gzip.decompress(data)
        except OSError:
            return f"broken gzip {data!r}"
    return data.decode("latin-1")
