"""What follows from calls to ARM beyond the record of them: machines, addresses, images, storage accounts."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any

from kola.errors import ConfigError, PlatformError
from platforms.qemu.disks import qemu_img
from rehearsal.azure import metadata, network
from rehearsal.azure.blobs import Account, Blobs
from rehearsal.azure.kinds import SIZES, TYPES, ZONES, ArmError

if TYPE_CHECKING:
    from rehearsal.azure.arm import Arm, Resource
    from rehearsal.host import CloudHost, Machine

CONSOLE = "bootdiagnostics"
_MOST_DATA = 65535
_FOOTER = 512
_MIB = 1 << 20
_POWER = {"powerOff": "stop", "deallocate": "stop", "start": "start", "restart": "reboot"}


class Effects:
    """Does what requests say.

    Args:
        host: its machines and images.
        blobs: storage.
    """

    def __init__(self, host: CloudHost, blobs: Blobs) -> None:
        self.host = host
        self.blobs = blobs
        self.unallocatable = 0
        """How many of the next machines find no room only after their creation was accepted."""
        self.console_key = secrets.token_urlsafe(16)

    # -- made --------------------------------------------------------------------------------------------------------

    def made(self, one: Resource, arm: Arm) -> None:
        """Do what follows from a new resource.

        Raises:
            ArmError: it cannot be.
        """
        if one.kind.name == "virtualMachines":
            self._machine(one, arm)
        elif one.kind.name == "galleries/images/versions":
            self._version(one)
        elif one.kind.name == "storageAccounts":
            self.blobs.accounts[one.name] = Account()
        elif one.kind.name == "publicIPAddresses" and one.body["sku"]["name"] != "Standard":
            raise ArmError(400, "InvalidParameter", "Basic public IP addresses are retired")

    def changed(self, one: Resource) -> None:
        """See whether a request for what is there already may be.

        Raises:
            ArmError: it would change what cannot be changed.
        """
        if one.kind.name == "virtualMachines":
            raise ArmError(409, "PropertyChangeNotAllowed", f"{one.name} is there, with an interface that it keeps")

    def removed(self, one: Resource, arm: Arm) -> None:
        """Do what follows from the end of a resource."""
        if one.kind.name == "virtualMachines":
            self.ending(one)
            for identity in _goes_along(one, arm):
                if other := arm.resources.get(identity):
                    arm.remove(other)
        elif one.kind.name == "storageAccounts":
            self.blobs.drop(one.name)
        elif one.kind.name == "galleries/images/versions":
            self.host.images.pop(one.key, None)

    def ending(self, one: Resource) -> None:
        """Do what follows when the deletion of a machine begins."""
        self.host.delete(one.name)

    def _machine(self, one: Resource, arm: Arm) -> None:
        properties = one.body["properties"]
        size = SIZES.get(properties["hardwareProfile"]["vmSize"].lower())
        image = properties["storageProfile"]["imageReference"]["id"].lower()
        data = base64.b64decode(properties["osProfile"].get("customData", ""), validate=True)
        linux = properties["osProfile"].get("linuxConfiguration", {})
        if size is None or not set(one.body.get("zones", ())) <= set(ZONES):
            raise ArmError(400, "InvalidParameter", "vmSize or zones: not to be had here")
        if len(data) > _MOST_DATA:
            raise ArmError(400, "InvalidParameter", f"Custom data must not exceed {_MOST_DATA} bytes")
        if not linux.get("ssh", {}).get("publicKeys") and "adminPassword" not in properties["osProfile"]:
            raise ArmError(400, "InvalidParameter", "osProfile: a password or an SSH key is required")
        network.validate(properties["networkProfile"])
        if self.unallocatable > 0:
            self.unallocatable -= 1
            network.attach(one, arm)
            one.failure = "AllocationFailed"
            return
        disks = properties["storageProfile"].get("dataDisks", [])
        disc = metadata.disc(one.name, data) if self.host.boots else None
        try:
            machine = self.host.create(
                one.name,
                image,
                user_data=data,
                memory_mib=size[1],
                vcpus=size[0],
                metadata=metadata.answer,
                disk_gib=properties["storageProfile"]["osDisk"].get("diskSizeGB"),
                extra_gib=[disk["diskSizeGB"] for disk in disks],
                tags={
                    "size": properties["hardwareProfile"]["vmSize"],
                    "location": one.body["location"],
                    "userData": properties.get("userData", ""),
                },
                disc=disc,
            )
        except (ConfigError, PlatformError) as e:
            raise ArmError(400, "InvalidParameter", str(e)) from e
        for disk in (properties["storageProfile"]["osDisk"], *disks):
            base = one.id.split("/Microsoft.Compute/", maxsplit=1)[0]
            body = {"location": one.body["location"], "tags": dict(one.body.get("tags", {}))}
            made = arm.make(TYPES["Microsoft.Compute"]["disks"], f"{base}/Microsoft.Compute/disks/{disk['name']}", body)
            one.refers.add(made.key)
        network.attach(one, arm, machine.address)

    def _version(self, one: Resource) -> None:
        """Make an image of a VHD in a page blob, which has to be as Azure wants it."""
        uri = str(one.body["properties"]["storageProfile"]["osDiskImage"]["source"]["uri"])
        blob = self.blobs.find("/" + uri.split("/", 3)[3])
        with blob.path.open("rb") as file:
            file.seek(blob.size - _FOOTER)
            footer = file.read()
        size = blob.size - _FOOTER
        fixed = footer[:8] == b"conectix" and footer[60:64] == b"\0\0\0\2" and footer[48:56] == size.to_bytes(8, "big")
        total = ~(sum(footer) - sum(footer[64:68])) & 0xFFFF_FFFF
        if blob.kind != "PageBlob" or not fixed or size % _MIB or footer[64:68] != total.to_bytes(4, "big"):
            raise ArmError(400, "InvalidParameter", "source: not a fixed VHD of whole MiB in a page blob")
        raw, disk = blob.path.with_suffix(".raw"), blob.path.with_suffix(".qcow2")
        qemu_img("convert", "-f", "raw", "-O", "raw", str(blob.path), str(raw))
        qemu_img("resize", "-q", "-f", "raw", "--shrink", str(raw), str(size))
        qemu_img("convert", "-f", "raw", "-O", "qcow2", str(raw), str(disk))
        raw.unlink()
        self.host.add_image(one.key, disk, "azure")

    # -- asked -------------------------------------------------------------------------------------------------------

    def posted(self, one: Resource, action: str, arm: Arm) -> tuple[int, dict[str, Any] | None]:
        """Do what was posted to a resource; return status and answer."""
        if action == "listKeys":
            return 200, {
                "keys": [{"keyName": "key1", "value": self.blobs.accounts[one.name].key, "permissions": "FULL"}]
            }
        if action == "retrieveBootDiagnosticsData":
            if not one.body["properties"].get("diagnosticsProfile", {}).get("bootDiagnostics", {}).get("enabled"):
                raise ArmError(409, "OperationNotAllowed", "Boot diagnostics is not enabled")
            where = f"{arm.url}/{CONSOLE}/{one.name}/serialconsole.log?sig={self.console_key}"
            return 200, {"serialConsoleLogBlobUri": where}
        machine = self.host.machines.get(one.name)
        if machine is None or one.gone_at is not None:
            raise ArmError(409, "OperationNotAllowed", "the machine is not there, or being deleted")
        getattr(self.host, _POWER[action])(one.name)
        return 202, None

    def skus(self, wanted: str) -> list[dict[str, Any]]:
        """Return the sizes of a location."""
        location = wanted.removeprefix("location eq '").removesuffix("'")
        if not location or location == wanted:
            raise ArmError(400, "InvalidParameter", "$filter: location eq 'NAME'")
        return [
            {
                "resourceType": "virtualMachines",
                "name": f"Standard_{name.removeprefix('standard_').capitalize()}",
                "locations": [location],
                "locationInfo": [{"location": location, "zones": list(ZONES)}],
                "restrictions": [],
            }
            for name in SIZES
        ]

    def show(self, one: Resource, body: dict[str, Any], arm: Arm, *, status: bool) -> None:
        """Add what Azure says of a resource, and take away what it keeps for itself."""
        properties = body["properties"]
        if one.kind.name == "virtualMachines":
            properties.get("osProfile", {}).pop("customData", None)
            properties.pop("userData", None)
            if status:
                body["properties"] = {"instanceView": {"statuses": self._statuses(one)}}
        elif one.kind.name == "networkInterfaces":
            machine = next((each for each in arm.resources.values() if one.key in each.refers), None)
            if machine is not None:
                properties["virtualMachine"] = {"id": machine.id}
            for config in properties["ipConfigurations"]:
                config["properties"]["privateIPAddress"] = "10.64.0.4"
        elif one.kind.name == "storageAccounts":
            properties["primaryEndpoints"] = {"blob": f"{arm.url}/{one.name}"}

    def _statuses(self, one: Resource) -> list[dict[str, str]]:
        machine: Machine | None = self.host.machines.get(one.name)
        if one.failure:
            return [
                {"code": f"ProvisioningState/failed/{one.failure}", "level": "Error", "message": "Allocation failed."}
            ]
        if one.gone_at is not None or machine is None:
            return [{"code": "ProvisioningState/deleting", "level": "Info"}]
        if machine.pending:
            return [{"code": "ProvisioningState/creating"}, {"code": "PowerState/starting"}]
        power = "running" if machine.running else "stopped"
        return [{"code": "ProvisioningState/succeeded"}, {"code": f"PowerState/{power}"}]


def _goes_along(one: Resource, arm: Arm) -> list[str]:
    """Return what the end of a machine takes along, by the ``deleteOption`` of each; innermost last."""
    properties = one.body["properties"]
    storage = properties["storageProfile"]
    base = one.key.split("/microsoft.compute/", maxsplit=1)[0]
    disks = [
        f"{base}/microsoft.compute/disks/{disk['name'].lower()}"
        for disk in (storage["osDisk"], *storage.get("dataDisks", []))
        if disk.get("deleteOption") == "Delete"
    ]
    return [*disks, *network.goes_along(one, arm)]
