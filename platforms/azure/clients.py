"""The SDK's clients, and what their errors mean."""

from __future__ import annotations

import base64
import json
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.identity import DefaultAzureCredential
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.storage import StorageManagementClient

from kola.errors import ConfigError
from kola.retry import Fault, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.core.credentials import TokenCredential
    from azure.core.pipeline import PipelineRequest

    from platforms.azure.options import Options

_SCOPE = "https://management.azure.com/.default"
_NO_ROOM = {
    *("SkuNotAvailable", "AllocationFailed", "ZonalAllocationFailed", "OverconstrainedAllocationRequest"),
    *("OverconstrainedZonalAllocationRequest", "QuotaExceeded", "PublicIPCountLimitReached", "SpotQuotaExceeded"),
    *("NetworkInterfaceCountLimitReached", "ResourceQuotaExceeded", "SubnetIsFull"),
}
_BUSY = {
    *("AnotherOperationInProgress", "Conflict", "RetryableError", "RetryableErrorDueToAnotherOperation"),
    *("ReferencedResourceNotProvisioned", "NicInUse", "NicReservedForAnotherVm", "PublicIPAddressCannotBeDeleted"),
    *("InUseSubnetCannotBeDeleted", "InUseNetworkSecurityGroupCannotBeDeleted", "ResourceGroupBeingDeleted"),
    *("CannotDeleteResource", "ContainerBeingDeleted", "StorageAccountOperationInProgress", "OperationNotAllowed"),
    *("Canceled", "OperationPreempted", "InternalServerError", "NetworkingInternalOperationError"),
}
"""Gone after a while: also what still depends on something that is being deleted."""
_THROTTLED = {"TooManyRequests", "ServerBusy"}
_BUSY_WITH_IT = {"RetryableError", "RetryableErrorDueToAnotherOperation", "AnotherOperationInProgress"}
"""Said with the status of a throttled call, but about one resource."""
_GONE = {"InvalidResourceReference", "ReferencedResourceNotFound", "ResourceNotFound", "ParentResourceNotFound"}
_NEVER = {"SubscriptionNotFound", "InvalidSubscriptionId", "PropertyChangeNotAllowed", "ScopeLocked"}
_TOO_OFTEN = 429
_LATER = {408, 412, _TOO_OFTEN}  # 412: of that name there is another one, which is being deleted
_MISSING = 404
_SERVER = 500


def no_room(code: str) -> bool:
    """Tell whether the reason of a machine's end is a lack of capacity or a quota."""
    return code in _NO_ROOM


def classify(error: Exception) -> Verdict | None:
    """Tell what an error of the SDK means; None for one that is not Azure's."""
    if isinstance(error, HttpResponseError) and error.response is not None:
        code, message = said(error)
        status = error.status_code or 0
        headers: Any = getattr(error.response, "headers", {})
        wait = headers.get("Retry-After", "")
        seconds = float(wait) if wait.isdecimal() else 0.0
        throttled = code in _THROTTLED or (status == _TOO_OFTEN and code not in _BUSY_WITH_IT)
        return Verdict(_fault(code, message, status), f"{code}: {_line(message)}", seconds, throttled)
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return Verdict(Fault.TRANSIENT, f"no connection: {_line(str(error))}")
    if isinstance(error, AzureError):
        return Verdict(Fault.FATAL, _line(str(error)))
    return None


def said(error: HttpResponseError) -> tuple[str, str]:
    """Return code and message: storage has them in headers, everybody else in the body."""
    described = error.error
    code = getattr(error, "error_code", None) or getattr(described, "code", None) or str(error.status_code)
    message = getattr(described, "message", None) or error.message
    return str(getattr(code, "value", code)), str(message)


def _fault(code: str, message: str, status: int) -> Fault:
    if code in _NO_ROOM or (code == "OperationNotAllowed" and "quota" in message.lower()):
        return Fault.CAPACITY
    if code in _NEVER:
        return Fault.FATAL
    if code in _GONE or status == _MISSING:
        return Fault.MISSING
    if code in _BUSY or status in _LATER or status >= _SERVER:
        return Fault.TRANSIENT
    return Fault.FATAL


def _line(message: str) -> str:
    lines = message.strip().splitlines()
    return lines[0] if lines else "no message"


class _PlainBearer(SansIOHTTPPolicy[Any, Any]):
    """Sends the token over HTTP to this host: the SDK's own policy insists on TLS, which a rehearsal has not."""

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """Add the token."""
        request.http_request.headers["Authorization"] = f"Bearer {self._credential.get_token(_SCOPE).token}"


class Clients:
    """The services that kola uses, in one subscription; each is made when it is first needed.

    Args:
        options: of the platform.
        interval: seconds between two looks at an operation.
        pace: waits until a request may be made; called before each.

    Raises:
        ConfigError: no subscription, or an endpoint to which no token may go.
    """

    def __init__(self, options: Options, interval: float, pace: Callable[[], None]) -> None:
        self.before_each: dict[str, Any] = {"raw_request_hook": lambda _: pace()}
        self.subscription = options.subscription or os.environ.get("AZURE_SUBSCRIPTION_ID", "")
        if not self.subscription:
            raise ConfigError("platform azure: no subscription: -P subscription=ID or AZURE_SUBSCRIPTION_ID")
        self.credential = DefaultAzureCredential()
        # One attempt each: kola.retry is what tries again.
        self._given: dict[str, Any] = {
            "credential": self.credential,
            "subscription_id": self.subscription,
            "base_url": options.endpoint or None,
            "polling_interval": interval,
            "retry_total": 0,
            **self.before_each,
        }
        where = urlsplit(options.endpoint)
        if where.scheme == "http":
            if where.hostname not in {"127.0.0.1", "localhost"}:
                raise ConfigError(f"-P endpoint={options.endpoint}: a token goes there, so https except on this host")
            self._given["authentication_policy"] = _PlainBearer(self.credential)

    @cached_property
    def compute(self) -> Any:
        """Machines, disks, galleries."""
        return ComputeManagementClient(**self._given)

    @cached_property
    def network(self) -> Any:
        """Addresses, interfaces, networks."""
        return NetworkManagementClient(**self._given)

    @cached_property
    def groups(self) -> Any:
        """Resource groups and providers."""
        return ResourceManagementClient(**self._given)

    @cached_property
    def storage(self) -> Any:
        """Storage accounts."""
        return StorageManagementClient(**self._given)

    def who(self) -> str:
        """Say whose the credentials are.

        Raises:
            ConfigError: there are none.
        """
        try:
            token = self.credential.get_token(_SCOPE).token
        except ClientAuthenticationError as e:
            raise ConfigError(f"platform azure: no usable credentials: {_line(str(e))}; see docs/azure.md") from e
        return _name_in(token)

    def close(self) -> None:
        """Close the connections."""
        for name in ("compute", "network", "groups", "storage"):
            if name in self.__dict__:
                self.__dict__[name].close()
        self.credential.close()


def _name_in(token: str) -> str:
    """Return the name of whom a token is for; it is not checked, only shown."""
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        return "somebody"
    names = (claims.get(key) for key in ("upn", "unique_name", "app_displayname", "appid", "oid"))
    return str(next((name for name in names if name), "somebody"))
