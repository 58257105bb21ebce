"""Azure Resource Manager: resources by id, in groups, made and deleted by long-running operations."""

from __future__ import annotations

import copy
import itertools
import json
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from werkzeug import Response

from rehearsal.azure.kinds import GROUP, TYPES, ArmError, Type, references, validate
from rehearsal.azure.paths import Target, operation, target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from werkzeug import Request

    from rehearsal.azure.effects import Effects

_PAGE = 50
_API_VERSION = re.compile(r"20\d\d-\d\d-\d\d(-preview)?")
_GROUP_ID = 4
"""How many parts the id of a resource group has."""
_TYPE_AT = 6
"""Where in an id the types begin."""


@dataclass
class Resource:
    """Something that was made.

    Attributes:
        id: as it was spelled.
        kind: its type.
        body: of the request that made it.
        refers: ids that the body names, in lower case.
        gone_at: when it is gone, monotonic; None: it stays.
        failure: code of the error with which its making ended; empty: none.
    """

    id: str
    kind: Type
    body: dict[str, Any]
    refers: set[str] = field(default_factory=set)
    gone_at: float | None = None
    failure: str = ""

    @property
    def name(self) -> str:
        """Its own name."""
        return self.id.rpartition("/")[2]

    @property
    def key(self) -> str:
        """Its id in lower case: Azure does not care."""
        return self.id.lower()

    @property
    def group(self) -> str:
        """The id of its group, in lower case."""
        return "/".join(self.key.split("/")[: _GROUP_ID + 1])

    @property
    def state(self) -> str:
        """The ``provisioningState``."""
        return "Deleting" if self.gone_at is not None else "Failed" if self.failure else "Succeeded"


