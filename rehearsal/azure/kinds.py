"""The types of resources that this Azure knows, and what a request for one has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class ArmError(Exception):
    """What ARM answers to a call that it refuses."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Type:
    """A type of resource.

    Attributes:
        name: as Azure spells it, behind the provider's.
        required: fields that a request must have, with dots between the keys.
        properties: what there may be in ``properties``.
        in_use: status and code of the answer to a deletion while something stands on it.
        actions: what can be posted to it.
    """

    name: str
    required: tuple[str, ...] = ()
    properties: frozenset[str] = frozenset()
    in_use: tuple[int, str] = (409, "CannotDeleteResource")
    actions: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name as it is in the names of calls."""
        return "".join(part[0].upper() + part[1:] for part in self.name.split("/"))


def _type(name: str, required: str, properties: str, **given: Any) -> Type:
    return Type(name, ("location", *required.split()), frozenset(properties.split()), **given)


TYPES: Mapping[str, Mapping[str, Type]] = {
    "Microsoft.Compute": {
        one.name.lower(): one
        for one in (
            _type(
                "virtualMachines",
                "properties.hardwareProfile.vmSize properties.storageProfile.imageReference.id "
                "properties.storageProfile.osDisk.createOption properties.networkProfile.networkApiVersion "
                "properties.networkProfile.networkInterfaceConfigurations "
                "properties.osProfile.computerName properties.osProfile.adminUsername",
                "hardwareProfile storageProfile osProfile networkProfile diagnosticsProfile priority evictionPolicy "
                "billingProfile securityProfile userData",
                actions=("powerOff", "start", "restart", "deallocate", "retrieveBootDiagnosticsData"),
            ),
            _type("disks", "", ""),
            _type("images", "", ""),
            _type("galleries", "", "description"),
            _type(
                "galleries/images",
                "properties.osType properties.osState properties.identifier.publisher properties.identifier.offer "
                "properties.identifier.sku",
                "osType osState hyperVGeneration architecture identifier features",
            ),
            _type(
                "galleries/images/versions",
                "properties.publishingProfile.targetRegions properties.storageProfile.osDiskImage.source.uri "
                "properties.storageProfile.osDiskImage.source.storageAccountId",
                "publishingProfile storageProfile",
            ),
        )
    },
    "Microsoft.Network": {
        one.name.lower(): one
        for one in (
            _type(
                "networkInterfaces",
                "properties.ipConfigurations",
                "ipConfigurations networkSecurityGroup",
                in_use=(400, "NicInUse"),
            ),
            _type(
                "publicIPAddresses",
                "sku.name properties.publicIPAllocationMethod",
                "publicIPAllocationMethod publicIPAddressVersion deleteOption",
                in_use=(400, "PublicIPAddressCannotBeDeleted"),
            ),
            _type(
                "virtualNetworks",
                "properties.addressSpace.addressPrefixes",
                "addressSpace subnets",
                in_use=(400, "InUseSubnetCannotBeDeleted"),
            ),
            _type(
                "networkSecurityGroups",
                "",
                "securityRules",
                in_use=(400, "InUseNetworkSecurityGroupCannotBeDeleted"),
            ),
        )
    },
    "Microsoft.Storage": {
        "storageaccounts": _type(
            "storageAccounts", "kind sku.name", "allowBlobPublicAccess minimumTlsVersion", actions=("listKeys",)
        )
    },
}
GROUP = Type("resourceGroups", ("location",))
TOP_LEVEL = frozenset({"location", "tags", "properties", "sku", "kind", "zones", "identity", "id", "name", "type"})

SIZES = {
    "standard_b2als_v2": (2, 4096),
    "standard_b2s": (2, 4096),
    "standard_b2as_v2": (2, 8192),
    "standard_d2as_v5": (2, 8192),
    "standard_d2s_v5": (2, 8192),
    "standard_d4as_v5": (4, 16384),
}
"""vCPUs and MiB of the machines that can be had here."""
ZONES = ("1", "2", "3")


def validate(kind: Type, body: Mapping[str, Any]) -> None:
    """See that a request has all that it must have, and nothing else.

    Raises:
        ArmError: it does not.
    """
    for path in kind.required:
        value: Any = body
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if not value:
            raise ArmError(400, "InvalidParameter", f"Required parameter '{path}' is missing (null).")
    unknown = sorted(body.keys() - TOP_LEVEL)
    unknown += [f"properties.{key}" for key in sorted((body.get("properties") or {}).keys() - kind.properties)]
    if unknown:
        raise ArmError(400, "InvalidRequestContent", f"Could not find member '{unknown[0]}' on a {kind.name}.")


def references(value: Any) -> set[str]:
    """Return all ids that a request refers to, in lower case."""
    if isinstance(value, dict):
        own = {value["id"].lower()} if str(value.get("id", "")).startswith("/subscriptions/") else set()
        return own.union(*(references(each) for each in value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()
