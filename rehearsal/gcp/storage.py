"""Cloud Storage: buckets, objects with metadata, uploads whole or in pieces."""

from __future__ import annotations

import itertools
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from werkzeug import Response

from rehearsal.gcp.answers import Failure, answer, required

if TYPE_CHECKING:
    from pathlib import Path

    from werkzeug import Request

_UNIT = 256 << 10
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass
class StoredObject:
    """An object, or what has arrived of one."""

    bucket: str
    name: str
    path: Path
    metadata: dict[str, str] = field(default_factory=dict)
    received: int = 0  # bytes that came over the network, whether wanted or not
    complete: bool = False

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    def plain(self) -> dict[str, Any]:
        """Return it as Google describes it."""
        described = {"kind": "storage#object", "bucket": self.bucket, "name": self.name, "size": str(self.size)}
        return {**described, "metadata": self.metadata} if self.metadata else described


class Storage:
    """Buckets and objects; methods are named as the calls.

    Args:
        folder: for the contents.
        url: returns that of the endpoint.
    """

    def __init__(self, folder: Path, url: Any) -> None:
        self._folder = folder
        self._url = url
        self._numbers = itertools.count()
        self.buckets: dict[str, dict[str, Any]] = {}
        self.objects: dict[tuple[str, str], StoredObject] = {}
        self.sessions: dict[str, StoredObject] = {}

    def buckets_get(self, _request: Request, bucket: str) -> Response:
        """Return a bucket."""
        return answer(self._bucket(bucket))

    def buckets_list(self, request: Request) -> Response:
        """List the buckets of a project; what others have is not seen."""
        (project,) = required(request.args.to_dict(), "project")
        prefix = request.args.get("prefix", "")
        found = [one for name, one in sorted(self.buckets.items()) if name.startswith(prefix)]
        found = [one for one in found if one["project"] == project]
        return answer({"kind": "storage#buckets", **({"items": found} if found else {})})

    def buckets_insert(self, request: Request) -> Response:
        """Make a bucket."""
        given = request.get_json()
        (name,) = required(given, "name")
        (project,) = required(request.args.to_dict(), "project")
        if not _BUCKET.fullmatch(name):
            raise Failure(400, "invalid", f"Invalid bucket name: '{name}'")
        if name in self.buckets:
            raise Failure(409, "conflict", "The requested bucket name is not available, or it is yours already")
        self.buckets[name] = {**given, "kind": "storage#bucket", "project": project}
        return answer(self.buckets[name])

    def objects_list(self, request: Request, bucket: str) -> Response:
        """List objects; those with their metadata."""
        self._bucket(bucket)
        prefix = request.args.get("prefix", "")
        found = [one.plain() for (there, name), one in sorted(self.objects.items()) if there == bucket]
        found = [one for one in found if one["name"].startswith(prefix)]
        return answer({"kind": "storage#objects", **({"items": found} if found else {})})

    def objects_delete(self, _request: Request, bucket: str, name: str) -> Response:
        """Delete an object."""
        self.object(bucket, name).path.unlink()
        del self.objects[bucket, name]
        return Response(status=204)

    def objects_insert(self, request: Request, bucket: str) -> Response:
        """Take an object that comes at once, or begin to take one in pieces."""
        self._bucket(bucket)
        kind = request.args.get("uploadType")
        if kind == "resumable":
            given = request.get_json()
            (name,) = required(given, "name")
            session = secrets.token_urlsafe(24)
            self.sessions[session] = self._new(bucket, name, given.get("metadata", {}))
            where = f"{self._url()}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={session}"
            return Response(status=200, headers={"Location": where})
        if kind != "multipart":
            raise Failure(400, "invalid", f"uploadType={kind}")
        given, data = _parts(request)
        (name,) = required(given, "name")
        stored = self._new(bucket, name, given.get("metadata", {}))
        stored.path.write_bytes(data)
        return self._finish(stored)

    def objects_upload(self, request: Request, bucket: str) -> Response:
        """Take a piece, or say what is there of an upload; what is there already is not taken again."""
        stored = self.sessions.get(request.args.get("upload_id", ""))
        match = _RANGE.fullmatch(request.headers.get("Content-Range", ""))
        if stored is None or stored.bucket != bucket:
            raise Failure(404, "notFound", "No such upload")
        if match is None:
            raise Failure(400, "badRequest", "Content-Range is missing or malformed")
        if stored.complete:
            return answer(stored.plain())
        data = request.get_data()
        stored.received += len(data)
        if match[1] is not None:
            start, end = int(match[1]), int(match[2]) + 1
            if end - start != len(data):
                raise Failure(400, "badRequest", "Content-Range and Content-Length disagree")
            if match[3] == "*" and len(data) % _UNIT:
                raise Failure(400, "badRequest", f"pieces must be multiples of {_UNIT} bytes")
            if start <= stored.size:
                with stored.path.open("ab") as file:
                    file.write(data[stored.size - start :])
        if match[3] != "*" and int(match[3]) == stored.size:
            return self._finish(stored)
        there = {"Range": f"bytes=0-{stored.size - 1}"} if stored.size else {}
        return Response(status=308, headers=there)

    def objects_download(self, _request: Request, bucket: str, name: str) -> Response:
        """Return the content of an object to who has a signed URL."""
        return Response(self.object(bucket, name).path.read_bytes(), content_type="application/octet-stream")

    def object(self, bucket: str, name: str) -> StoredObject:
        """Return a finished object."""
        if (bucket, name) not in self.objects:
            raise Failure(404, "notFound", f"No such object: {bucket}/{name}")
        return self.objects[bucket, name]

    def _bucket(self, name: str) -> dict[str, Any]:
        if name not in self.buckets:
            raise Failure(404, "notFound", "The specified bucket does not exist.")
        return self.buckets[name]

    def _new(self, bucket: str, name: str, metadata: dict[str, str]) -> StoredObject:
        self._folder.mkdir(exist_ok=True)
        return StoredObject(bucket, name, self._folder / str(next(self._numbers)), metadata)

    def _finish(self, stored: StoredObject) -> Response:
        stored.path.touch()
        stored.complete = True
        self.objects[stored.bucket, stored.name] = stored
        return answer(stored.plain())


def _parts(request: Request) -> tuple[dict[str, Any], bytes]:
    """Return description and content of an object that comes as ``multipart/related``."""
    boundary = request.mimetype_params.get("boundary", "").strip('"').encode()
    pieces = request.get_data().split(b"--" + boundary)
    if not boundary or len(pieces) != 4 or pieces[3].strip() != b"--":  # noqa: PLR2004 - two parts between two ends
        raise Failure(400, "badRequest", "expected two parts")
    described, data = (piece.partition(b"\r\n\r\n")[2][:-2] for piece in pieces[1:3])
    return json.loads(described), data
