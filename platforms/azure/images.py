"""From a disk image on this host to a version in a gallery: sent as a VHD and registered; ids of images."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kola.cloud.disks import as_raw
from kola.errors import ConfigError, PlatformError, WaitTimeout
from kola.retry import MissingError
from kola.wait import Deadline, wait_until
from platforms.azure import storage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kola.cloud.tags import Tags
    from kola.imagefile import Progress
    from kola.images import Image
    from kola.retry import Caller
    from platforms.azure.clients import Clients
    from platforms.azure.options import Options

REPLICATION_SECONDS = 3600.0
ARCHITECTURES = {"x86_64": "x64", "aarch64": "Arm64"}
FORMS = (
    "the id of an image in Azure, /subscriptions/ID/resourceGroups/GROUP/providers/Microsoft.Compute/ and "
    "images/NAME or galleries/GALLERY/images/NAME/versions/VERSION"
)
_DEFINITION, _VERSION = "image", "1.0.0"
_ID = re.compile(
    r"/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.Compute/"
    r"(?:images/([^/]+)|galleries/([^/]+)/images/([^/]+)/versions/([^/]+))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Reference:
    """What an image's id says.

    Attributes:
        subscription: id.
        names: of the resource group, and of a managed image, or of gallery, image and version.
    """

    subscription: str
    names: tuple[str, ...]


def parse(reference: str) -> Reference:
    """Take the id of an image apart.

    Raises:
        ConfigError: it is none.
    """
    found = _ID.fullmatch(reference)
    if found is None:
        raise ConfigError(f"--image cloud:{reference}: expected {FORMS}")
    subscription, *names = (part for part in found.groups() if part is not None)
    return Reference(subscription, tuple(names))


def check(clients: Clients, call: Caller, reference: str, location: str, arch: str) -> None:
    """See that an image exists in a location, for an architecture.

    Raises:
        ConfigError: it does not.
    """
    where = f"--image cloud:{reference}"
    named = parse(reference)
    if named.subscription.lower() != clients.subscription.lower():
        return  # of another subscription only the machine's creation tells
    compute = clients.compute
    try:
        if len(named.names) == 2:  # noqa: PLR2004 - group and managed image
            places = [call(compute.images.get, *named.names).location]
            found_arch = "x64"  # managed images are for nothing else
        else:
            version = call(compute.gallery_image_versions.get, *named.names)
            places = [region.name for region in version.publishing_profile.target_regions]
            found_arch = call(compute.gallery_images.get, *named.names[:-1]).architecture or "x64"
    except PlatformError as e:
        raise ConfigError(f"{where}: {e}") from e
    if location not in {_plain(place) for place in places}:
        raise ConfigError(f"{where}: is not in {location} but in {', '.join(places)}")
    if str(getattr(found_arch, "value", found_arch)) != ARCHITECTURES[arch]:
        raise ConfigError(f"{where}: is for another architecture than {arch}")


def recipe(arch: str, location: str) -> str:
    """Return what beside its content decides what an image is like."""
    return f"azure 1 {arch} {location}"


def find(clients: Clients, tags: Mapping[str, str], galleries: Any) -> str | None:
    """Return the finished image with these tags among these galleries."""
    for gallery in galleries:
        if tags.items() <= (gallery.tags or {}).items():
            names = (group_of(gallery.id), gallery.name, _DEFINITION)
            for version in clients.compute.gallery_image_versions.list_by_gallery_image(*names):
                if version.provisioning_state == "Succeeded":
                    return str(version.id)
    return None


def group_of(resource: str) -> str:
    """Return the resource group in an id."""
    return resource.split("/")[4]


def _plain(location: str) -> str:
    """Return a location's name; Azure also says ``West Europe``."""
    return location.replace(" ", "").lower()


