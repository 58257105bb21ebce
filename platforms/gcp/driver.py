"""The gcp platform: what is particular to Google Cloud; the rest is in ``kola.cloud``."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import yaml
from google.auth.credentials import Signing

from kola.cloud.platform import CloudPlatform
from kola.cloud.states import Phase, State
from kola.cloud.tags import Tags
from kola.errors import ConfigError, PlatformError
from kola.retry import MissingError
from platforms.gcp import errors, request
from platforms.gcp.clients import SECONDS, Clients, new_token
from platforms.gcp.images import ARCHITECTURES, FEATURES, Publisher, Reference, Store, object_name
from platforms.gcp.options import Options as GcpOptions
from platforms.gcp.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kola.arch import Arch
    from kola.cloud.platform import Order
    from kola.cloud.sizes import InstanceType
    from kola.cloud.sweep import Kind
    from kola.images import Image
    from kola.platform import Prepared, RunContext
    from kola.retry import Verdict

ROLE = Path(__file__).with_name("role.yaml")
"""A custom role: what the preflight asks for."""
_ONLY_FOR_RULES = {"compute.firewalls.create", "compute.firewalls.delete", "compute.networks.updatePolicy"}
_PHASES = {
    "PENDING": Phase.PENDING,
    "PROVISIONING": Phase.PENDING,
    "STAGING": Phase.PENDING,
    "REPAIRING": Phase.PENDING,
    "RUNNING": Phase.RUNNING,
    "PENDING_STOP": Phase.RUNNING,
    "STOPPING": Phase.PENDING,
    "SUSPENDING": Phase.PENDING,
    "SUSPENDED": Phase.STOPPED,
    "STOPPED": Phase.STOPPED,
    "TERMINATED": Phase.STOPPED,
    "DEPROVISIONING": Phase.GONE,
}
_URL_LIFETIME = timedelta(hours=1)
_CONFIG = "config.ign.gz"


class Gcp(CloudPlatform):
    """Compute Engine through google-cloud-compute; ids of machines are ``ZONE/NAME``."""

    name: ClassVar[str] = "gcp"
    Options: ClassVar[type[Any]] = GcpOptions
    ignition_platform: ClassVar[str] = "gcp"
    user_data_limit: ClassVar[int] = 262144
    types_table: ClassVar[Path] = Path(__file__).with_name("types.toml")

    def __init__(self, options: GcpOptions, arch: Arch, context: RunContext) -> None:
        super().__init__(options, arch, context)
        self._clients = Clients(options, self.interval)
        self._store = Store(self._clients, options)
        self._resources = Resources(self._clients, self._store)
        self._offered: dict[str, list[str]] = {}

    def classify(self, error: Exception) -> Verdict | None:
        """Tell what an error of Google's SDK means."""
        return errors.classify(error)

    # -- before anything is made -------------------------------------------------------------------------------------

    def prepare(self, image: Image | None) -> Prepared:
        """Prepare as on every cloud; all machines of the run get the same image of a family."""
        prepared = super().prepare(image)
        wanted = Reference.parse(prepared.image_ref, self._clients.project)
        if wanted.family:
            found = self.call(self._image, wanted)
            wanted = Reference(wanted.project, str(found.name))
            return replace(prepared, image_ref=str(wanted), notes=(*prepared.notes, f"its newest: {wanted}"))
        return replace(prepared, image_ref=str(wanted))

    def identify(self) -> str:
        """Find the project and the region, and see what we may do there."""
        clients, region = self._clients, self.options.region
        if self.arch.name not in ARCHITECTURES:
            raise ConfigError(f"platform gcp: architecture {self.arch.name}; allowed: {', '.join(ARCHITECTURES)}")
        try:
            self.call(clients.to(clients.projects.get))
        except PlatformError as e:
            raise ConfigError(
                f"platform gcp: the credentials of {clients.who} do not reach project {clients.project}: {e}; "
                "see docs/gcp.md"
            ) from e
        self._check_permissions()
        try:
            found = self.call(clients.to(clients.regions.get), region=region)
        except MissingError as e:
            raise ConfigError(f"-P region={region}: no such region: {e}") from e
        cpus = [
            f", {quota.usage:.0f} of {quota.limit:.0f} CPUs in use" for quota in found.quotas if quota.metric == "CPUS"
        ]
        return f"{clients.who}, project {clients.project} in {region}{''.join(cpus[:1])}"

    def _check_permissions(self) -> None:
        wanted = set(yaml.safe_load(ROLE.read_text(encoding="utf-8"))["includedPermissions"])
        if self.options.network_tags:
            wanted -= _ONLY_FOR_RULES
        missing = wanted - self.call(self._clients.granted, sorted(wanted))
        if missing:
            raise ConfigError(
                f"platform gcp: {self._clients.who} lacks permissions in project {self._clients.project}: "
                f"{', '.join(sorted(missing))}; platforms/gcp/role.yaml is a role that has all"
            )

    def check_image(self, reference: str) -> None:
        """See that an image, or an image of that family, exists for this architecture."""
        wanted = Reference.parse(reference, self._clients.project)
        try:
            found = self.call(self._image, wanted)
        except PlatformError as e:
            raise ConfigError(f"--image cloud:{reference}: {e}") from e
        if (arch := found.architecture or "X86_64") != ARCHITECTURES[self.arch.name]:
            raise ConfigError(f"--image cloud:{reference}: is for {arch}, the run is for {self.arch.name}")

    def _image(self, wanted: Reference) -> Any:
        images = self._clients.images
        if wanted.family:
            return self._clients.ask(images.get_from_family, project=wanted.project, family=wanted.name)
        return self._clients.ask(images.get, project=wanted.project, image=wanted.name)

    def set_up(self, tags: Tags) -> None:
        """Make the firewall rules of the run, unless the user says by which tags of his they are reached."""
        if self.options.network_tags:
            return
        clients = self._clients
        for rule in request.rules(tags, self.options):
            clients.make(self.call, clients.firewalls.insert_unary, new_token(), partial(_asked_for, rule))

    # -- images and objects ------------------------------------------------------------------------------------------

    def recipe(self, image: Image) -> str:  # noqa: ARG002
        """Return what beside its content decides what an image is like."""
        arch = ARCHITECTURES[self.arch.name]
        return f"gcp 1 {arch} {' '.join(FEATURES[arch])}"

    def find_image(self, digest: str) -> str | None:
        """Return our own image of that content."""
        wanted = f"labels.kola-digest={digest} AND labels.kola-owner={self._tags('').owner}"
        listed = self._clients.ask(self._clients.images.list, filter=wanted)
        ready = [image.name for image in listed if image.status == "READY"]
        return str(Reference(self._clients.project, ready[0])) if ready else None

    def publish(self, image: Image, name: str, tags: Tags) -> str:
        """Upload a disk and make an image of it."""
        publisher = Publisher(self._clients, self._store, self.call, self.progress)
        return publisher.publish(image, name, tags, self.arch.name, self.context.scratch)

    def retag_image(self, reference: str, tags: Tags) -> None:
        """Label an image anew."""
        images, name = self._clients.images, Reference.parse(reference, self._clients.project).name
        found = self._clients.ask(images.get, image=name)
        labels = {"labels": {**found.labels, **tags.as_labels()}, "label_fingerprint": found.label_fingerprint}
        wanted = {"resource": name, "global_set_labels_request_resource": labels}
        self._clients.finish(self._clients.ask(images.set_labels_unary, **wanted))

    def put(self, name: str, data: bytes, tags: Tags) -> str:  # noqa: ARG002 - its tags say it
        """Store a config; only who knows the URL, which is signed, reads it."""
        if not isinstance(self._clients.credentials, Signing):
            raise ConfigError(
                f"the Ignition config is larger than {self.user_data_limit} bytes, and {self._clients.who} cannot sign "
                "a URL for it: use the credentials of a service account, see docs/gcp.md"
            )
        self._store.ready()
        blob = self._store.blob(tags, _CONFIG)
        blob.upload_from_string(data, content_type="application/gzip", retry=None, timeout=SECONDS)
        where = {"api_access_endpoint": self.options.endpoint} if self.options.endpoint else {}
        return str(blob.generate_signed_url(version="v4", method="GET", expiration=_URL_LIFETIME, **where))

    def discard(self, name: str) -> None:
        """Delete the config of a machine."""
        self._store.delete(object_name(self._tags(name), _CONFIG))

    # -- machines ----------------------------------------------------------------------------------------------------

    def zones(self, kind: InstanceType) -> Sequence[str]:
        """Return the zones of the region that offer a type; asked once."""
        if kind.name not in self._offered:
            offered = self._clients.ask(self._clients.machine_types.aggregated_list, filter=f"name={kind.name}")
            zones = [scope.removeprefix("zones/") for scope, found in offered if found.machine_types]
            self._offered[kind.name] = [zone for zone in zones if zone.rpartition("-")[0] == self.options.region]
        return self._offered[kind.name]

    def create(self, order: Order) -> str:
        """Make one instance, and wait until Google has it or says why not.

        Each operation has a name of its own for it: what is left of one that failed may still be there.
        """
        clients = self._clients

        def wanted(token: str) -> dict[str, Any]:
            name = request.resource_name(order.name, token)
            return {"zone": order.zone, "instance_resource": request.instance(order, name, self.options)}

        token = clients.make(self.call, clients.instances.insert_unary, order.token, wanted)
        return f"{order.zone}/{request.resource_name(order.name, token)}"

    def terminate(self, machine: str) -> None:
        """Delete it; its disks go with it."""
        self._resources.delete_instance(machine)

    def stop(self, machine: str) -> None:
        """Stop it; Compute Engine asks its system first, and waits up to 90 seconds."""
        self._act(self._clients.instances.stop_unary, machine)

    def start(self, machine: str) -> None:
        """Start it again."""
        self._act(self._clients.instances.start_unary, machine)

    def power_cycle(self, machine: str, name: str) -> str:
        """Reset it: that asks nobody. What does not run cannot be reset, but started."""
        self._states.expect(machine)  # what was known of it may be older than its end
        if self.state_of(machine).phase is not Phase.RUNNING:
            return super().power_cycle(machine, name)
        self.call(self._act, self._clients.instances.reset_unary, machine)
        self._states.expect(machine)
        return self._address(self._await(machine, name, Phase.RUNNING))

    def _act(self, method: Any, machine: str) -> None:
        zone, name = machine.split("/")
        self._clients.finish(self._clients.ask(method, zone=zone, instance=name))

    def states(self) -> Mapping[str, State]:
        """Return the states of this process's instances."""
        mine = self._tags("")
        found = self._resources.instances(f"labels.kola-run={mine.run} AND labels.kola-worker={mine.worker}")
        return {name: _state(one) for name, one in found}

    def read_console(self, machine: str) -> str:
        """Return the last MiB."""
        zone, name = machine.split("/")
        instances = self._clients.instances
        output = self._clients.ask(instances.get_serial_port_output, zone=zone, instance=name, port=1)
        return str(output.contents)

    def kinds(self) -> Sequence[Kind]:
        """Return what may be left, in the order in which it can go."""
        return self._resources.kinds()

    def _tags(self, name: str) -> Tags:
        return Tags.of(self.context, now=0, ttl=0, name=name)


def _asked_for(rule: dict[str, Any], _token: str) -> dict[str, Any]:
    return {"firewall_resource": rule}


def _state(instance: Any) -> State:
    private = public = ""
    for interface in instance.network_interfaces:
        private = private or interface.network_i_p
        for access in interface.access_configs:
            public = public or access.nat_i_p
    return State(_PHASES.get(instance.status, Phase.PENDING), public, private, instance.status_message)
