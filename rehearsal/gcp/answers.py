"""How Google says yes and no."""

from __future__ import annotations

import json
from typing import Any

from werkzeug import Response

STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}


class Failure(Exception):
    """A call is refused.

    Attributes:
        status: of HTTP.
        reason: Google's word for it.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    def response(self) -> Response:
        """Return it as Google says it."""
        error = {"reason": self.reason, "domain": "global", "message": str(self)}
        body: dict[str, Any] = {"code": self.status, "message": str(self), "errors": [error]}
        if self.status in STATUSES:
            body["status"] = STATUSES[self.status]
        return answer({"error": body}, self.status)


def answer(body: Any, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(json.dumps(body), status=status, content_type="application/json; charset=UTF-8")


def required(given: Any, *keys: str) -> list[Any]:
    """Return what a request must have; ``a.b`` is what is inside of another.

    Raises:
        Failure: it has it not.
    """
    found = []
    for key in keys:
        value = given
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value in (None, "", [], {}):
            raise Failure(400, "required", f"Required field '{key}' not specified")
        found.append(value)
    return found
