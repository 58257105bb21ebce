"""The API of Azure as far as the driver needs it: ARM, tokens and storage on one port."""

from __future__ import annotations

import base64
import json
import secrets
import time
from typing import TYPE_CHECKING, Any, ClassVar
from xml.sax.saxutils import escape

from werkzeug import Request, Response

from rehearsal.azure import blobs, metadata
from rehearsal.azure.arm import Arm
from rehearsal.azure.blobs import Blobs
from rehearsal.azure.effects import CONSOLE, Effects
from rehearsal.azure.kinds import GROUP, TYPES, ArmError
from rehearsal.azure.paths import SUBSCRIPTION, target
from rehearsal.azure.permissions import needed
from rehearsal.faults import Trouble
from rehearsal.frontend import FrontEnd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from wsgiref.types import StartResponse, WSGIEnvironment

    from rehearsal.host import CloudHost, Machine

LOCATION = "westeurope"
PUBLISHED = "published"
"""The resource group of the images that are there from the beginning."""
_TOKENS = "/msi/token"
_AUDIENCE = "https://management.azure.com"
_REFUSALS = {
    Trouble.THROTTLE: (429, "TooManyRequests", "Number of requests exceeded the limit."),
    Trouble.ERROR: (500, "InternalServerError", "Encountered internal server error."),
    Trouble.CAPACITY: (409, "SkuNotAvailable", "The requested size is currently not available here."),
    Trouble.QUOTA: (409, "OperationNotAllowed", "Operation results in exceeding approved Total Regional Cores quota."),
    Trouble.EXPIRED: (401, "ExpiredAuthenticationToken", "The access token expiry is earlier than the current time."),
    Trouble.DENIED: (403, "AuthorizationFailed", "The client does not have authorization to perform the action."),
    Trouble.MISSING: (404, "ResourceNotFound", "The Resource was not found."),
}
_STORAGE_REFUSALS = {
    Trouble.THROTTLE: (503, "ServerBusy", "The server is busy."),
    Trouble.ERROR: (500, "InternalError", "The server encountered an internal error."),
    Trouble.DENIED: (403, "AuthorizationPermissionMismatch", "This request is not authorized."),
    Trouble.EXPIRED: (403, "AuthenticationFailed", "Server failed to authenticate the request."),
    Trouble.MISSING: (404, "BlobNotFound", "The specified blob does not exist."),
}


