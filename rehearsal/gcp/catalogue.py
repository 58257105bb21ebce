"""What the rehearsed project has from the beginning, and the rules that names, labels and filters follow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rehearsal.gcp.answers import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

REGION = "us-central1"
ZONES = ("us-central1-a", "us-central1-b", "us-central1-c", "us-central1-f", "europe-west1-b")
DISK_TYPES = ("pd-standard", "pd-balanced", "pd-ssd")
TYPES = {
    "e2-small": (2, 2048),
    "e2-medium": (2, 4096),
    "e2-standard-2": (2, 8192),
    "e2-standard-4": (4, 16384),
    "e2-standard-8": (8, 32768),
    "n2-standard-2": (2, 8192),
    "n2d-standard-2": (2, 8192),
    "t2a-standard-1": (1, 4096),
    "t2a-standard-2": (2, 8192),
}
"""vCPUs and MiB of memory."""
FEATURES = {
    *("GVNIC", "IDPF", "MULTI_IP_SUBNET", "SECURE_BOOT", "SEV_CAPABLE", "SEV_SNP_CAPABLE", "TDX_CAPABLE"),
    *("SEV_LIVE_MIGRATABLE", "SEV_LIVE_MIGRATABLE_V2", "UEFI_COMPATIBLE", "VIRTIO_SCSI_MULTIQUEUE"),
}
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_TERM = re.compile(r"(labels\.[a-z0-9_-]+|name) ?(=|:) ?(\S+)")


def check_name(name: str) -> None:
    """See that a resource may be called so.

    Raises:
        Failure: it may not.
    """
    if not _NAME.fullmatch(name):
        raise Failure(400, "invalid", f"Invalid value for field 'resource.name': '{name}'. Must be a match of regex")


def check_labels(labels: dict[str, str]) -> dict[str, str]:
    """See that these are labels as Google takes them, and return them.

    Raises:
        Failure: they are not.
    """
    for key, value in labels.items():
        if not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
            raise Failure(400, "invalid", f"Invalid value for field 'labels': '{key}={value}'")
    return dict(labels)


def matcher(text: str) -> Callable[[dict[str, Any]], bool]:
    """Return what tells whether a resource matches a filter, of those that are understood here.

    Raises:
        Failure: another one.
    """
    terms = [_TERM.fullmatch(part.strip(" ()")) for part in text.split(" AND ")] if text else []
    if not all(terms):
        raise Failure(400, "invalid", f"Invalid value for field 'filter': '{text}'. Invalid list filter expression.")

    def matches(resource: dict[str, Any]) -> bool:
        for term in terms:
            assert term is not None  # noqa: S101 - for the type checker
            field, operator, value = term.groups()
            found = resource.get("labels", {}).get(field[7:]) if field != "name" else resource["name"]
            if found is None or (found != value if operator == "=" else value != "*" and value not in found):
                return False
        return True

    return matches
