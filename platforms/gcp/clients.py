"""Google's clients: made once, each call tried once, operations waited for."""

from __future__ import annotations

import contextlib
import itertools
import os
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any

import google.auth
from google.api_core.exceptions import Conflict, from_http_response
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from google.cloud import compute_v1, storage
from google.cloud.compute_v1.types import Operation

from kola.errors import ConfigError, PlatformError, WaitTimeout
from kola.wait import Deadline, wait_until
from platforms.gcp.errors import OperationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import requests

    from kola.retry import Caller
    from platforms.gcp.options import Options

SECONDS = 60.0
"""For an answer to a call."""
_WAIT_SECONDS = 150.0
"""For one to ``wait``, which Google answers after two minutes at the latest."""
_OPERATION_SECONDS = 900.0
_AGAIN_SECONDS = 300.0
"""After how long an operation that failed is not followed by another one."""
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_PERMISSIONS = "https://cloudresourcemanager.googleapis.com"


def new_token() -> str:
    """Return a ``requestId``: to be the same for every attempt at one thing, and no other's."""
    return str(uuid.uuid4())


def token_of(name: str) -> str:
    """Return the ``requestId`` of what has a name of its own."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


class Clients:
    """The services that kola uses, in one project; each is made when it is first needed.

    Args:
        options: of the platform.
        interval: seconds between two looks at an operation that Google does not wait for itself.

    Raises:
        ConfigError: no credentials, or no project.
    """

    def __init__(self, options: Options, interval: float) -> None:
        try:
            self.credentials, found = google.auth.default(scopes=[_SCOPE])
        except (GoogleAuthError, OSError, ValueError) as e:
            raise ConfigError(f"platform gcp: no usable credentials: {e}; see docs/gcp.md") from e
        if not (options.project or found):
            raise ConfigError("platform gcp: no project: -P project=ID, or GOOGLE_CLOUD_PROJECT")
        self.project: str = options.project or str(found)
        self.who: str = (
            getattr(self.credentials, "service_account_email", "")
            or getattr(self.credentials, "account", "")
            or "a user"
        )
        self._limit = _OPERATION_SECONDS * options.slowness
        self._interval = interval
        self._endpoint = options.endpoint
        where = {"api_endpoint": options.endpoint} if options.endpoint else None
        self._given: dict[str, Any] = {"credentials": self.credentials, "client_options": where}

    @cached_property
    def projects(self) -> compute_v1.ProjectsClient:
        """Projects."""
        return compute_v1.ProjectsClient(**self._given)

    @cached_property
    def regions(self) -> compute_v1.RegionsClient:
        """Regions."""
        return compute_v1.RegionsClient(**self._given)

    @cached_property
    def machine_types(self) -> compute_v1.MachineTypesClient:
        """Machine types."""
        return compute_v1.MachineTypesClient(**self._given)

    @cached_property
    def images(self) -> compute_v1.ImagesClient:
        """Images."""
        return compute_v1.ImagesClient(**self._given)

    @cached_property
    def instances(self) -> compute_v1.InstancesClient:
        """Instances."""
        return compute_v1.InstancesClient(**self._given)

    @cached_property
    def disks(self) -> compute_v1.DisksClient:
        """Disks."""
        return compute_v1.DisksClient(**self._given)

    @cached_property
    def firewalls(self) -> compute_v1.FirewallsClient:
        """Firewall rules."""
        return compute_v1.FirewallsClient(**self._given)

    @cached_property
    def storage(self) -> storage.Client:
        """Cloud Storage, without the thread in which the SDK asks what traces would say of a bucket.

        Whose calls nobody waits for, tries again or counts.
        """
        os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
        return storage.Client(project=self.project, **self._given)

    @cached_property
    def session(self) -> requests.Session:
        """Plain HTTP with these credentials."""
        return AuthorizedSession(self.credentials)

    @cached_property
    def _zone_operations(self) -> compute_v1.ZoneOperationsClient:
        return compute_v1.ZoneOperationsClient(**self._given)

    @cached_property
    def _global_operations(self) -> compute_v1.GlobalOperationsClient:
        return compute_v1.GlobalOperationsClient(**self._given)

    def ask(self, method: Callable[..., Any], **request: Any) -> Any:
        """Call a method of Compute Engine in the project, once: ``kola.retry`` is what tries again."""
        return method(request={"project": self.project, **request}, retry=None, timeout=SECONDS)

    def to(self, method: Any) -> Callable[..., Any]:
        """Return a function that asks, under Google's name for the method: errors tell it.

        Of a method that makes something it returns None where what has that name is there already.
        """

        def call(**request: Any) -> Any:
            with contextlib.suppress(Conflict):
                return self.ask(method, **request)

        service = type(method.__self__).__name__.removesuffix("Client")
        call.__name__ = f"{service[0].lower()}{service[1:]}.{method.__name__.removesuffix('_unary')}"
        return call

    def make(self, call: Caller, method: Any, token: str, request: Callable[[str], Mapping[str, Any]]) -> str:
        """Make something, and wait until it is there.

        The call and the waiting are tried again each by itself: under throttling the first would be made over and over.
        An operation that failed stays failed, and the same ``requestId`` would bring it back: what passes (too many
        operations, an error of Google's) is asked for anew, under another one.

        Args:
            call: tries again.
            method: of Compute Engine.
            token: the same for every attempt at this one thing, and no other's.
            request: returns what to ask for, given a token of that operation alone.

        Returns:
            The token of the operation that made it.
        """
        numbers = itertools.count()
        insert = self.to(method)

        def attempt() -> str:
            own = f"{token}-{next(numbers)}"
            made = call.fresh(insert, **request(own), request_id=token_of(own))
            if made is not None:  # else it is there: an attempt's whose answer was lost
                _check(call(self.over, made))
            return own

        attempt.__name__ = insert.__name__
        return call.around(_AGAIN_SECONDS).fresh(attempt)

    def finish(self, operation: Operation) -> None:
        """Wait until an operation is over.

        Raises:
            OperationError: it failed.
            PlatformError: it takes too long.
        """
        _check(self.over(operation))

    def over(self, operation: Operation) -> Operation:
        """Wait until an operation is over, and return what became of it.

        Raises:
            PlatformError: it takes too long.
        """
        latest = operation

        def over() -> bool:
            nonlocal latest
            if latest.status != Operation.Status.DONE:
                latest = self._wait(latest)
            return latest.status == Operation.Status.DONE

        try:
            limit = Deadline(self._limit)
            wait_until(over, limit, what=f"the end of {operation.operation_type}", interval=self._interval)
        except WaitTimeout as e:
            raise PlatformError(str(e)) from e
        return latest

    def _wait(self, operation: Operation) -> Operation:
        request = {"project": self.project, "operation": operation.name}
        if not operation.zone:
            return self._global_operations.wait(request=request, retry=None, timeout=_WAIT_SECONDS)
        request["zone"] = operation.zone.rsplit("/", 1)[-1]
        return self._zone_operations.wait(request=request, retry=None, timeout=_WAIT_SECONDS)

    def granted(self, permissions: Sequence[str]) -> set[str]:
        """Return which of these permissions the credentials have in the project."""
        url = f"{self._endpoint or _PERMISSIONS}/v1/projects/{self.project}:testIamPermissions"
        answer = self.session.post(url, json={"permissions": list(permissions)}, timeout=SECONDS)
        if not answer.ok:
            raise from_http_response(answer)
        return set(answer.json().get("permissions", ()))


def _check(operation: Operation) -> None:
    for error in operation.error.errors:
        raise OperationError(error.code, error.message)
