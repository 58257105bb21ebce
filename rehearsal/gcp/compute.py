"""Compute Engine: images, instances with their disks, firewall rules. Methods are named as the calls."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from typing import TYPE_CHECKING, Any

from rehearsal.gcp import disks, metadata
from rehearsal.gcp.answers import Failure, answer, required
from rehearsal.gcp.catalogue import (
    DISK_TYPES,
    FEATURES,
    TYPES,
    ZONES,
    check_labels,
    check_name,
    matcher,
)
from rehearsal.gcp.identity import PROJECT
from rehearsal.gcp.operations import URL, Operations

if TYPE_CHECKING:
    from collections.abc import Iterable

    from werkzeug import Request, Response

    from rehearsal.gcp.storage import Storage
    from rehearsal.host import CloudHost, Machine

USER_DATA_LIMIT = 262144
_PAGE = 100
_STORE = "https://storage.googleapis.com/"


class Compute:
    """The state of one project.

    Args:
        host: has the machines.
        storage: has the disks that images are made of.
    """

    def __init__(self, host: CloudHost, storage: Storage) -> None:
        self._host = host
        self._storage = storage
        self._numbers = itertools.count(7_000_000_000_000_000_000)
        self.operations = Operations()
        self.images: dict[str, dict[str, Any]] = {}
        self.instances: dict[str, dict[str, Any]] = {}
        self.disks: dict[str, dict[str, Any]] = {}
        self.firewalls: dict[str, dict[str, Any]] = {}

    # -- what is there from the beginning ----------------------------------------------------------------------------

    def projects_get(self, _request: Request) -> Response:
        """Return the project."""
        return answer({"kind": "compute#project", "name": PROJECT, "id": "1"})

    def regions_get(self, _request: Request, region: str) -> Response:
        """Return a region with its quotas."""
        _known(region, {zone.rpartition("-")[0]: {} for zone in ZONES}, "regions")
        used = sum(TYPES[_last(one["machineType"])][0] for one in self.instances.values())
        return answer({"name": region, "quotas": [{"metric": "CPUS", "limit": 2400.0, "usage": float(used)}]})

    def machineTypes_aggregatedList(self, request: Request) -> Response:  # noqa: N802 - Google's name
        """List machine types by zone; the largest are not everywhere."""
        found = [
            (zone, {"name": name, "guestCpus": vcpus, "memoryMb": memory})
            for zone, (name, (vcpus, memory)) in itertools.product(ZONES, TYPES.items())
            if vcpus < 8 or zone.endswith("-b")  # noqa: PLR2004
        ]
        return _aggregated(request, "machineTypes", found)

    # -- images ------------------------------------------------------------------------------------------------------

    def offer(self, image: str, name: str, family: str) -> str:
        """Publish an image of the host."""
        path = f"projects/{PROJECT}/global/images/{name}"
        self._host.images[path] = self._host.images[image]
        arch = {"x86_64": "X86_64", "aarch64": "ARM64"}[self._host.arch.name]
        self.images[name] = {"name": name, "family": family, "status": "READY", "architecture": arch, "published": True}
        return path

    def images_get(self, _request: Request, image: str) -> Response:
        """Return an image."""
        return answer(self._described(_known(image, self.images, "images")))

    def images_getFromFamily(self, _request: Request, family: str) -> Response:  # noqa: N802 - Google's name
        """Return the newest image of a family."""
        found = [one for one in self.images.values() if one.get("family") == family]
        if not found:
            raise Failure(
                404, "notFound", f"The resource 'projects/{PROJECT}/global/images/family/{family}' was not found"
            )
        return answer(self._described(found[-1]))

    def images_list(self, request: Request) -> Response:
        """List images."""
        return _listed(request, [self._described(one) for one in self.images.values()])

    def images_insert(self, request: Request) -> Response:
        """Make an image of an object, which must be as Google wants it."""
        given = request.get_json()
        name, source = required(given, "name", "rawDisk.source")
        check_name(name)
        check_labels(given.get("labels", {}))
        if strange := {one.get("type") for one in given.get("guestOsFeatures", ())} - FEATURES:
            raise Failure(400, "invalid", f"Invalid value for field 'resource.guestOsFeatures': '{strange}'")

        def work() -> None:
            _new(name, self.images, "images")
            bucket, _, key = source.removeprefix(_STORE).partition("/")
            stored = self._storage.object(bucket, key) if source.startswith(_STORE) else None
            if stored is None:
                raise Failure(400, "invalid", f"Invalid value for field 'resource.rawDisk.source': '{source}'")
            path = f"projects/{PROJECT}/global/images/{name}"
            size = disks.unpack(stored.path, self._host, path)
            self.images[name] = {**given, "status": "READY", "diskSizeGb": str(size >> 30), "id": self._number()}

        def rest() -> None:
            self.images[name] = {**given, "status": "FAILED", "id": self._number()}

        return self.operations.run(request, "insert", "", work, rest)

    def images_delete(self, request: Request, image: str) -> Response:
        """Delete an image."""
        return self.operations.run(request, "delete", "", lambda: self.images.pop(_own(image, self.images)))

    def images_setLabels(self, request: Request, image: str) -> Response:  # noqa: N802 - Google's name
        """Give an image other labels, if nobody else did since."""
        given = request.get_json()
        labels, fingerprint = required(given, "labels", "labelFingerprint")
        found = _known(image, self.images, "images")
        if fingerprint != _fingerprint(found):
            raise Failure(412, "conditionNotMet", "Labels fingerprint either invalid or resource labels have changed")
        return self.operations.run(request, "setLabels", "", lambda: found.update(labels=check_labels(labels)))

    @staticmethod
    def _described(image: dict[str, Any]) -> dict[str, Any]:
        return {**image, "labelFingerprint": _fingerprint(image)}

    # -- instances ---------------------------------------------------------------------------------------------------

    def instances_insert(self, request: Request, zone: str) -> Response:
        """Make an instance and its disks."""
        given = request.get_json()
        name, kind = required(given, "name", "machineType", "disks", "networkInterfaces")[:2]
        self._check_instance(given, zone)

        def work() -> None:
            where = f"{zone}/{name}"
            _new(where, self.instances, "instances")
            boot, *extra = [disk["initializeParams"] for disk in given["disks"]]
            source = boot["sourceImage"]
            if source not in self._host.images or _last(source) not in self.images:
                raise Failure(404, "notFound", f"The resource '{source}' was not found")
            vcpus, memory = TYPES[_last(kind)]
            number = self._number()
            tags = {"id": number, "name": name, "zone": zone, "type": _last(kind), "project": PROJECT}
            self._host.create(
                where.replace("/", "."),
                source,
                user_data=_attribute(given, "user-data"),
                memory_mib=memory,
                vcpus=vcpus,
                metadata=metadata.answer,
                disk_gib=int(boot["diskSizeGb"]) if "diskSizeGb" in boot else None,
                extra_gib=[int(disk["diskSizeGb"]) for disk in extra],
                tags=tags,
            )
            self.instances[where] = {**given, "id": number, "zone": f"{URL}projects/{PROJECT}/zones/{zone}"}
            for index, disk in enumerate([boot, *extra]):
                disk_name = name if index == 0 else f"{name}-{index}"
                labels = check_labels(disk.get("labels", {}))
                self.disks[f"{zone}/{disk_name}"] = {"name": disk_name, "labels": labels, "users": [where]}

        return self.operations.run(request, "insert", f"projects/{PROJECT}/zones/{zone}", work)

    def _check_instance(self, given: dict[str, Any], zone: str) -> None:
        check_name(given["name"])
        check_labels(given.get("labels", {}))
        _known(zone, {each: {} for each in ZONES}, "zones")
        kind = given["machineType"]
        if _last(kind) not in TYPES or f"zones/{zone}/machineTypes/" not in kind:
            raise Failure(400, "invalid", f"Invalid value for field 'resource.machineType': '{kind}'")
        for index, disk in enumerate(given["disks"]):
            wanted = required(disk, "initializeParams")[0]
            required(wanted, "diskSizeGb" if index else "sourceImage")
            if _last(wanted.get("diskType", DISK_TYPES[0])) not in DISK_TYPES or bool(disk.get("boot")) != (index == 0):
                raise Failure(400, "invalid", f"Invalid value for field 'resource.disks[{index}]'")
        if len(_attribute(given, "user-data")) > USER_DATA_LIMIT:
            raise Failure(400, "invalid", "Metadata value is too large")
        for interface in given["networkInterfaces"]:
            if interface.get("network", "global/networks/default") != "global/networks/default":
                raise Failure(404, "notFound", f"The resource '{interface['network']}' was not found")
        scheduling, shielded = given.get("scheduling", {}), given.get("shieldedInstanceConfig", {})
        wrong = {
            "scheduling.instanceTerminationAction": "maxRunDuration" in scheduling
            and "instanceTerminationAction" not in scheduling,
            "scheduling.automaticRestart": scheduling.get("provisioningModel") == "SPOT"
            and scheduling.get("automaticRestart", True),
            "scheduling.onHostMaintenance": "confidentialInstanceConfig" in given
            and scheduling.get("onHostMaintenance") != "TERMINATE",
            "advancedMachineFeatures": "advancedMachineFeatures" in given and _last(kind).startswith("e2"),
            "shieldedInstanceConfig": shielded.get("enableIntegrityMonitoring", False)
            and not shielded.get("enableVtpm", False),
        }
        for field in (field for field, bad in wrong.items() if bad):
            raise Failure(400, "invalid", f"Invalid value for field 'resource.{field}'")

    def instances_aggregatedList(self, request: Request) -> Response:  # noqa: N802 - Google's name
        """List instances, in the states that their machines are in."""
        found = [(where.split("/")[0], self._shown(where, one)) for where, one in sorted(self.instances.items())]
        return _aggregated(request, "instances", found)

    def instances_delete(self, request: Request, zone: str, instance: str) -> Response:
        """Delete an instance, and the disks that go with it."""

        def work() -> None:
            where = f"{zone}/{instance}"
            gone = self.instances.pop(_own(where, self.instances))
            self._host.delete(where.replace("/", "."))
            for disk, kept in zip(self._disks_of(where), gone["disks"], strict=True):
                if kept.get("autoDelete"):
                    del self.disks[disk]

        return self.operations.run(request, "delete", f"projects/{PROJECT}/zones/{zone}", work)

    def instances_stop(self, request: Request, zone: str, instance: str) -> Response:
        """Cut the power."""
        return self._power(request, zone, instance, "stop")

    def instances_start(self, request: Request, zone: str, instance: str) -> Response:
        """Switch the power on."""
        return self._power(request, zone, instance, "start")

    def instances_reset(self, request: Request, zone: str, instance: str) -> Response:
        """Reset a machine that runs."""
        where = f"{zone}/{instance}"
        if self._machine(_own(where, self.instances)).state != "on":
            raise Failure(400, "resourceNotReady", f"The resource '{where}' is not ready")
        return self._power(request, zone, instance, "reboot")

    def instances_getSerialPortOutput(self, request: Request, zone: str, instance: str) -> Response:  # noqa: N802
        """Return the last MiB of the console."""
        where = _own(f"{zone}/{instance}", self.instances)
        if request.args.get("port", "1") != "1":
            raise Failure(400, "invalid", "Invalid value for field 'port'")
        text = self._machine(where).console()[-(1 << 20) :]
        return answer({"kind": "compute#serialPortOutput", "contents": text, "start": "0", "next": str(len(text))})

    def _power(self, request: Request, zone: str, instance: str, what: str) -> Response:
        where = _own(f"{zone}/{instance}", self.instances)
        act = getattr(self._host, what)
        kind = {"reboot": "reset"}.get(what, what)
        zone_path = f"projects/{PROJECT}/zones/{zone}"
        return self.operations.run(request, kind, zone_path, lambda: act(where.replace("/", ".")))

    def _machine(self, where: str) -> Machine:
        return self._host.machines[where.replace("/", ".")]

    def _shown(self, where: str, instance: dict[str, Any]) -> dict[str, Any]:
        machine = self._machine(where)
        interface: dict[str, Any] = {"name": "nic0", "networkIP": machine.address}
        if instance["networkInterfaces"][0].get("accessConfigs"):
            interface["accessConfigs"] = [{"name": "External NAT", "natIP": machine.address}]
        status = "STAGING" if machine.pending else "RUNNING" if machine.running else "TERMINATED"
        return {**instance, "status": status, "networkInterfaces": [interface]}

    # -- disks and firewall rules ------------------------------------------------------------------------------------

    def _disks_of(self, where: str) -> list[str]:
        return [disk for disk, one in self.disks.items() if where in one["users"]]

    def disks_aggregatedList(self, request: Request) -> Response:  # noqa: N802 - Google's name
        """List disks."""
        return _aggregated(request, "disks", [(disk.split("/")[0], one) for disk, one in sorted(self.disks.items())])

    def disks_delete(self, request: Request, zone: str, disk: str) -> Response:
        """Delete a disk that nobody uses."""
        where = _own(f"{zone}/{disk}", self.disks)
        if any(user in self.instances for user in self.disks[where]["users"]):
            raise Failure(400, "resourceInUseByAnotherResource", f"The disk resource '{where}' is already being used")
        return self.operations.run(request, "delete", f"projects/{PROJECT}/zones/{zone}", lambda: self.disks.pop(where))

    def firewalls_insert(self, request: Request) -> Response:
        """Make a rule."""
        given = request.get_json()
        (name,) = required(given, "name", "network", "allowed")[:1]
        check_name(name)
        if not (given.get("sourceRanges") or given.get("sourceTags")) or len(given.get("description", "")) > 2048:  # noqa: PLR2004
            raise Failure(400, "invalid", "Invalid value for field 'resource'")

        def work() -> None:
            _new(name, self.firewalls, "firewalls")
            self.firewalls[name] = given

        return self.operations.run(request, "insert", "", work)

    def firewalls_list(self, request: Request) -> Response:
        """List rules."""
        return _listed(request, list(self.firewalls.values()))

    def firewalls_delete(self, request: Request, firewall: str) -> Response:
        """Delete a rule."""
        return self.operations.run(request, "delete", "", lambda: self.firewalls.pop(_own(firewall, self.firewalls)))

    # -- operations --------------------------------------------------------------------------------------------------

    def zoneOperations_wait(self, _request: Request, zone: str, operation: str) -> Response:  # noqa: N802
        """Wait for what goes on in a zone."""
        return self.operations.wait(operation, f"projects/{PROJECT}/zones/{zone}")

    def globalOperations_wait(self, _request: Request, operation: str) -> Response:  # noqa: N802 - Google's name
        """Wait for what goes on in no zone."""
        return self.operations.wait(operation, "")

    def _number(self) -> str:
        return str(next(self._numbers))


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _own(name: str, resources: dict[str, Any]) -> str:
    _known(name, resources, "resources")
    return name


def _known(name: str, resources: dict[str, Any], kind: str) -> dict[str, Any]:
    if name not in resources:
        raise Failure(404, "notFound", f"The resource 'projects/{PROJECT}/{kind}/{name}' was not found")
    found: dict[str, Any] = resources[name]
    return found


def _new(name: str, resources: dict[str, Any], kind: str) -> None:
    if name in resources:
        raise Failure(409, "alreadyExists", f"The resource 'projects/{PROJECT}/{kind}/{name}' already exists")


def _attribute(instance: dict[str, Any], key: str) -> bytes:
    items = instance.get("metadata", {}).get("items", ())
    return next((str(item["value"]).encode() for item in items if item["key"] == key), b"")


def _fingerprint(resource: dict[str, Any]) -> str:
    text = json.dumps(resource.get("labels", {}), sort_keys=True).encode()
    return base64.b64encode(hashlib.sha256(text).digest()[:8]).decode()


def _page(request: Request, items: list[Any]) -> tuple[list[Any], dict[str, str]]:
    first = int(request.args.get("pageToken", "0"))
    last = first + min(int(request.args.get("maxResults", _PAGE)), _PAGE)
    return items[first:last], {"nextPageToken": str(last)} if last < len(items) else {}


def _listed(request: Request, items: list[dict[str, Any]]) -> Response:
    matches = matcher(request.args.get("filter", ""))
    found, more = _page(request, [item for item in items if matches(item)])
    return answer({**({"items": found} if found else {}), **more})


def _aggregated(request: Request, kind: str, items: Iterable[tuple[str, dict[str, Any]]]) -> Response:
    matches = matcher(request.args.get("filter", ""))
    found, more = _page(request, [(zone, item) for zone, item in items if matches(item)])
    scopes: dict[str, dict[str, Any]] = {
        f"zones/{zone}": {"warning": {"code": "NO_RESULTS_ON_PAGE", "message": "There are no results for this scope."}}
        for zone in ZONES
    }
    for zone, item in found:
        scope = scopes[f"zones/{zone}"]
        scope.pop("warning", None)
        scope.setdefault(kind, []).append(item)
    return answer({"items": scopes, **more})
