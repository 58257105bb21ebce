"""Interfaces and public addresses that are made, and go, with a machine."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from rehearsal.azure.kinds import TYPES, ArmError

if TYPE_CHECKING:
    from rehearsal.azure.arm import Arm, Resource

_TYPES = TYPES["Microsoft.Network"]
_APIS = ("2020-11-01", "2022-11-01")
_INTERFACE = {"primary", "deleteOption", "ipConfigurations", "networkSecurityGroup"}
_CONFIG = {"primary", "subnet", "publicIPAddressConfiguration"}
_ADDRESS = {"publicIPAllocationMethod", "publicIPAddressVersion", "deleteOption"}


def validate(profile: dict[str, Any]) -> None:
    """See that a machine's network profile describes one interface with one address.

    Raises:
        ArmError: it does not.
    """
    if profile["networkApiVersion"] not in _APIS:
        raise ArmError(400, "InvalidParameter", f"networkApiVersion: one of {', '.join(_APIS)}")
    try:
        (nic,) = profile["networkInterfaceConfigurations"]
        (config,) = nic["properties"]["ipConfigurations"]
        known = nic["properties"].keys() <= _INTERFACE and config["properties"].keys() <= _CONFIG
        known = known and bool(nic["name"] and config["name"] and config["properties"]["subnet"]["id"])
        if public := config["properties"].get("publicIPAddressConfiguration"):
            known = known and bool(public["name"]) and public["properties"].keys() <= _ADDRESS
            basic = public["sku"]["name"] != "Standard"
        else:
            basic = False
    except (KeyError, TypeError, ValueError) as e:
        raise ArmError(400, "InvalidParameter", f"networkInterfaceConfigurations: {e!r}") from e
    if not known:
        raise ArmError(400, "InvalidRequestContent", "networkInterfaceConfigurations: an unknown member, or no name")
    if basic:
        raise ArmError(400, "InvalidParameter", "Basic public IP addresses are retired")


def attach(machine: Resource, arm: Arm, address: str = "") -> None:
    """Make what the network profile describes; names are chosen here, as Azure does. The machine shows its interface.

    Args:
        machine: just made.
        arm: everything that there is.
        address: of the machine, where it has a public one.
    """
    profile = machine.body["properties"]["networkProfile"]
    (nic,) = profile["networkInterfaceConfigurations"]
    (config,) = nic["properties"]["ipConfigurations"]
    base, location = machine.id.split("/Microsoft.Compute/", maxsplit=1)[0], machine.body["location"]
    inner: dict[str, Any] = {"subnet": config["properties"]["subnet"]}
    if public := config["properties"].get("publicIPAddressConfiguration"):
        kept = {"ipAddress": address} if address else {}
        made = arm.make(
            _TYPES["publicipaddresses"],
            f"{base}/Microsoft.Network/publicIPAddresses/{public['name']}-{secrets.token_hex(4)}",
            {
                "location": location,
                "tags": public.get("tags", {}),
                "sku": public["sku"],
                "properties": {**public["properties"], **kept},
            },
        )
        inner["publicIPAddress"] = {"id": made.id}
    group = {key: nic["properties"][key] for key in ("networkSecurityGroup",) if key in nic["properties"]}
    interface = arm.make(
        _TYPES["networkinterfaces"],
        f"{base}/Microsoft.Network/networkInterfaces/{nic['name']}-{secrets.token_hex(4)}",
        {
            "location": location,
            "tags": nic.get("tags", {}),
            "properties": {**group, "ipConfigurations": [{"name": config["name"], "properties": inner}]},
        },
    )
    option = nic["properties"].get("deleteOption", "Detach")
    shown = {"id": interface.id, "properties": {"primary": True, "deleteOption": option}}
    machine.body["properties"]["networkProfile"] = {"networkInterfaces": [shown]}
    machine.refers.add(interface.key)


def goes_along(machine: Resource, arm: Arm) -> list[str]:
    """Return what of the network the end of a machine takes along, by the ``deleteOption`` of each; addresses last."""
    nics = [
        nic["id"].lower()
        for nic in machine.body["properties"]["networkProfile"].get("networkInterfaces", ())
        if nic["properties"]["deleteOption"] == "Delete"
    ]
    refers: set[str] = set().union(*(arm.resources[nic].refers for nic in nics if nic in arm.resources))
    publics = [
        one
        for one in refers
        if one in arm.resources and arm.resources[one].body["properties"].get("deleteOption") == "Delete"
    ]
    return [*nics, *publics]