class Azure(FrontEnd):
    """One subscription in one location."""

    ignition_platform: ClassVar[str] = "azure"

    def __init__(self, host: CloudHost) -> None:
        super().__init__(host)
        host.folder.mkdir(parents=True, exist_ok=True)
        self.blobs = Blobs(host.folder)
        self.effects = Effects(host, self.blobs)
        self.arm = Arm(self.effects)
        self.allowed: set[str] | None = None
        """Actions of the role that the caller has, in lower case; None: all."""
        self.used: set[str] = set()
        """Actions that calls have needed, in lower case."""
        self._secret = secrets.token_urlsafe(16)
        claims = base64.urlsafe_b64encode(json.dumps({"appid": "rehearsal", "aud": _AUDIENCE}).encode()).decode()
        self._token = f"e30.{claims.rstrip('=')}.{secrets.token_urlsafe(16)}"
        self.arm.make(GROUP, f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{PUBLISHED}", {"location": LOCATION})

    def call_name(self, request: Request) -> str:
        """Return ``VirtualMachines.CreateOrUpdate`` and the like, or what storage calls this."""
        if request.path == _TOKENS:
            return "GetToken"
        if request.path.startswith("/subscriptions/"):
            try:
                return target(request.path).call(request.method)
            except ArmError:
                return f"{request.method} {request.path}"
        return blobs.call_name(request)

    def refuse(self, trouble: Trouble, request: Request, call: str) -> Response:
        """Say it as ARM, the token endpoint or storage does."""
        refusals = _REFUSALS if _is_arm(request) or call == "GetToken" else {**_REFUSALS, **_STORAGE_REFUSALS}
        return _refusal(request, ArmError(*refusals[trouble]))

    def wsgi(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a call."""
        request = Request(environ)
        self.arm.url = self.url
        try:
            answer = self._answer(request)
        except ArmError as e:
            answer = _refusal(request, e)
        return answer(environ, start_response)

    def metadata(self, machine: Machine, request: Request) -> Response:
        """Answer a guest."""
        return metadata.answer(machine, request)

    def environment(self) -> Mapping[str, str]:
        """Return what an application with a managed identity finds in its environment; good here only."""
        return {
            "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
            "IDENTITY_ENDPOINT": f"{self.url}{_TOKENS}",
            "IDENTITY_HEADER": self._secret,
        }

    def options(self) -> Mapping[str, str]:
        """Return where this is."""
        return {"endpoint": self.url, "location": LOCATION}

    def register(self, name: str) -> str:
        """Offer an image of the host as a version in a gallery."""
        compute, architecture = TYPES["Microsoft.Compute"], "Arm64" if self.host.arch.name == "aarch64" else "x64"
        gallery = (
            f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{PUBLISHED}/providers/Microsoft.Compute/galleries/published"
        )
        definition = f"{gallery}/images/image{len(self.host.images)}"
        common = {"location": LOCATION, "tags": {}}
        self.arm.make(compute["galleries"], gallery, dict(common))
        self.arm.make(compute["galleries/images"], definition, {**common, "properties": {"architecture": architecture}})
        regions = {"publishingProfile": {"targetRegions": [{"name": "West Europe"}]}}
        made = self.arm.make(
            compute["galleries/images/versions"], f"{definition}/versions/1.0.0", {**common, "properties": regions}
        )
        self.host.images[made.key] = self.host.images[name]
        return made.id

    def resources(self) -> list[str]:
        """Return everything that the driver, or anybody, made."""
        self.arm.purge()
        found = [
            f"{one.kind.name} {one.id}"
            for one in list(self.arm.resources.values())
            if one.id.split("/")[4] != PUBLISHED
        ]
        found += [f"machine {one}" for one in self.host.machines]
        found += [f"blob {one}" for one in self.blobs.listed()]
        return sorted(found)

    def _answer(self, request: Request) -> Response:
        if request.path == _TOKENS:
            return self._give_token(request)
        if _is_arm(request):
            if request.headers.get("Authorization") != f"Bearer {self._token}":
                raise ArmError(401, "InvalidAuthenticationToken", "The access token is invalid.")
            self._authorize(request)
            return self.arm.answer(request)
        if request.path.startswith(f"/{CONSOLE}/"):
            if request.args.get("sig") != self.effects.console_key:
                raise ArmError(403, "AuthenticationFailed", "Server failed to authenticate the request.")
            machine = self.host.machines.get(request.path.split("/")[2])
            if machine is None:
                raise ArmError(404, "BlobNotFound", "The specified blob does not exist.")
            return blobs.content(request, machine.console().encode())
        return self.blobs.answer(request)

    def _authorize(self, request: Request) -> None:
        for action in needed(target(request.path), request.method):
            self.used.add(action.lower())
            if self.allowed is not None and action.lower() not in self.allowed:
                message = f"The client does not have authorization to perform action '{action}'."
                raise ArmError(403, "AuthorizationFailed", message)

    def _give_token(self, request: Request) -> Response:
        if request.headers.get("X-IDENTITY-HEADER") != self._secret:
            raise ArmError(401, "Unauthorized", "the secret header is wrong")
        if request.args.get("resource") != _AUDIENCE or not request.args.get("api-version"):
            raise ArmError(400, "InvalidRequest", "resource and api-version are required")
        until = str(int(time.time()) + 3600)
        given: dict[str, Any] = {"access_token": self._token, "expires_on": until, "resource": _AUDIENCE}
        return Response(json.dumps({**given, "token_type": "Bearer"}), content_type="application/json")


def _is_arm(request: Request) -> bool:
    return request.path.startswith("/subscriptions/")


def _refusal(request: Request, error: ArmError) -> Response:
    if _is_arm(request) or request.path == _TOKENS:
        text = json.dumps({"error": {"code": error.code, "message": error.message}})
        return Response(text, error.status, content_type="application/json")
    said = f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
    body = f'<?xml version="1.0" encoding="utf-8"?><Error>{said}</Error>'
    headers = {"x-ms-error-code": error.code}
    return Response(b"" if request.method == "HEAD" else body, error.status, headers, content_type="application/xml")
