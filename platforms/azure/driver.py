"""The azure platform: what is particular to Azure; the rest is in ``kola.cloud``."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kola.cloud.platform import CloudPlatform
from kola.cloud.states import Phase, State
from kola.cloud.tags import label
from kola.errors import ConfigError, PlatformError
from platforms.azure import bodies, clients, images, storage
from platforms.azure.clients import Clients
from platforms.azure.options import Options as AzureOptions
from platforms.azure.resources import Resources, names_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kola.arch import Arch
    from kola.cloud.platform import Order
    from kola.cloud.sizes import InstanceType
    from kola.cloud.sweep import Kind
    from kola.cloud.tags import Tags
    from kola.images import Image
    from kola.platform import RunContext
    from kola.retry import Verdict
    from platforms.azure.storage import Account

_PROVIDERS = ("Microsoft.Compute", "Microsoft.Network", "Microsoft.Storage")
_PHASES = {
    "starting": Phase.PENDING,
    "running": Phase.RUNNING,
    "stopping": Phase.PENDING,  # not to be started yet
    "stopped": Phase.STOPPED,
    "deallocating": Phase.PENDING,
    "deallocated": Phase.STOPPED,
}
_NOT_MISSING = 412
_DELETING = "Deleting"
_SUBNET = "machines"
_CONTROLLER = "main"


class Azure(CloudPlatform):
    """Azure through its management SDKs.

    What a run makes is in a resource group of its own, and each image in another one, unless the user names one.
    """

    name: ClassVar[str] = "azure"
    Options: ClassVar[type[Any]] = AzureOptions
    ignition_platform: ClassVar[str] = "azure"
    user_data_limit: ClassVar[int] = 65535
    types_table: ClassVar[Path] = Path(__file__).with_name("types.toml")

    def __init__(self, options: AzureOptions, arch: Arch, context: RunContext) -> None:
        super().__init__(options, arch, context)
        self._clients = Clients(options, self.interval, self._before_request)
        self._resources = Resources(self._clients, options.resource_group)
        self._group: str = options.resource_group or f"kola-{context.run_id}"
        self._addresses: dict[str, tuple[str, str]] = {}

    def _before_request(self) -> None:
        self.call.request()

    def classify(self, error: Exception) -> Verdict | None:
        """Tell what an error of the SDK means."""
        return clients.classify(error)

    def close(self) -> None:
        """Close the connections."""
        self._clients.close()

    # -- before anything is made -------------------------------------------------------------------------------------

    def identify(self) -> str:
        """See whose the credentials are, and that the subscription can be used."""
        if self.arch.name not in images.ARCHITECTURES:
            allowed = ", ".join(images.ARCHITECTURES)
            raise ConfigError(f"platform azure: architecture {self.arch.name}; allowed: {allowed}")
        if self.arch.name != "x86_64" and (self.options.secure_boot or self.options.vtpm):
            raise ConfigError("-P secure-boot, -P vtpm: on x86_64 only")
        who = self._clients.who()
        subscription = self._clients.subscription
        try:
            states = {
                name: self.call(self._clients.groups.providers.get, name).registration_state for name in _PROVIDERS
            }
            location = self._location
        except PlatformError as e:
            raise ConfigError(f"platform azure: subscription {subscription}: {e}; see docs/azure.md") from e
        if missing := [name for name, state in states.items() if state != "Registered"]:
            raise ConfigError(
                f"platform azure: subscription {subscription} has not registered {', '.join(missing)}: "
                f"az provider register --namespace {missing[0]}"
            )
        return f"{who} in subscription {subscription}, {location}"

    def check_image(self, reference: str) -> None:
        """See that an image exists in this location, for this architecture."""
        images.check(self._clients, self.call, reference, self._location, self.arch.name)

    def set_up(self, tags: Tags) -> None:
        """Make the run's resource group, and what of its network the user has not."""
        self._make_group(self._group, tags)
        network, labels = self._clients.network, tags.as_labels()

        def make_security_group() -> None:
            request = bodies.security_group(self._location, labels, self.options.allow_from)
            network.network_security_groups.begin_create_or_update(self._group, self._shared, request).result()

        def make_network() -> None:
            request = bodies.network(self._location, labels, _SUBNET)
            network.virtual_networks.begin_create_or_update(self._group, self._shared, request).result()

        if not self.options.security_group:
            self.call.fresh(make_security_group)
        if not self.options.subnet:
            self.call.fresh(make_network)

    @property
    def _shared(self) -> str:
        """Name of what the machines of the run share."""
        return f"kola-{self.context.run_id}"

    @cached_property
    def _location(self) -> str:
        if self.options.location:
            return str(self.options.location).lower()
        if not self.options.resource_group:
            raise ConfigError("platform azure: no location: -P location=NAME, such as westeurope")
        group = self.call(self._clients.groups.resource_groups.get, self.options.resource_group)
        return str(group.location)

    def _make_group(self, name: str, tags: Tags) -> None:
        if not self.options.resource_group:
            request = {"location": self._location, "tags": tags.as_labels()}
            self.call(self._clients.groups.resource_groups.create_or_update, name, request)

    # -- images and objects ------------------------------------------------------------------------------------------

    def recipe(self, image: Image) -> str:  # noqa: ARG002
        """Return what beside its content decides what an image is like."""
        return images.recipe(self.arch.name, self._location)

    def find_image(self, digest: str) -> str | None:
        """Return our own image of that content."""
        wanted = {"kola-digest": digest, "kola-owner": label(self.context.owner)}
        return images.find(self._clients, wanted, self._resources.galleries())

    def publish(self, image: Image, name: str, tags: Tags) -> str:
        """Upload an image and register it."""
        self._make_group(name, tags)
        group = self.options.resource_group or name
        publisher = images.Publisher(self._clients, self.options, self.call, self._location, group)
        publisher.interval, publisher.progress = self.interval, self.progress
        return publisher.publish(image, name, tags, self.arch.name, self.context.scratch)

    def retag_image(self, reference: str, tags: Tags) -> None:
        """Tag an image's gallery, and then its group, anew; in between the group's tags decide."""
        group, gallery = names_in(reference)[:2]
        request = {"tags": tags.as_labels()}
        self._clients.compute.galleries.begin_update(group, gallery, request).result()
        if not self.options.resource_group:
            self._clients.groups.resource_groups.update(group, request)

    def put(self, name: str, data: bytes, tags: Tags) -> str:
        """Store a config; only who knows the URL, which is signed, reads it."""
        shared = replace(tags, name="", worker=_CONTROLLER)  # the account: it is not this machine's alone
        account = storage.make_account(self._clients, self._group, self._account, self._location, shared)
        account.blob(f"{name}/config.ign.gz").upload_blob(data, overwrite=True)
        return account.readable(f"{name}/config.ign.gz")

    def discard(self, name: str) -> None:
        """Delete the config of a machine."""
        account: Account = storage.open_account(self._clients, self._group, self._account)
        account.blob(f"{name}/config.ign.gz").delete_blob()

    @property
    def _account(self) -> str:
        return storage.account_name(self._clients.subscription, self._group, self.context.run_id)

    # -- machines ----------------------------------------------------------------------------------------------------

    @cached_property
    def _offers(self) -> dict[str, list[str]]:
        """Zones of every size that this subscription may have here; one empty name where there are no zones."""
        found: dict[str, list[str]] = {}
        for sku in self._clients.compute.resource_skus.list(filter=f"location eq '{self._location}'"):
            if sku.resource_type != "virtualMachines":
                continue
            zones = {zone for place in sku.location_info or () for zone in place.zones or ()}
            closed = [limit for limit in sku.restrictions or () if limit.reason_code == "NotAvailableForSubscription"]
            if any(limit.type == "Location" for limit in closed):
                continue
            shut = {zone for limit in closed for zone in limit.restriction_info.zones or ()}
            if not zones or zones - shut:
                found[sku.name] = sorted(zones - shut) or [""]
        return found

    def zones(self, kind: InstanceType) -> Sequence[str]:
        """Return the zones that offer a size."""
        return self._offers.get(kind.name, [])

    def create(self, order: Order) -> str:
        """Make machine, interface and address: one call, and nothing twice when this is called again."""
        subnet, group = self._subnet, self._security_group
        nic = bodies.interface(order, subnet, group, public=self.options.address == "public")
        request = bodies.machine(self._location, order, self.options, nic, self._ssh_key)
        machine = self._id("Microsoft.Compute/virtualMachines", order.name).lower()
        self._addresses.pop(machine, None)
        try:
            self._clients.compute.virtual_machines.begin_create_or_update(
                self._group, order.name, request, match_condition=MatchConditions.IfMissing, polling=False
            )
        except HttpResponseError as e:
            if e.status_code != _NOT_MISSING or not self._made(order):
                raise
        return machine

    def _made(self, order: Order) -> bool:
        """Tell whether the machine of that name is this one, made by an attempt whose answer was lost.

        Otherwise it is one that is being deleted, for which there was no room elsewhere.
        """
        found = self._clients.compute.virtual_machines.get(self._group, order.name)
        size = str(found.hardware_profile.vm_size).lower()
        same = size == order.kind.name.lower() and (found.zones or [""]) == [order.zone]
        return same and found.provisioning_state != _DELETING

    def terminate(self, machine: str) -> None:
        """Delete it; disks, interface and address go with it."""
        self._clients.compute.virtual_machines.begin_delete(*names_in(machine), force_deletion=True, polling=False)

    def stop(self, machine: str) -> None:
        """Cut its power. It keeps its place: a machine that is deallocated may find no room when it is started."""
        self._clients.compute.virtual_machines.begin_power_off(*names_in(machine), skip_shutdown=True, polling=False)

    def start(self, machine: str) -> None:
        """Switch its power on."""
        self._clients.compute.virtual_machines.begin_start(*names_in(machine), polling=False)

    def states(self) -> Mapping[str, State]:
        """Return the states of the run's machines: one list for all, others while one runs whose address is unknown."""
        prefix = self._id("Microsoft.Compute/virtualMachines", f"kola-{self.context.run_id}-").lower()
        listed = self._clients.compute.virtual_machines.list_all(status_only="true")
        found = {str(one.id).lower(): _state(one) for one in listed if str(one.id).lower().startswith(prefix)}
        running = {one for one, state in found.items() if state.phase is Phase.RUNNING}
        if running - self._addresses.keys():
            self._read_addresses()
        for one in running & self._addresses.keys():
            public, private = self._addresses[one]
            found[one] = replace(found[one], public=public, private=private)
        return found

    def read_console(self, machine: str) -> str:
        """Return what boot diagnostics have of the serial console."""
        read = self._clients.compute.virtual_machines.retrieve_boot_diagnostics_data
        where = read(*names_in(machine)).serial_console_log_blob_uri
        if not where:
            return ""
        with BlobClient.from_blob_url(where, retry_total=0, **self._clients.before_each) as blob:
            data: bytes = blob.download_blob().readall()
        return data.decode(errors="replace")

    def kinds(self) -> Sequence[Kind]:
        """Return what may be left, in the order in which it can go."""
        return self._resources.kinds()

    def _read_addresses(self) -> None:
        network, public = self._clients.network, self.options.address == "public"
        outside = network.public_ip_addresses.list(self._group) if public else ()
        addresses = {str(one.id).lower(): one.ip_address for one in outside}
        for nic in network.network_interfaces.list(self._group):
            if nic.virtual_machine is None or not nic.ip_configurations:
                continue
            config = nic.ip_configurations[0]
            theirs = addresses.get(str(config.public_ip_address.id).lower()) if config.public_ip_address else None
            if config.private_ip_address and (theirs or not public):
                self._addresses[str(nic.virtual_machine.id).lower()] = (theirs or "", config.private_ip_address)

    def _id(self, kind: str, name: str) -> str:
        return f"/subscriptions/{self._clients.subscription}/resourceGroups/{self._group}/providers/{kind}/{name}"

    @property
    def _subnet(self) -> str:
        ours = f"{self._id('Microsoft.Network/virtualNetworks', self._shared)}/subnets/{_SUBNET}"
        return str(self.options.subnet) or ours

    @property
    def _security_group(self) -> str:
        return str(self.options.security_group) or self._id("Microsoft.Network/networkSecurityGroups", self._shared)

    @cached_property
    def _ssh_key(self) -> str:
        """A public key whose private one nobody has: kola's own is in the Ignition config."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
        return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _state(machine: Any) -> State:
    """Make a state of what the instance view says.

    Power counts: Azure calls a machine that runs failed, too, whose system does not report to it.
    """
    statuses = machine.instance_view.statuses if machine.instance_view else None
    codes = {code[0].lower(): code[1:] for code in (str(one.code).split("/") for one in statuses or ())}
    power = codes.get("powerstate", [""])[0].lower()
    provisioning, *why = codes.get("provisioningstate", [""])
    reason = next((str(one.message) for one in statuses or () if one.message), "")
    if provisioning.lower() == "deleting":
        return State(Phase.GONE, reason="it is being deleted")
    if provisioning.lower() == "failed" and power != "running":
        text = f"{why[0] if why else 'failed'}: {reason or 'no message'}"
        return State(Phase.GONE, reason=text, no_room=bool(why) and clients.no_room(why[0]))
    return State(_PHASES.get(power, Phase.PENDING))
