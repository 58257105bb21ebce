"""The API of Google Cloud as far as the driver needs it, on one port."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from rehearsal.faults import Trouble
from rehearsal.frontend import FrontEnd
from rehearsal.gcp import metadata
from rehearsal.gcp.answers import Failure, answer
from rehearsal.gcp.catalogue import REGION
from rehearsal.gcp.compute import Compute
from rehearsal.gcp.identity import PROJECT, Account
from rehearsal.gcp.permissions import NEEDED
from rehearsal.gcp.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from wsgiref.types import StartResponse, WSGIEnvironment

    from rehearsal.host import CloudHost, Machine

_COMPUTE = f"/compute/v1/projects/{PROJECT}"
_TOKEN, _ALLOWED, _DOWNLOAD = "oauth2.token", "projects.testIamPermissions", "objects.download"
_PATHS = {
    "POST /token": _TOKEN,
    f"POST /v1/projects/{PROJECT}:testIamPermissions": _ALLOWED,
    f"GET {_COMPUTE}": "projects.get",
    f"GET {_COMPUTE}/regions/<region>": "regions.get",
    f"GET {_COMPUTE}/aggregated/machineTypes": "machineTypes.aggregatedList",
    f"GET {_COMPUTE}/global/images": "images.list",
    f"GET {_COMPUTE}/global/images/<image>": "images.get",
    f"GET {_COMPUTE}/global/images/family/<family>": "images.getFromFamily",
    f"POST {_COMPUTE}/global/images": "images.insert",
    f"POST {_COMPUTE}/global/images/<image>/setLabels": "images.setLabels",
    f"DELETE {_COMPUTE}/global/images/<image>": "images.delete",
    f"GET {_COMPUTE}/global/firewalls": "firewalls.list",
    f"POST {_COMPUTE}/global/firewalls": "firewalls.insert",
    f"DELETE {_COMPUTE}/global/firewalls/<firewall>": "firewalls.delete",
    f"POST {_COMPUTE}/global/operations/<operation>/wait": "globalOperations.wait",
    f"POST {_COMPUTE}/zones/<zone>/operations/<operation>/wait": "zoneOperations.wait",
    f"GET {_COMPUTE}/aggregated/instances": "instances.aggregatedList",
    f"POST {_COMPUTE}/zones/<zone>/instances": "instances.insert",
    f"DELETE {_COMPUTE}/zones/<zone>/instances/<instance>": "instances.delete",
    f"POST {_COMPUTE}/zones/<zone>/instances/<instance>/stop": "instances.stop",
    f"POST {_COMPUTE}/zones/<zone>/instances/<instance>/start": "instances.start",
    f"POST {_COMPUTE}/zones/<zone>/instances/<instance>/reset": "instances.reset",
    f"GET {_COMPUTE}/zones/<zone>/instances/<instance>/serialPort": "instances.getSerialPortOutput",
    f"GET {_COMPUTE}/aggregated/disks": "disks.aggregatedList",
    f"DELETE {_COMPUTE}/zones/<zone>/disks/<disk>": "disks.delete",
    "GET /storage/v1/b/<bucket>": "buckets.get",
    "GET /storage/v1/b": "buckets.list",
    "POST /storage/v1/b": "buckets.insert",
    "GET /storage/v1/b/<bucket>/o": "objects.list",
    "DELETE /storage/v1/b/<bucket>/o/<path:name>": "objects.delete",
    "POST /upload/storage/v1/b/<bucket>/o": "objects.insert",
    "PUT /upload/storage/v1/b/<bucket>/o": "objects.upload",
    "GET /<bucket>/<path:name>": _DOWNLOAD,
}
_OF_STORAGE = ("buckets.", "objects.")
_REFUSALS = {
    Trouble.THROTTLE: (403, "rateLimitExceeded", "Quota exceeded for quota metric 'Queries'"),
    Trouble.ERROR: (503, "backendError", "Backend Error"),
    Trouble.CAPACITY: (503, "insufficientCapacity", "There is not enough capacity"),
    Trouble.QUOTA: (403, "quotaExceeded", "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1."),
    Trouble.EXPIRED: (401, "authError", "Request had invalid authentication credentials."),
    Trouble.DENIED: (403, "forbidden", "The caller does not have permission"),
    Trouble.MISSING: (404, "notFound", "The resource was not found"),
}
_NO_ROOM = (503, "ZONE_RESOURCE_POOL_EXHAUSTED", "The zone does not have enough resources available")


class Gcp(FrontEnd):
    """One project."""

    ignition_platform: ClassVar[str] = "gcp"

    def __init__(self, host: CloudHost) -> None:
        super().__init__(host)
        self.account = Account()
        self.storage = Storage(host.folder / "objects", lambda: self.url)
        self.compute = Compute(host, self.storage)
        self.denied: set[str] = set()
        """Permissions that the account has not; a test may add some."""
        rules = ([*path.split(" "), name] for path, name in _PATHS.items())
        self._paths = Map([Rule(path, methods=[method], endpoint=name) for method, path, name in rules])
        self._lock = threading.RLock()

    def call_name(self, request: Request) -> str:
        """Return the name of a call: Google's for the method."""
        return self._match(request)[0]

    def refuse(self, trouble: Trouble, request: Request, call: str) -> Response:
        """Say it as Google does; that there is no room is said only when the operation is waited for."""
        if trouble is Trouble.CAPACITY and call == "instances.insert":
            zone = self._match(request)[1]["zone"]
            where = f"projects/{PROJECT}/zones/{zone}"
            return answer(self.compute.operations.add(request, "insert", where, _NO_ROOM))
        if call == _TOKEN:
            grave = trouble in {Trouble.DENIED, Trouble.EXPIRED, Trouble.MISSING}
            return answer({"error": "invalid_grant" if grave else "internal_failure"}, 400 if grave else 503)
        status, reason, message = _REFUSALS[trouble]
        if trouble is Trouble.THROTTLE and call.startswith(_OF_STORAGE):
            status = 429
        return Failure(status, reason, message).response()

    def wsgi(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a call."""
        environ["kola.host"] = urlsplit(self.url).netloc
        try:
            with self._lock:
                response = self._answer(Request(environ))
        except Failure as e:
            response = e.response()
        return response(environ, start_response)

    def metadata(self, machine: Machine, request: Request) -> Response:
        """Answer a guest."""
        return metadata.answer(machine, request)

    def environment(self) -> Mapping[str, str]:
        """Return a key that is good here only."""
        path = self.host.folder / "credentials.json"
        if not path.exists():
            self.account.write_key(path, self.url)
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": str(path),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "NO_GCE_CHECK": "true",
        }

    def options(self) -> Mapping[str, str]:
        """Return where this is."""
        return {"endpoint": self.url, "project": PROJECT, "region": REGION}

    def register(self, name: str) -> str:
        """Offer an image of the host, the newest of its family."""
        return self.compute.offer(name, f"published-{len(self.compute.images)}", "published")

    def resources(self) -> list[str]:
        """Return everything that the driver, or anybody, made."""
        compute = self.compute
        found = [f"instance {one}" for one in compute.instances]
        found += [f"machine {one}" for one in self.host.machines]
        found += [f"disk {one}" for one in compute.disks]
        found += [f"image {name}" for name, one in compute.images.items() if not one.get("published")]
        found += [f"firewall rule {one}" for one in compute.firewalls]
        found += [f"object {bucket}/{name}" for bucket, name in self.storage.objects]
        return sorted(found)

    def _match(self, request: Request) -> tuple[str, dict[str, str]]:
        try:
            name, given = self._paths.bind("").match(request.path, request.method)
        except HTTPException:
            name, given = "", {}
        if not name or (name == _DOWNLOAD and "X-Goog-Signature" not in request.args):
            return f"unknown: {request.method} {request.path}", {}
        return str(name), dict(given)

    def _answer(self, request: Request) -> Response:
        name, given = self._match(request)
        if name.startswith("unknown: "):
            raise Failure(404, "notFound", f"The rehearsal knows no such call ({name})")
        if name == _TOKEN:
            return answer(self.account.grant(request))
        if name == _DOWNLOAD:
            self.account.check_signature(request)
        elif name != "objects.upload":  # who knows its address may
            self.account.check(request)
        if name == _ALLOWED:
            wanted = request.get_json()["permissions"]
            return answer({"permissions": [one for one in wanted if one not in self.denied]})
        for permission in NEEDED.get(name, ()):
            if permission in self.denied:
                raise Failure(403, "forbidden", f"Required '{permission}' permission for 'projects/{PROJECT}'")
        part = self.storage if name.startswith(_OF_STORAGE) else self.compute
        response: Response = getattr(part, name.replace(".", "_"))(request, **given)
        return response