class Arm:
    """All resources of the one subscription.

    Args:
        effects: what follows from requests beyond the record of them.
    """

    linger = 0.03
    """Seconds that a machine takes to be gone."""

    def __init__(self, effects: Effects) -> None:
        self.url = ""
        self.resources: dict[str, Resource] = {}
        self._effects = effects
        self._lock = threading.RLock()
        self._operations = itertools.count(1)
        self._made: dict[str, str] = {}  # by path of the operation, what it makes

    def answer(self, request: Request) -> Response:
        """Answer a call.

        Raises:
            ArmError: it is refused.
        """
        if not _API_VERSION.fullmatch(request.args.get("api-version", "")):
            raise ArmError(
                400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required."
            )
        wanted = target(request.path)
        with self._lock:
            self.purge()
            if wanted.kind is None:
                return self._special(wanted.id, request)
            if wanted.listing:
                return self._list(wanted, request)
            return self._one(wanted, request)

    def purge(self) -> None:
        """Forget what is gone by now, with what goes with it."""
        for one in list(self.resources.values()):
            if one.gone_at is not None and one.gone_at <= time.monotonic():
                self.remove(one)

    def remove(self, one: Resource) -> None:
        """Let something be gone."""
        if self.resources.pop(one.key, None) is not None:
            self._effects.removed(one, self)

    def make(self, kind: Type, identity: str, body: dict[str, Any]) -> Resource:
        """Write something down."""
        made = Resource(identity, kind, body, references(body))
        self.resources[made.key] = made
        return made

    def inside(self, prefix: str) -> Iterator[Resource]:
        """Yield what is within a resource or a group."""
        return (one for key, one in list(self.resources.items()) if key.startswith(f"{prefix.lower()}/"))

    # -- calls -------------------------------------------------------------------------------------------------------

    def _one(self, wanted: Target, request: Request) -> Response:
        found = self.resources.get(wanted.id.lower())
        if wanted.kind is not GROUP:
            self._see_around(wanted)
        if request.method == "PUT":
            return self._put(wanted, request, found)
        if found is None:
            if request.method == "DELETE" and wanted.kind is not GROUP:
                return Response(status=204)
            code = "ResourceGroupNotFound" if wanted.kind is GROUP else "ResourceNotFound"
            raise ArmError(404, code, f"The Resource '{wanted.id}' was not found.")
        if request.method == "POST" and wanted.action:
            status, answered = self._effects.posted(found, wanted.action, self)
            return _json(answered, status, self._operation(found) if status == 202 else {})  # noqa: PLR2004
        if request.method == "DELETE":
            return self._delete(found)
        if request.method == "PATCH":
            found.body["tags"] = dict(_body(request)["tags"])
        elif request.method != "GET":
            raise ArmError(405, "MethodNotAllowed", request.method)
        return _json(self.shown(found))

    def _see_around(self, wanted: Target) -> None:
        """See that group and parents of a resource are there."""
        parts = wanted.id.split("/")
        group = self.resources.get("/".join(parts[: _GROUP_ID + 1]).lower())
        if group is None:
            raise ArmError(404, "ResourceGroupNotFound", f"Resource group '{parts[_GROUP_ID]}' could not be found.")
        for end in range(_TYPE_AT + 3, len(parts), 2):
            if "/".join(parts[:end]).lower() not in self.resources:
                raise ArmError(404, "ParentResourceNotFound", f"There is no '{'/'.join(parts[:end])}'.")

    def _put(self, wanted: Target, request: Request, found: Resource | None) -> Response:
        body, kind = _body(request), wanted.kind
        assert kind is not None  # noqa: S101 - for the type checker
        validate(kind, body)
        if found is not None and found.gone_at is not None:
            raise ArmError(409, "Conflict", f"{found.name} is being deleted")
        if found is not None and request.headers.get("If-None-Match") == "*":
            raise ArmError(412, "PreconditionFailed", f"{found.name} is there")
        for identity in references(body):
            known = self.resources.get("/".join(identity.split("/")[:9])) or self.resources.get(identity)
            if known is None or known.gone_at is not None:
                raise ArmError(400, "InvalidResourceReference", f"Resource {identity} was not found.")
        if found is None:
            made = self.make(kind, wanted.id, body)
            try:
                self._effects.made(made, self)
            except BaseException:
                self.resources.pop(made.key)
                raise
            state = {"provisioningState": "Creating"}
        else:
            self._effects.changed(found)
            made, state = found, {}
            found.body["tags"] = body.get("tags", {})
        if kind is GROUP:
            return _json(self.shown(made), 201 if state else 200)
        shown = self.shown(made)
        if state and kind.name == "storageAccounts":  # the one that says so by another header
            headers = self._operation(made, "Location")
            self._made[urlsplit(headers["Location"]).path] = made.key
            return _json(None, 202, headers)
        shown["properties"] |= state
        return _json(shown, 201 if state else 200, self._operation(made) if state else {})

    def _delete(self, found: Resource) -> Response:
        if found.kind is GROUP:
            for one in sorted(self.inside(found.key), key=lambda each: len(each.key), reverse=True):
                self.remove(one)
            self.remove(found)
            return Response(status=202, headers=self._operation(found, "Location"))
        stands = [one for one in self.resources.values() if any(_is_in(ref, found.key) for ref in one.refers)]
        if found.kind.name == "galleries/images/versions":
            stands = []  # machines have a copy
        if stands or any(True for _ in self.inside(found.key)):
            status, code = found.kind.in_use
            raise ArmError(status, code, f"{found.id} is in use: {[one.id for one in stands]}")
        lingers = found.kind.name == "virtualMachines"
        if lingers:
            self._effects.ending(found)
        found.gone_at = found.gone_at or time.monotonic() + (self.linger if lingers else 0.0)
        self.purge()
        if found.kind.name == "storageAccounts":
            return Response(status=200)
        return Response(status=202, headers=self._operation(found))

    def _list(self, wanted: Target, request: Request) -> Response:
        if request.method != "GET":
            raise ArmError(405, "MethodNotAllowed", request.method)
        assert wanted.kind is not None  # noqa: S101 - for the type checker
        everywhere = "/resourceGroups/" not in wanted.id
        if not everywhere and f"{wanted.id}/".lower().split("/")[_GROUP_ID]:
            group = "/".join(wanted.id.split("/")[: _GROUP_ID + 1]).lower()
            if group not in self.resources:
                raise ArmError(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")
        found = [one for one in self.inside(wanted.id) if one.kind is wanted.kind]
        status_only = request.args.get("statusOnly") == "true"
        shown = [self.shown(one, status=status_only) for one in found]
        if everywhere and wanted.kind is not GROUP:
            for one in shown:  # as Azure does
                parts = one["id"].split("/")
                parts[_GROUP_ID] = parts[_GROUP_ID].upper()
                one["id"] = "/".join(parts)
        first = int(request.args.get("$skiptoken", "0"))
        page: dict[str, Any] = {"value": shown[first : first + _PAGE]}
        if first + _PAGE < len(shown):
            more = {**request.args.to_dict(), "$skiptoken": str(first + _PAGE)}
            page["nextLink"] = f"{self.url}{request.path}?" + "&".join(f"{key}={value}" for key, value in more.items())
        return _json(page)

    def _special(self, what: str, request: Request) -> Response:
        if request.method != "GET":
            raise ArmError(405, "MethodNotAllowed", request.method)
        if what == "Operations.Get":
            if made := self.resources.get(self._made.get(request.path, "")):
                return _json(self.shown(made))
            return _json({"status": "Succeeded", "name": request.path.rpartition("/")[2]})
        if what == "Providers.Get":
            name = request.path.rpartition("/")[2]
            return _json({"namespace": name, "registrationState": "Registered" if name in TYPES else "NotRegistered"})
        return _json({"value": self._effects.skus(request.args.get("$filter", ""))})

    def _operation(self, one: Resource, header: str = "Azure-AsyncOperation") -> dict[str, str]:
        """Return the headers that say where a long operation can be asked for."""
        path = operation(one.kind, one.body["location"], next(self._operations))
        return {header: f"{self.url}{path}?api-version=2020-01-01", "Retry-After": "0"}

    def shown(self, one: Resource, *, status: bool = False) -> dict[str, Any]:
        """Return a resource as Azure shows it."""
        body = copy.deepcopy(one.body)
        body["properties"] = {**body.get("properties", {}), "provisioningState": one.state}
        self._effects.show(one, body, self, status=status)
        return {"id": one.id, "name": one.name, "type": one.kind.name, **body}


def _is_in(identity: str, key: str) -> bool:
    return identity == key or identity.startswith(f"{key}/")


def _body(request: Request) -> dict[str, Any]:
    try:
        found = json.loads(request.get_data())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ArmError(400, "InvalidRequestContent", "The request content was invalid and could not be deserialized.")
    return found


def _json(content: Any, status: int = 200, headers: Iterable[Any] | dict[str, str] = ()) -> Response:
    text = "" if content is None else json.dumps(content)
    return Response(text, status, dict(headers), content_type="application/json")
