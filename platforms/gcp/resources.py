"""Everything that the driver makes on Google Cloud, as a sweep finds and deletes it.

Addresses are not among it: those of machines are theirs, and go with them. Nor are snapshots: none are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kola.cloud.sweep import Found, Kind
from kola.cloud.tags import Tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from platforms.gcp.clients import Clients
    from platforms.gcp.images import Store

_OURS = "labels.kola-run:*"


class Resources:
    """The kinds, in the order in which they can be deleted. Ids of what is in a zone are ``ZONE/NAME``.

    Args:
        clients: of the project.
        store: where objects are.
    """

    def __init__(self, clients: Clients, store: Store) -> None:
        self._clients = clients
        self._store = store

    def kinds(self) -> list[Kind]:
        """Return them."""
        return [
            Kind("instance", self._instances, self.delete_instance, self._not_gone),
            Kind("disk", self._disks, self._delete_disk),
            Kind("image", self._images, self._delete_image),
            Kind("firewall rule", self._firewalls, self._delete_firewall),
            Kind("object", self._objects, self._store.delete),
        ]

    def instances(self, where: str) -> Iterator[tuple[str, Any]]:
        """Yield id and instance of all that a filter matches, in all zones."""
        return self._zonal(self._clients.instances.aggregated_list, "instances", where)

    def delete_instance(self, machine: str) -> None:
        """Begin to delete an instance, and its disks with it."""
        zone, name = machine.split("/")
        self._clients.ask(self._clients.instances.delete_unary, zone=zone, instance=name)

    # -- finding -----------------------------------------------------------------------------------------------------

    def _zonal(self, method: Any, kind: str, where: str) -> Iterator[tuple[str, Any]]:
        for scope, found in self._clients.ask(method, filter=where):
            for one in getattr(found, kind):
                yield f"{scope.removeprefix('zones/')}/{one.name}", one

    def _tagged(self, found: Iterable[tuple[str, Any]]) -> Iterator[Found]:
        for name, one in found:
            if tags := Tags.from_labels(one.labels):
                yield Found(name, tags)

    def _instances(self) -> Iterator[Found]:
        return self._tagged(self.instances(_OURS))

    def _not_gone(self, ids: Sequence[str]) -> Iterable[str]:
        return {name for name, _ in self.instances(_OURS)} & set(ids)

    def _disks(self) -> Iterator[Found]:
        return self._tagged(self._zonal(self._clients.disks.aggregated_list, "disks", _OURS))

    def _images(self) -> Iterator[Found]:
        listed = self._clients.ask(self._clients.images.list, filter=_OURS)
        return self._tagged((image.name, image) for image in listed if image.status != "DELETING")

    def _firewalls(self) -> Iterator[Found]:
        """Yield rules by their description: they have no labels."""
        for rule in self._clients.ask(self._clients.firewalls.list):
            if tags := Tags.from_text(rule.description):
                yield Found(rule.name, tags)

    def _objects(self) -> Iterator[Found]:
        for blob in self._store.objects():
            if tags := Tags.from_labels(blob.metadata or {}):
                yield Found(blob.name, tags)

    # -- deleting ----------------------------------------------------------------------------------------------------

    def _delete_disk(self, disk: str) -> None:
        zone, name = disk.split("/")
        self._clients.finish(self._clients.ask(self._clients.disks.delete_unary, zone=zone, disk=name))

    def _delete_image(self, name: str) -> None:
        self._clients.finish(self._clients.ask(self._clients.images.delete_unary, image=name))

    def _delete_firewall(self, name: str) -> None:
        self._clients.finish(self._clients.ask(self._clients.firewalls.delete_unary, firewall=name))
