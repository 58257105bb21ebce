"""Where images are fetched from."""

from __future__ import annotations

from dataclasses import dataclass

BASE_URL = "https://builds.coreos.fedoraproject.org"
"""Where Fedora CoreOS is published."""
UNSIGNED = "none"
"""Instead of keys: do without the signature."""


@dataclass(frozen=True)
class Sources:
    """Where images come from, and who must have signed them.

    Attributes:
        url: of the server with streams and releases.
        keys: file with the public keys, ``UNSIGNED``, or empty for Fedora's keys on this host.
    """

    url: str = BASE_URL
    keys: str = ""
