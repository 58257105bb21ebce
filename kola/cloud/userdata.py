"""An Ignition config that is larger than a provider's limit on user data: packed, or fetched from object storage. Pure.

Not every provider's part of Ignition unpacks what it is given, but every Ignition since 2.3 unpacks what a config
refers to. So what is too large becomes a small config that is replaced with the whole one.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any

from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_VERSION = "3.1.0"
"""The lowest version that can say ``compression`` of a config."""


def fit(config: bytes, limit: int, put: Callable[[bytes], str] | None) -> bytes:
    """Return user data of at most ``limit`` bytes that makes Ignition use the config.

    Args:
        config: serialised.
        limit: in bytes.
        put: stores bytes where the machine can fetch them, returns the URL; it is called only where packing is not
            enough. None where there is no such place.

    Raises:
        ConfigError: it does not fit.
    """
    if len(config) <= limit:
        return config
    packed = gzip.compress(config, mtime=0)
    inside = _replaced("data:;base64," + base64.b64encode(packed).decode())
    if len(inside) <= limit:
        return inside
    if put is None:
        raise ConfigError(f"the Ignition config has {len(config)} bytes, packed {len(inside)}; allowed: {limit}")
    return _replaced(put(packed), hashlib.sha512(config).hexdigest())


def _replaced(source: str, sha512: str = "") -> bytes:
    resource: dict[str, Any] = {"source": source, "compression": "gzip"}
    if sha512:  # of what is unpacked
        resource["verification"] = {"hash": f"sha512-{sha512}"}
    config = {"ignition": {"version": _VERSION, "config": {"replace": resource}}}
    return json.dumps(config, separators=(",", ":")).encode()
