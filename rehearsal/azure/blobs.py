"""Blob storage: page blobs, in which only what was written takes space, small block blobs, one level of containers."""

from __future__ import annotations

import re
import secrets
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from werkzeug import Response

from rehearsal.azure.kinds import ArmError
from rehearsal.azure.signing import allowed

if TYPE_CHECKING:
    from pathlib import Path

    from werkzeug import Request

_PAGE = 512
_MOST_PAGES = 4 << 20
_BYTES = re.compile(r"bytes=(\d+)-(\d*)")
_CALLS = {
    ("PUT", "page"): "PutPage",
    ("GET", "pagelist"): "GetPageRanges",
    ("PUT", ""): "PutBlob",
    ("GET", ""): "GetBlob",
    ("HEAD", ""): "GetBlobProperties",
    ("DELETE", ""): "DeleteBlob",
}


@dataclass
class Blob:
    """One blob, in a file."""

    path: Path
    kind: str
    ranges: list[tuple[int, int]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size


@dataclass
class Account:
    """A storage account.

    Attributes:
        key: that everything is signed with.
        containers: their blobs, by name.
    """

    key: str = field(default_factory=lambda: b64encode(secrets.token_bytes(64)).decode())
    containers: dict[str, dict[str, Blob]] = field(default_factory=dict)


def call_name(request: Request) -> str:
    """Return the name of a call to storage."""
    if request.args.get("restype") == "container":
        return "CreateContainer" if request.method == "PUT" else f"{request.method} container"
    return _CALLS.get((request.method, request.args.get("comp", "")), f"{request.method} {request.query_string!r}")


class Blobs:
    """All accounts.

    Args:
        folder: for the blobs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.accounts: dict[str, Account] = {}

    def listed(self) -> list[str]:
        """Return account, container and name of every blob."""
        return [
            f"{name}/{container}/{blob}"
            for name, account in self.accounts.items()
            for container, blobs in account.containers.items()
            for blob in blobs
        ]

    def find(self, path: str) -> Blob:
        """Return the blob with that path, which begins with the account's name.

        Raises:
            ArmError: there is none.
        """
        account, container, name = path.strip("/").split("/", 2)
        try:
            return self.accounts[account].containers[container][name]
        except KeyError:
            raise ArmError(404, "BlobNotFound", "The specified blob does not exist.") from None

    def drop(self, account: str) -> None:
        """Delete an account with all that is in it."""
        gone = self.accounts.pop(account, None)
        for blobs in (gone.containers if gone else {}).values():
            for blob in blobs.values():
                blob.path.unlink(missing_ok=True)

    def answer(self, request: Request) -> Response:
        """Answer a call.

        Raises:
            ArmError: it is refused.
        """
        name, _, rest = request.path.strip("/").partition("/")
        account = self.accounts.get(name)
        if account is None:
            raise ArmError(404, "ResourceNotFound", f"no account {name}")
        if not allowed(request, name, account.key):
            raise ArmError(403, "AuthenticationFailed", "Server failed to authenticate the request.")
        container, _, blob = rest.partition("/")
        if call_name(request) == "CreateContainer" and not blob:
            if container in account.containers:
                raise ArmError(409, "ContainerAlreadyExists", "The specified container already exists.")
            account.containers[container] = {}
            return Response(status=201)
        if container not in account.containers:
            raise ArmError(404, "ContainerNotFound", "The specified container does not exist.")
        return self._blob(request, account.containers[container], blob)

    def _blob(self, request: Request, blobs: dict[str, Blob], name: str) -> Response:
        call = call_name(request)
        if call == "PutBlob":
            blobs[name] = self._made(request)
            return Response(status=201, headers={"ETag": '"0x1"', "Last-Modified": _NOW})
        blob = blobs.get(name)
        if blob is None:
            raise ArmError(404, "BlobNotFound", "The specified blob does not exist.")
        if call == "PutPage":
            return _put_page(request, blob)
        if call == "GetPageRanges":
            found = "".join(
                f"<PageRange><Start>{begin}</Start><End>{end - 1}</End></PageRange>" for begin, end in blob.ranges
            )
            return Response(
                f'<?xml version="1.0" encoding="utf-8"?><PageList>{found}</PageList>', content_type="application/xml"
            )
        if call == "DeleteBlob":
            blobs.pop(name).path.unlink()
            return Response(status=202)
        if call in {"GetBlob", "GetBlobProperties"}:
            return content(request, blob.path.read_bytes() if call == "GetBlob" else b"", blob.kind, blob.size)
        raise ArmError(400, "UnsupportedQueryParameter", f"unknown call: {call}")

    def _made(self, request: Request) -> Blob:
        kind = request.headers.get("x-ms-blob-type", "")
        path = self._folder / f"blob-{secrets.token_hex(8)}"
        if kind == "PageBlob":
            size = request.headers.get("x-ms-blob-content-length", "")
            if not size.isdecimal() or int(size) % _PAGE:
                raise ArmError(400, "InvalidHeaderValue", "x-ms-blob-content-length")
            with path.open("wb") as file:
                file.truncate(int(size))
        elif kind == "BlockBlob":
            path.write_bytes(request.get_data())
        else:
            raise ArmError(400, "MissingRequiredHeader", "x-ms-blob-type")
        return Blob(path, kind)


_NOW = "Mon, 01 Jan 2024 00:00:00 GMT"


def _put_page(request: Request, blob: Blob) -> Response:
    found = _BYTES.fullmatch(request.headers.get("x-ms-range", request.headers.get("Range", "")))
    data = request.get_data()
    if found is None or request.headers.get("x-ms-page-write") != "update" or blob.kind != "PageBlob":
        raise ArmError(400, "MissingRequiredHeader", "x-ms-range and x-ms-page-write, for a page blob")
    begin, end = int(found[1]), int(found[2] or -1) + 1
    if begin % _PAGE or end % _PAGE or end > blob.size or end - begin != len(data):
        raise ArmError(416, "InvalidPageRange", "The page range specified is invalid.")
    if len(data) > _MOST_PAGES:
        raise ArmError(413, "RequestBodyTooLarge", "at most 4 MiB")
    with blob.path.open("r+b") as file:
        file.seek(begin)
        file.write(data)
    blob.ranges = sorted({*blob.ranges, (begin, end)})
    return Response(status=201, headers={"ETag": '"0x2"', "Last-Modified": _NOW, "x-ms-blob-sequence-number": "0"})


def content(request: Request, data: bytes, kind: str = "BlockBlob", size: int | None = None) -> Response:
    """Answer with a blob's bytes, or the range of them that is asked for."""
    total = len(data) if size is None else size
    headers = {"x-ms-blob-type": kind, "ETag": '"0x1"', "Last-Modified": _NOW, "Accept-Ranges": "bytes"}
    found = _BYTES.fullmatch(request.headers.get("x-ms-range", request.headers.get("Range", "")))
    if request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(total)}, content_type="application/octet-stream")
    if found is None:
        return Response(data, headers=headers, content_type="application/octet-stream")
    begin, end = int(found[1]), min(int(found[2] or total), total - 1)
    if begin >= total:
        raise ArmError(416, "InvalidRange", "The range specified is invalid.")
    headers["Content-Range"] = f"bytes {begin}-{end}/{total}"
    return Response(data[begin : end + 1], 206, headers, content_type="application/octet-stream")
