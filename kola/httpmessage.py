"""What travels between an HTTP client and the handlers of ``kola.httpd``; pure but for looking at files."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path


@dataclass(frozen=True)
class Request:
    """What a client asked.

    Attributes:
        method: ``GET``...
        path: decoded, without the query.
        query: decoded; of a name that is there twice the last one.
        headers: names in lower case; of those that are there twice joined by a comma.
        body: its first 64 KiB.
        target: path and query exactly as they came.
        time: when it arrived, in seconds since the epoch.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    target: str
    time: float


@dataclass(frozen=True)
class Reply:
    """What a handler answers.

    Attributes:
        status: of HTTP.
        body: bytes, or a file, whose content is sent from the disk.
        headers: further ones; ``Content-Length`` is added.
        etag: opaque, without quotes; a reply that has one answers ``If-None-Match`` and ``Range``.
    """

    status: int = HTTPStatus.OK
    body: bytes | Path = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str = ""


class Refused(Exception):
    """What a handler raises to answer with an error."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"{reply.status} {reply.body!r}")
        self.reply = reply


Handler = Callable[[Request, IO[bytes]], Reply]
"""Answers a request or raises ``Refused``; the second argument is its whole body. Called by many threads at once."""


def plain(status: int, text: str, **headers: str) -> Reply:
    """Return a reply of one line of text."""
    return Reply(status, f"{text}\n".encode(), {"Content-Type": "text/plain; charset=utf-8", **headers})


def json_reply(status: int, content: object, **headers: str) -> Reply:
    """Return a reply of JSON."""
    return Reply(status, json.dumps(content).encode(), {"Content-Type": "application/json", **headers})


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Return start and end (exclusive) that a ``Range`` header asks for; None where it is to be ignored.

    Several ranges, other units and nonsense are ignored (RFC 9110, section 14.2).

    Raises:
        ValueError: nothing of that range exists (status 416).
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header.replace(" ", ""), re.ASCII)
    if match is None or match[0] == "bytes=-" or (match[1] and match[2] and int(match[1]) > int(match[2])):
        return None
    if match[1]:
        start, end = int(match[1]), min(int(match[2]) + 1 if match[2] else size, size)
    else:
        start, end = max(0, size - int(match[2])), size
    if start >= end:
        raise ValueError(header)
    return start, end


def content_type_of(path: str) -> str:
    """Return the media type that the end of a path stands for, whatever this host's tables say."""
    return mimetypes.MimeTypes().guess_type(path)[0] or "application/octet-stream"


def bytes_reply(content: bytes, content_type: str) -> Reply:
    """Return a reply that clients may cache and resume, last modified now."""
    headers = {"Content-Type": content_type, "Last-Modified": formatdate(usegmt=True)}
    return Reply(HTTPStatus.OK, content, headers, hashlib.sha256(content).hexdigest()[:32])


def file_reply(file: Path, content_type: str) -> Reply:
    """Return a reply with the file as it is now; clients may cache and resume it."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return plain(HTTPStatus.NOT_FOUND, f"no longer there: {file.name}")
    headers = {"Content-Type": content_type, "Last-Modified": formatdate(stat.st_mtime, usegmt=True)}
    return Reply(HTTPStatus.OK, file, headers, f"{stat.st_mtime_ns:x}-{stat.st_size:x}")


def part(reply: Reply, size: int, headers: Message) -> tuple[Reply, int, int]:
    """Return the reply that the request's conditions and range leave, and which bytes of the body it has."""
    if not reply.etag or reply.status != HTTPStatus.OK:
        return reply, 0, size
    quoted = f'"{reply.etag}"'
    reply = replace(reply, headers={**reply.headers, "ETag": quoted, "Accept-Ranges": "bytes"})
    known = [tag.strip().removeprefix("W/") for tag in headers.get("If-None-Match", "").split(",")]
    if quoted in known or "*" in known:
        return replace(reply, status=HTTPStatus.NOT_MODIFIED), 0, 0
    if headers.get("If-Range", quoted) != quoted:
        return reply, 0, size
    try:
        found = byte_range(headers.get("Range", ""), size)
    except ValueError:
        beyond = {**reply.headers, "Content-Range": f"bytes */{size}"}
        return replace(reply, status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=beyond), 0, 0
    if found is None:
        return reply, 0, size
    span = {**reply.headers, "Content-Range": f"bytes {found[0]}-{found[1] - 1}/{size}"}
    return replace(reply, status=HTTPStatus.PARTIAL_CONTENT, headers=span), *found
