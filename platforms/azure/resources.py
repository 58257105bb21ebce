"""Everything that the driver makes on Azure, as a sweep finds and deletes it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from kola.cloud.sweep import Found, Kind
from kola.cloud.tags import Tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from platforms.azure.clients import Clients

_TYPES_AT = 7
"""Where in an id, split at its slashes, the types and names are, in turns: ``.../Microsoft.Network/type/NAME``."""
_GROUP_AT = 4


def names_in(resource: str) -> list[str]:
    """Return the resource group in an id, and then the names of the resource and those around it, outermost first."""
    parts = resource.split("/")
    return [parts[_GROUP_AT], *parts[_TYPES_AT + 1 :: 2]]


class Resources:
    """The kinds, in the order in which they can be deleted.

    Args:
        clients: of the subscription.
        group: the one resource group to look in, which belongs to somebody else; empty: all of the subscription.
    """

    def __init__(self, clients: Clients, group: str) -> None:
        self._clients, self._group = clients, group

    def kinds(self) -> list[Kind]:
        """Return them."""
        compute, network, storage = self._clients.compute, self._clients.network, self._clients.storage
        machines, versions = compute.virtual_machines, compute.gallery_image_versions
        kinds = [
            self._kind("virtual machine", self.machines, partial(machines.begin_delete, force_deletion=True)),
            self._network_kind("network interface", network.network_interfaces),
            self._network_kind("public IP address", network.public_ip_addresses),
            self._kind("disk", self._disks, compute.disks.begin_delete),
            self._network_kind("virtual network", network.virtual_networks),
            self._network_kind("network security group", network.network_security_groups),
            self._kind("image version", self._versions, versions.begin_delete),
            self._kind("image definition", self._definitions, compute.gallery_images.begin_delete),
            self._kind("image gallery", self.galleries, compute.galleries.begin_delete),
            Kind(
                "storage account",
                partial(self._found, self._accounts),
                lambda one: storage.storage_accounts.delete(*names_in(one)),
            ),
        ]
        if not self._group:
            groups = self._clients.groups.resource_groups
            kinds.append(
                Kind(
                    "resource group",
                    partial(self._found, groups.list),
                    lambda one: groups.begin_delete(one.split("/")[_GROUP_AT], polling=False),
                )
            )
        return kinds

    def machines(self) -> Iterable[Any]:
        """List machines."""
        return self._listed(self._clients.compute.virtual_machines, "list_all", "list")

    def galleries(self) -> Iterable[Any]:
        """List galleries."""
        return self._listed(self._clients.compute.galleries, "list", "list_by_resource_group")

    # -- finding -----------------------------------------------------------------------------------------------------

    def _listed(self, operations: Any, of_all: str, of_group: str) -> Iterable[Any]:
        found: Iterable[Any] = (
            getattr(operations, of_group)(self._group) if self._group else getattr(operations, of_all)()
        )
        return found

    def _disks(self) -> Iterable[Any]:
        return self._listed(self._clients.compute.disks, "list", "list_by_resource_group")

    def _accounts(self) -> Iterable[Any]:
        return self._listed(self._clients.storage.storage_accounts, "list", "list_by_resource_group")

    def _definitions(self) -> Iterator[Any]:
        for gallery in self.galleries():
            if Tags.from_labels(gallery.tags or {}):
                for one in self._clients.compute.gallery_images.list_by_gallery(*names_in(gallery.id)):
                    one.tags = gallery.tags  # they decide for all that is in it
                    yield one

    def _versions(self) -> Iterator[Any]:
        for definition in self._definitions():
            for one in self._clients.compute.gallery_image_versions.list_by_gallery_image(*names_in(definition.id)):
                one.tags = definition.tags
                yield one

    def _network_kind(self, name: str, operations: Any) -> Kind:
        return self._kind(name, lambda: self._listed(operations, "list_all", "list"), operations.begin_delete)

    def _kind(self, name: str, listed: Callable[[], Iterable[Any]], delete: Callable[..., object]) -> Kind:
        """Return a kind whose deletion takes a while and is waited for: others stand on it."""

        def remaining(ids: Sequence[str]) -> set[str]:
            return {str(one.id).lower() for one in listed()} & set(ids)

        return Kind(
            name, partial(self._found, listed), lambda one: delete(*names_in(one), polling=False), remaining
        )  # fmt: skip

    @staticmethod
    def _found(listed: Callable[[], Iterable[Any]]) -> Iterator[Found]:
        for one in listed():
            tags = Tags.from_labels(one.tags or {})
            state = getattr(one, "provisioning_state", None) or getattr(one.properties, "provisioning_state", None)
            if tags is not None and state != "Deleting":
                yield Found(str(one.id).lower(), tags)
