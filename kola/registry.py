"""A container registry for guests: push and pull by the OCI distribution specification, over ``kola.httpd``.

Names of endpoints, headers and error codes are those of https://github.com/opencontainers/distribution-spec/blob/main/spec.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import secrets
import shutil
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from kola.errors import ConfigError
from kola.httpmessage import Refused, Reply, Request, json_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from kola.httpd import HttpServer

COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
NAME = rf"(?P<name>{COMPONENT}(?:/{COMPONENT})*)"
TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
MANIFEST_LIMIT = 4 * 1024 * 1024

MESSAGES = {
    "BLOB_UNKNOWN": "blob unknown to registry",
    "BLOB_UPLOAD_INVALID": "blob upload invalid",
    "BLOB_UPLOAD_UNKNOWN": "blob upload unknown to registry",
    "DIGEST_INVALID": "provided digest did not match uploaded content",
    "MANIFEST_BLOB_UNKNOWN": "manifest references a manifest or blob unknown to registry",
    "MANIFEST_INVALID": "manifest invalid",
    "MANIFEST_UNKNOWN": "manifest unknown to registry",
    "NAME_INVALID": "invalid repository name",
    "NAME_UNKNOWN": "repository name not known to registry",
    "UNSUPPORTED": "the operation is unsupported",
}


@dataclass(frozen=True)
class Manifest:
    """What was pushed, byte by byte, with the media type that it was pushed with; ``digest`` names the content."""

    content: bytes
    media_type: str
    digest: str


def refused(status: int, code: str, detail: object = None, **headers: str) -> Refused:
    """Return an error of the specification, to be raised."""
    error = {"code": code, "message": MESSAGES[code], "detail": detail}
    return Refused(json_reply(status, {"errors": [error]}, **headers))


class Registry:
    """Repositories of images, empty in the beginning; guests push to it and pull from it without a password.

    Args:
        server: that guests reach it through; its faults are the registry's.
        folder: for the blobs; empty.
    """

    def __init__(self, server: HttpServer, folder: Path) -> None:
        self.server = server
        self._folder = folder
        self._lock = threading.Lock()
        self._manifests: dict[tuple[str, str], Manifest] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._uploads: dict[str, str] = {}
        """Of each upload that is under way the repository."""
        blob = {"GET": self._get_blob, "HEAD": self._get_blob, "DELETE": self._delete_blob}
        upload = {"GET": self._status, "PATCH": self._append, "PUT": self._finish, "DELETE": self._cancel}
        manifest = {
            "GET": self._get_manifest, "HEAD": self._get_manifest, "PUT": self._put_manifest,
            "DELETE": self._delete_manifest,
        }  # fmt: skip
        self._endpoints: dict[str, Mapping[str, Callable[..., Reply]]] = {
            r"/v2/?": {"GET": self._base, "HEAD": self._base},
            rf"/v2/{NAME}/blobs/uploads/?": {"POST": self._start},
            rf"/v2/{NAME}/blobs/uploads/(?P<session>[0-9a-f]+)": upload,
            rf"/v2/{NAME}/blobs/(?P<digest>[^/]+)": blob,
            rf"/v2/{NAME}/manifests/(?P<reference>[^/]+)": manifest,
            rf"/v2/{NAME}/tags/list": {"GET": self._list_tags},
        }
        server.route("/v2", self._answer)

    # -- for tests ---------------------------------------------------------------------------------------------------

    def reference(self, image: str) -> str:
        """Return how a guest's podman names an image such as ``team/app:v1`` here."""
        return f"{self.server.address}:{self.server.port}/{image}"

    def tags(self, name: str) -> dict[str, str]:
        """Return the tags of a repository and the digests that they stand for; empty if there is none."""
        with self._lock:
            return dict(self._tags.get(name, {}))

    def manifest(self, name: str, reference: str) -> Manifest:
        """Return what a tag or digest stands for.

        Raises:
            ConfigError: no such manifest; says which tags there are.
        """
        with self._lock:
            digest = self._tags.get(name, {}).get(reference, reference)
            found = self._manifests.get((name, digest))
            if found is None:
                known = ", ".join(sorted(self._tags.get(name, {}))) or "none"
                raise ConfigError(f"registry: no {name}:{reference}; tags: {known}")
            return found

    def tag(self, name: str, reference: str, tag: str) -> None:
        """Let a tag, new or not, stand for what another tag or a digest stands for: what auto-update looks for.

        Raises:
            ConfigError: no such manifest, or no valid tag.
        """
        digest = self.manifest(name, reference).digest
        if not TAG.fullmatch(tag):
            raise ConfigError(f"registry: invalid tag {tag!r}: letters, digits, _ . -, at most 128")
        with self._lock:
            self._tags.setdefault(name, {})[tag] = digest

    # -- the protocol ------------------------------------------------------------------------------------------------

    def _answer(self, request: Request, body: IO[bytes]) -> Reply:
        for pattern, methods in self._endpoints.items():
            if match := re.fullmatch(pattern, request.path):
                if request.method not in methods:
                    raise refused(405, "UNSUPPORTED", Allow=", ".join(methods))
                return methods[request.method](request, body, **match.groupdict())
        raise refused(404, "NAME_INVALID", request.path)

    def _base(self, _request: Request, _body: IO[bytes]) -> Reply:
        return json_reply(200, {}, **{"Docker-Distribution-API-Version": "registry/2.0"})

    # -- blobs

    def _blob(self, name: str, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise refused(400, "DIGEST_INVALID", digest)
        # No component of a name begins with an underscore: blobs never meet repositories below this one.
        return self._folder / name / "_blobs" / digest

    def _get_blob(self, _request: Request, _body: IO[bytes], name: str, digest: str) -> Reply:
        blob = self._blob(name, digest)
        if not blob.is_file():
            raise refused(404, "BLOB_UNKNOWN", {"digest": digest})
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        return Reply(200, blob, headers, etag=digest)

    def _delete_blob(self, _request: Request, _body: IO[bytes], name: str, digest: str) -> Reply:
        try:
            self._blob(name, digest).unlink()
        except FileNotFoundError:
            raise refused(404, "BLOB_UNKNOWN", {"digest": digest}) from None
        return Reply(202)

    # -- uploads

    def _start(self, request: Request, body: IO[bytes], name: str) -> Reply:
        session = secrets.token_hex(16)
        folder = self._folder / name / "_uploads"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / session).touch()
        with self._lock:
            self._uploads[session] = name
        if "digest" in request.query:  # all in one request
            return self._finish(request, body, name, session)
        # A mount is answered like any other: the specification lets a client fall back to an upload.
        return self._progress(202, name, session)

    def _upload(self, name: str, session: str) -> Path:
        with self._lock:
            if self._uploads.get(session) != name:
                raise refused(404, "BLOB_UPLOAD_UNKNOWN", session)
        return self._folder / name / "_uploads" / session

    def _progress(self, status: int, name: str, session: str) -> Reply:
        return Reply(status, headers=self._progress_headers(name, session))

    def _progress_headers(self, name: str, session: str) -> dict[str, str]:
        size = self._upload(name, session).stat().st_size
        location = f"/v2/{name}/blobs/uploads/{session}"
        return {"Location": location, "Range": f"0-{max(0, size - 1)}", "Docker-Upload-UUID": session}

    def _status(self, _request: Request, _body: IO[bytes], name: str, session: str) -> Reply:
        return self._progress(204, name, session)

    def _append(self, request: Request, body: IO[bytes], name: str, session: str) -> Reply:
        upload = self._upload(name, session)
        given = request.headers.get("content-range")
        match = re.fullmatch(r"(\d+)-(\d+)", given or "")
        if given is not None and (match is None or int(match[1]) != upload.stat().st_size):
            raise refused(416, "BLOB_UPLOAD_INVALID", given, **self._progress_headers(name, session))
        with upload.open("ab") as file:
            shutil.copyfileobj(body, file)
        return self._progress(202, name, session)

    def _finish(self, request: Request, body: IO[bytes], name: str, session: str) -> Reply:
        self._append(request, body, name, session)
        upload, digest = self._upload(name, session), request.query.get("digest", "")
        blob = self._blob(name, digest)
        with upload.open("rb") as file:
            actual = _digest(file, like=digest)
        if actual != digest:
            self._cancel(request, body, name, session)
            raise refused(400, "DIGEST_INVALID", {"digest": digest, "actual": actual})
        blob.parent.mkdir(parents=True, exist_ok=True)
        upload.replace(blob)
        self._cancel(request, body, name, session)
        return Reply(201, headers={"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})

    def _cancel(self, _request: Request, _body: IO[bytes], name: str, session: str) -> Reply:
        self._upload(name, session).unlink(missing_ok=True)
        with self._lock:
            del self._uploads[session]
        return Reply(204)

    # -- manifests and tags

    def _get_manifest(self, _request: Request, _body: IO[bytes], name: str, reference: str) -> Reply:
        try:
            found = self.manifest(name, reference)
        except ConfigError as e:
            raise refused(404, "MANIFEST_UNKNOWN", str(e)) from None
        headers = {"Content-Type": found.media_type, "Docker-Content-Digest": found.digest}
        return Reply(200, found.content, headers, etag=found.digest)

    def _put_manifest(self, request: Request, body: IO[bytes], name: str, reference: str) -> Reply:
        content = body.read(MANIFEST_LIMIT + 1)
        if len(content) > MANIFEST_LIMIT:
            raise refused(413, "MANIFEST_INVALID", f"more than {MANIFEST_LIMIT} bytes")
        try:
            plain = json.loads(content)
            media_type = request.headers.get("content-type") or plain["mediaType"]
            blobs = [plain["config"]["digest"], *(_layers(plain))] if "config" in plain else []
            children = [child["digest"] for child in plain.get("manifests", [])]
        except (ValueError, TypeError, KeyError, AttributeError) as e:
            raise refused(400, "MANIFEST_INVALID", f"{type(e).__name__}: {e}") from e
        pushed = Manifest(content, media_type, _digest(io.BytesIO(content), like=reference))
        if ":" in reference and reference != pushed.digest:
            raise refused(400, "DIGEST_INVALID", {"digest": reference, "actual": pushed.digest})
        if ":" not in reference and not TAG.fullmatch(reference):
            raise refused(400, "MANIFEST_INVALID", f"invalid tag {reference}")
        for blob in blobs:
            if not self._blob(name, blob).is_file():
                raise refused(400, "MANIFEST_BLOB_UNKNOWN", {"digest": blob})
        with self._lock:
            for child in children:
                if (name, child) not in self._manifests:
                    raise refused(400, "MANIFEST_BLOB_UNKNOWN", {"digest": child})
            self._manifests[name, pushed.digest] = pushed
            tags = self._tags.setdefault(name, {})
            if ":" not in reference:
                tags[reference] = pushed.digest
        location = f"/v2/{name}/manifests/{reference}"
        return Reply(201, headers={"Location": location, "Docker-Content-Digest": pushed.digest})

    def _delete_manifest(self, _request: Request, _body: IO[bytes], name: str, reference: str) -> Reply:
        with self._lock:
            tags = self._tags.get(name, {})
            if reference in tags:
                del tags[reference]
            elif self._manifests.pop((name, reference), None) is not None:
                self._tags[name] = {tag: digest for tag, digest in tags.items() if digest != reference}
            else:
                raise refused(404, "MANIFEST_UNKNOWN", reference)
        return Reply(202)

    def _list_tags(self, request: Request, _body: IO[bytes], name: str) -> Reply:
        with self._lock:
            if name not in self._tags:
                raise refused(404, "NAME_UNKNOWN", name)
            tags = sorted(tag for tag in self._tags[name] if tag > request.query.get("last", ""))
        headers, most = {}, request.query.get("n", "")
        if most.isascii() and most.isdigit() and int(most) < len(tags):
            tags = tags[: int(most)]
            if tags:
                headers["Link"] = f'</v2/{name}/tags/list?n={most}&last={tags[-1]}>; rel="next"'
        return json_reply(200, {"name": name, "tags": tags}, **headers)


def _digest(file: IO[bytes], *, like: str) -> str:
    """Return the digest of a file by the algorithm of another one, sha256 if that is none."""
    algorithm = "sha512" if like.startswith("sha512:") else "sha256"
    return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"  # type: ignore[arg-type]


def _layers(manifest: dict[str, Any]) -> Iterator[str]:
    """Yield the digests of the layers that must have been pushed: those that no URL says to get elsewhere."""
    return (layer["digest"] for layer in manifest.get("layers", []) if not layer.get("urls"))
