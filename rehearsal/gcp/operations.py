"""Operations of Compute Engine: what was asked for is done at once, but said only to who waits for it."""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING, Any

from rehearsal.gcp.answers import Failure, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug import Request, Response

URL = "https://www.googleapis.com/compute/v1/"


class Operations:
    """All operations of a project; the same ``requestId`` gets the same one again."""

    def __init__(self) -> None:
        self._numbers = itertools.count(4_200_000_000_000_000_000)
        self._all: dict[str, dict[str, Any]] = {}
        self._tokens: dict[str, str] = {}
        self._errors: dict[str, tuple[int, str, str]] = {}
        self.failing: list[tuple[int, str, str]] = []
        """Status, code and message with which the next insertions end that are accepted."""

    def run(
        self, request: Request, kind: str, zone: str, work: Callable[[], object], rest: Callable[[], object] = int
    ) -> Response:
        """Do something as an operation.

        Args:
            request: may carry a ``requestId``.
            kind: ``insert``, ``delete``...
            zone: where, or empty.
            work: does it; a ``Failure`` of it is that of the call.
            rest: does what is left of it if the operation fails.
        """
        if (known := self._known(request)) is not None:
            return answer(known)
        if kind == "insert" and self.failing:
            rest()
            return answer(self.add(request, kind, zone, self.failing.pop(0)))
        work()
        return answer(self.add(request, kind, zone))

    def add(self, request: Request, kind: str, zone: str, error: tuple[int, str, str] | None = None) -> dict[str, Any]:
        """Add an operation that runs; with an error (status, code, message) it has failed when it is waited for."""
        if (known := self._known(request)) is not None:
            return known
        number = str(next(self._numbers))
        made: dict[str, Any] = {
            "kind": "compute#operation",
            "id": number,
            "name": f"operation-{number}",
            "operationType": kind,
            "status": "RUNNING",
            "progress": 0,
        }
        if zone:
            made["zone"] = f"{URL}{zone}"
        self._all[made["name"]] = made
        if error is not None:
            self._errors[made["name"]] = error
        if token := request.args.get("requestId"):
            self._tokens[token] = made["name"]
        return made

    def _known(self, request: Request) -> dict[str, Any] | None:
        """Return the operation of a ``requestId``: also one that failed, for good."""
        token = request.args.get("requestId", "")
        try:
            uuid.UUID(token or str(uuid.NAMESPACE_OID))
        except ValueError:
            raise Failure(400, "invalid", f"Invalid value for field 'requestId': '{token}'") from None
        return self._all[self._tokens[token]] if token in self._tokens else None

    def wait(self, name: str, zone: str) -> Response:
        """Return an operation when it is over."""
        made = self._all.get(name)
        if made is None or made.get("zone", "") != (f"{URL}{zone}" if zone else ""):
            raise Failure(404, "notFound", f"The resource '{zone or 'global'}/operations/{name}' was not found")
        made.update(status="DONE", progress=100)
        if name in self._errors:
            status, code, message = self._errors[name]
            made["error"] = {"errors": [{"code": code, "message": message}]}
            made.update(httpErrorStatusCode=status, httpErrorMessage=message)
        return answer(made)
