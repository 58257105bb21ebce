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

    def run(self, request: Request, kind: str, zone: str, work: Callable[[], object]) -> Response:
        """Do something as an operation.

        Args:
            request: may carry a ``requestId``.
            kind: ``insert``, ``delete``...
            zone: where, or empty.
            work: does it; a ``Failure`` of it is that of the call.
        """
        token = request.args.get("requestId", "")
        if token:
            try:
                uuid.UUID(token)
            except ValueError:
                raise Failure(400, "invalid", f"Invalid value for field 'requestId': '{token}'") from None
            if token in self._tokens:
                return answer(self._all[self._tokens[token]])
        work()
        made = self.add(kind, zone)
        if token:
            self._tokens[token] = made["name"]
        return answer(made)

    def add(self, kind: str, zone: str, error: tuple[int, str, str] | None = None) -> dict[str, Any]:
        """Add an operation that runs; with an error (status, code, message) it fails when it is waited for."""
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
        if error is not None:
            made["fails"] = error
        self._all[made["name"]] = made
        return {key: value for key, value in made.items() if key != "fails"}

    def wait(self, name: str, zone: str) -> Response:
        """Return an operation when it is over."""
        made = self._all.get(name)
        if made is None or made.get("zone", "") != (f"{URL}{zone}" if zone else ""):
            raise Failure(404, "notFound", f"The resource '{zone or 'global'}/operations/{name}' was not found")
        made.update(status="DONE", progress=100)
        if "fails" in made:
            status, code, message = made.pop("fails")
            made["error"] = {"errors": [{"code": code, "message": message}]}
            made.update(httpErrorStatusCode=status, httpErrorMessage=message)
        return answer(made)
