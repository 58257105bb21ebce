"""What the driver asks Azure for, as plain data. Pure."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from kola.errors import ConfigError

if TYPE_CHECKING:
    from kola.cloud.platform import Order
    from platforms.azure.options import Options

_MOST_DISKS = 16
_USER = "core"
_NETWORK_API = "2022-11-01"
"""The newest that a machine's interface may be described in."""


def security_group(location: str, tags: dict[str, str], allow_from: str) -> dict[str, Any]:
    """Return one that lets SSH in; Azure's own rules let the machines of a network talk to each other."""
    rule = {
        "protocol": "Tcp",
        "sourceAddressPrefix": allow_from,
        "sourcePortRange": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": "22",
        "access": "Allow",
        "direction": "Inbound",
        "priority": 100,
    }
    return {"location": location, "tags": tags, "properties": {"securityRules": [{"name": "ssh", "properties": rule}]}}


def network(location: str, tags: dict[str, str], subnet: str) -> dict[str, Any]:
    """Return a virtual network of one subnet."""
    subnets = [{"name": subnet, "properties": {"addressPrefix": "10.64.0.0/16"}}]
    space = {"addressPrefixes": ["10.64.0.0/16"]}
    return {"location": location, "tags": tags, "properties": {"addressSpace": space, "subnets": subnets}}


def interface(order: Order, subnet: str, group: str, *, public: bool) -> dict[str, Any]:
    """Return the network interface that is made with a machine, with a public address or without; both go with it.

    Args:
        order: the machine.
        subnet: id.
        group: id of the security group.
        public: with a public address.
    """
    config: dict[str, Any] = {"primary": True, "subnet": {"id": subnet}}
    if public:
        config["publicIPAddressConfiguration"] = {
            "name": order.name,
            "tags": order.tags.as_labels(),
            "sku": {"name": "Standard", "tier": "Regional"},
            "properties": {
                "publicIPAllocationMethod": "Static",
                "publicIPAddressVersion": "IPv4",
                "deleteOption": "Delete",
            },
        }
    return {
        "name": order.name,
        "tags": order.tags.as_labels(),
        "properties": {
            "primary": True,
            "deleteOption": "Delete",
            "ipConfigurations": [{"name": "main", "properties": config}],
            "networkSecurityGroup": {"id": group},
        },
    }


def machine(location: str, order: Order, options: Options, nic: dict[str, Any], ssh_key: str) -> dict[str, Any]:
    """Return a machine.

    The config goes as custom data and not as user data: nobody can read it back, neither through the API nor, without
    being root, on the machine.

    Args:
        location: where.
        order: what it has to be.
        options: of the platform.
        nic: its network interface.
        ssh_key: a public key; Azure insists on one.

    Raises:
        ConfigError: it cannot be had.
    """
    properties: dict[str, Any] = {
        "hardwareProfile": {"vmSize": order.kind.name},
        "storageProfile": _storage(order, options),
        "osProfile": {
            "computerName": order.name,
            "adminUsername": _USER,
            "customData": base64.b64encode(order.user_data).decode(),
            "linuxConfiguration": {
                "disablePasswordAuthentication": True,
                "provisionVMAgent": False,
                "ssh": {"publicKeys": [{"path": f"/home/{_USER}/.ssh/authorized_keys", "keyData": ssh_key}]},
            },
            "allowExtensionOperations": False,
        },
        "networkProfile": {"networkApiVersion": _NETWORK_API, "networkInterfaceConfigurations": [nic]},
        "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
    }
    if options.spot:
        properties |= {"priority": "Spot", "evictionPolicy": "Delete", "billingProfile": {"maxPrice": -1}}
    if options.secure_boot or options.vtpm:
        switches = {"secureBootEnabled": options.secure_boot, "vTpmEnabled": options.vtpm}
        properties["securityProfile"] = {"securityType": "TrustedLaunch", "uefiSettings": switches}
    request: dict[str, Any] = {"location": location, "tags": order.tags.as_labels(), "properties": properties}
    if order.zone:
        request["zones"] = [order.zone]
    if options.identity:
        request["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {options.identity: {}}}
    return request


def _storage(order: Order, options: Options) -> dict[str, Any]:
    spec, kind = order.spec, {"storageAccountType": options.disk_type}
    if len(spec.disks) > _MOST_DISKS:
        raise ConfigError(f"platform azure: at most {_MOST_DISKS} extra disks")
    root: dict[str, Any] = {
        "name": f"{order.name}-root",
        "createOption": "FromImage",
        "deleteOption": "Delete",
        "caching": "ReadWrite",
        "managedDisk": kind,
    }
    if spec.disk_gib is not None:
        root["diskSizeGB"] = spec.disk_gib
    more = [
        {
            "lun": number,
            "name": f"{order.name}-disk{number}",
            "createOption": "Empty",
            "deleteOption": "Delete",
            "diskSizeGB": disk.size_gib,
            "managedDisk": kind,
        }
        for number, disk in enumerate(spec.disks)
    ]
    return {"imageReference": {"id": order.image}, "osDisk": root, "dataDisks": more}
