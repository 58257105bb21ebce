"""Which actions of a role a call to ARM needs, by Azure's documentation. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal.azure.kinds import GROUP
from rehearsal.azure.paths import provider_of

if TYPE_CHECKING:
    from rehearsal.azure.paths import Target

_VERBS = {"GET": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}
_JOINED = (
    "Microsoft.Network/networkSecurityGroups/join/action",
    "Microsoft.Network/publicIPAddresses/join/action",
    "Microsoft.Network/virtualNetworks/subnets/join/action",
)
_IMPLIED = {
    "Microsoft.Network/networkInterfaces/write": _JOINED,
    "Microsoft.Compute/virtualMachines/write": (
        "Microsoft.Compute/disks/write",
        "Microsoft.Compute/galleries/images/versions/read",
        "Microsoft.Network/networkInterfaces/join/action",
        "Microsoft.Network/networkInterfaces/write",
        "Microsoft.Network/publicIPAddresses/write",
        *_JOINED,
    ),
    "Microsoft.Compute/virtualMachines/delete": (
        "Microsoft.Compute/disks/delete",
        "Microsoft.Network/networkInterfaces/delete",
        "Microsoft.Network/publicIPAddresses/delete",
    ),
}
"""What is made, joined or deleted along with something."""


def needed(target: Target, method: str) -> tuple[str, ...]:
    """Return the actions."""
    kind = target.kind
    if kind is None:
        return (target.permission,)
    if target.action:
        return (f"{provider_of(kind)}/{kind.name}/{target.action}/action",)
    where = "Microsoft.Resources/subscriptions" if kind is GROUP else provider_of(kind)
    action = f"{where}/{kind.name}/{_VERBS.get(method, method)}"
    return (action, *_IMPLIED.get(action, ()))
