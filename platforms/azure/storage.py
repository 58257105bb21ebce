"""A storage account of a run: disks on their way to an image, configs that are too large for a machine's user data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobSasPermissions, BlobServiceClient, generate_blob_sas

from kola.retry import MissingError
from platforms.azure import vhd
from platforms.azure.clients import said

if TYPE_CHECKING:
    from pathlib import Path

    from kola.cloud.tags import Tags
    from kola.imagefile import Progress
    from kola.retry import Caller
    from platforms.azure.clients import Clients

CONTAINER = "kola"
_URL_HOURS = 1


def account_name(*parts: str) -> str:
    """Return the name of an account: unique in all of Azure, 24 lower-case letters and digits at most."""
    return f"kola{hashlib.sha256('/'.join(parts).encode()).hexdigest()[:20]}"


@dataclass(frozen=True)
class Account:
    """An account that is there, with a container in it.

    Attributes:
        id: resource id.
        name: of the account.
        key: secret; everything is signed with it.
        service: the client.
    """

    id: str
    name: str
    key: str
    service: Any

    def blob(self, name: str) -> Any:
        """Return the client of a blob."""
        return self.service.get_blob_client(CONTAINER, name)

    def readable(self, name: str) -> str:
        """Return a URL under which a blob is read without credentials for an hour."""
        token = generate_blob_sas(
            self.name,
            CONTAINER,
            name,
            account_key=self.key,
            permission=BlobSasPermissions(read=True),
            expiry=datetime.now(UTC) + timedelta(hours=_URL_HOURS),
        )
        return f"{self.blob(name).url}?{token}"


def open_account(clients: Clients, group: str, name: str) -> Account:
    """Return an account that exists; calls the SDK directly."""
    found = clients.storage.storage_accounts.get_properties(group, name)
    key = clients.storage.storage_accounts.list_keys(group, name).keys_property[0].value
    service = BlobServiceClient(
        found.primary_endpoints.blob, credential={"account_name": name, "account_key": key}, retry_total=0
    )
    return Account(found.id, name, key, service)


def make_account(clients: Clients, group: str, name: str, location: str, tags: Tags) -> Account:
    """Make an account, unless it is there, and a container in it; calls the SDK directly, and may be called again."""
    request = {
        "location": location,
        "tags": tags.as_labels(),
        "kind": "StorageV2",
        "sku": {"name": "Standard_LRS"},
        "properties": {"allowBlobPublicAccess": False, "minimumTlsVersion": "TLS1_2"},
    }
    clients.storage.storage_accounts.begin_create(group, name, request).result()
    account = open_account(clients, group, name)
    try:
        account.service.create_container(CONTAINER)
    except ResourceExistsError as e:
        if said(e)[0] != "ContainerAlreadyExists":
            raise
    return account


def upload_disk(blob: Any, disk: Path, digest: str, call: Caller, progress: Progress | None = None) -> int:
    """Send a disk as a fixed VHD; what the blob has of it already, from an attempt before, is not sent again.

    Args:
        blob: client of the page blob; it need not exist.
        disk: raw, or a fixed VHD.
        digest: of the image.
        call: tries again.
        progress: told of the bytes of the disk that are there.

    Returns:
        How many bytes were sent.
    """
    size = vhd.disk_bytes(disk)
    total = size + vhd.FOOTER_BYTES
    there = _written(blob, total, call)
    sent = 0

    def send(at: int, data: bytes) -> int:
        if any(begin <= at and at + len(data) <= end for begin, end in there):
            return 0
        call(blob.upload_page, data, at, len(data))
        return len(data)

    for at, data in vhd.pieces(disk):
        sent += send(at, data)
        if progress is not None:
            progress("uploading the image", at + len(data), total)
    sent += send(size, vhd.footer(size, digest))
    if progress is not None:
        progress("uploading the image", total, total)
    return sent


def _written(blob: Any, total: int, call: Caller) -> list[tuple[int, int]]:
    """Return begin and end of what a blob has; one is made if there is none of that size."""

    def ranges() -> list[tuple[int, int]]:
        return [(one.start, one.end + 1) for one in blob.list_page_ranges() if not one.cleared]

    try:
        if call(blob.get_blob_properties).size == total:
            return _joined(call(ranges))
    except MissingError:
        pass
    call.fresh(blob.create_page_blob, total)
    return []


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if joined and joined[-1][1] >= begin:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined
