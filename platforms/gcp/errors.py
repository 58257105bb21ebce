"""What errors of Google's SDK mean."""

from __future__ import annotations

from urllib.parse import urlsplit

import requests
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError, TransportError

from kola.retry import Fault, Verdict

_NO_ROOM = {
    *("ZONE_RESOURCE_POOL_EXHAUSTED", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "RESOURCE_POOL_EXHAUSTED"),
    *("insufficientCapacity", "QUOTA_EXCEEDED", "quotaExceeded", "GPU_QUOTA_EXCEEDED"),
}
_THROTTLED = {
    *("rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_OPERATION_RATE_EXCEEDED"),
    "429",
}
_BUSY = {
    *("resourceNotReady", "RESOURCE_NOT_READY", "resourceInUseByAnotherResource", "conditionNotMet"),
    *("RESOURCE_IN_USE_BY_ANOTHER_RESOURCE", "INTERNAL_ERROR", "SERVICE_UNAVAILABLE"),
}
"""Gone after a while: also what still depends on something that is being deleted."""
_GONE = {"notFound", "RESOURCE_NOT_FOUND"}
_AGAIN = {408, 429, 500, 502, 503, 504}


class OperationError(Exception):
    """An operation of Compute Engine that was accepted has failed.

    Attributes:
        code: Google's name for it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def classify(error: Exception) -> Verdict | None:
    """Tell what an error of the SDK means; None for one that is not Google's."""
    if isinstance(error, OperationError):
        throttled = error.code in _THROTTLED
        return Verdict(_fault(error.code, 0), f"{error.code}: {_line(str(error))}", throttled=throttled)
    if isinstance(error, GoogleAPICallError):
        reason, message = _reason(error)
        wait = getattr(error.response, "headers", {}).get("Retry-After", "")
        status = int(error.code or 0)
        return Verdict(
            _fault(reason, status),
            f"{reason}: {_line(message)}",
            float(wait) if wait.isdecimal() else 0.0,
            throttled=bool({reason, str(status)} & _THROTTLED),
        )
    if isinstance(error, GoogleAuthError):
        return _of_tokens(error)
    if isinstance(error, requests.RequestException):
        # Not its text: that has the whole URL, and that of an upload lets anybody write.
        host = urlsplit(str(getattr(error.request, "url", "") or "")).netloc
        return Verdict(Fault.TRANSIENT, f"no connection to {host or 'Google'} ({type(error).__name__})")
    return None


def _of_tokens(error: GoogleAuthError) -> Verdict:
    """Tell what it means that there is no token."""
    message = _line(str(error.args[0] if error.args else error))
    if isinstance(error, TransportError) or error.retryable:
        return Verdict(Fault.TRANSIENT, "no connection to Google's token service")
    if message.startswith("<"):  # a page of what stands before the service
        return Verdict(Fault.TRANSIENT, "an answer that is none of Google's token service")
    return Verdict(Fault.FATAL, f"credentials: {message}")


def _fault(reason: str, status: int) -> Fault:
    if reason in _NO_ROOM:
        return Fault.CAPACITY
    if reason in _BUSY | _THROTTLED or status in _AGAIN:
        return Fault.TRANSIENT
    if reason in _GONE or status == 404:  # noqa: PLR2004 - not found
        return Fault.MISSING
    return Fault.FATAL


def _reason(error: GoogleAPICallError) -> tuple[str, str]:
    for each in error.errors:
        if isinstance(each, dict) and each.get("reason"):
            return str(each["reason"]), str(each.get("message", ""))
    return str(error.code and int(error.code)), str(error.message or "no message")


def _line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[0]