class Publisher:
    """Makes versions of images.

    Args:
        clients: of the subscription.
        options: of the platform.
        call: tries again.
        location: where they are.
        group: where everything goes.
    """

    interval = 5.0
    """Seconds between two looks at a version that is being made."""
    progress: Progress | None = None
    """Told of long steps: ``(what, done, in all)``."""

    def __init__(self, clients: Clients, options: Options, call: Caller, location: str, group: str) -> None:
        self._clients = clients
        self._options = options
        self._call = call
        self._location = location
        self._group = group

    def publish(self, image: Image, name: str, tags: Tags, arch: str, scratch: Path) -> str:
        """Upload an image and register it; what was needed on the way is gone afterwards.

        Raises:
            ConfigError: the image cannot be converted.
            PlatformError: a step failed; what it left carries the tags.
        """
        clients, group = self._clients, self._group
        account_name = storage.account_name(clients.subscription, group, name)
        account = self._call.fresh(storage.make_account, clients, group, account_name, self._location, tags)
        blob = account.blob(f"{name}.vhd")
        with as_raw(image, scratch, keep=("raw", "vhd")) as disk:
            storage.upload_disk(blob, disk, image.sha256, self._call, self.progress)
        version = self._register(name, tags, arch, account.id, blob.url)
        with contextlib.suppress(MissingError):
            self._call(clients.storage.storage_accounts.delete, group, account_name)
        return version

    def _register(self, name: str, tags: Tags, arch: str, account: str, url: str) -> str:
        compute, group, gallery = self._clients.compute, self._group, name.replace("-", "_")
        common = {"location": self._location, "tags": tags.as_labels()}

        def make_gallery() -> None:
            compute.galleries.begin_create_or_update(group, gallery, {**common, "properties": {}}).result()

        def make_definition() -> None:
            compute.gallery_images.begin_create_or_update(
                group, gallery, _DEFINITION, {**common, "properties": _definition(name, arch)}
            ).result()

        def make_version() -> None:
            compute.gallery_image_versions.begin_create_or_update(
                group, gallery, _DEFINITION, _VERSION,
                {**common, "properties": _version(self._location, account, url)}, polling=False,
            )  # fmt: skip

        self._call.fresh(make_gallery)
        self._call.fresh(make_definition)
        self._call.fresh(make_version)
        return self._finished(gallery)

    def _finished(self, gallery: str) -> str:
        """Wait until the version is made, which takes minutes, and return its id."""
        get = self._clients.compute.gallery_image_versions.get

        def look() -> str:
            found = self._call.fresh(get, self._group, gallery, _DEFINITION, _VERSION, expand="ReplicationStatus")
            regions = (found.replication_status.summary or ()) if found.replication_status else ()
            if found.provisioning_state in {"Failed", "Canceled"}:
                details = "; ".join(region.details for region in regions if region.details)
                raise PlatformError(f"Azure cannot make the image: {details or found.provisioning_state}")
            if self.progress is not None and regions:
                self.progress("making the image version", int(regions[0].progress or 0), 100)
            return str(found.id) if found.provisioning_state == "Succeeded" else ""

        limit = Deadline(REPLICATION_SECONDS * self._options.slowness)
        try:
            return wait_until(look, limit, what="the image version", interval=self.interval)
        except WaitTimeout as e:
            raise PlatformError(str(e)) from e


def _definition(name: str, arch: str) -> dict[str, Any]:
    trusted = [{"name": "SecurityType", "value": "TrustedLaunchSupported"}] if arch == "x86_64" else []
    return {
        "osType": "Linux",
        "osState": "Generalized",
        "hyperVGeneration": "V2",
        "architecture": ARCHITECTURES[arch],
        "identifier": {"publisher": "kola", "offer": "kola", "sku": name},
        "features": trusted,
    }


def _version(location: str, account: str, url: str) -> dict[str, Any]:
    return {
        "publishingProfile": {
            "targetRegions": [
                {"name": location, "regionalReplicaCount": 1, "storageAccountType": "Standard_LRS"},
            ],
        },
        "storageProfile": {
            "osDiskImage": {"hostCaching": "ReadOnly", "source": {"storageAccountId": account, "uri": url}}
        },
    }
