"""Who may use blob storage: requests signed with an account's key, and signed URLs.

Source: Azure's "Authorize with Shared Key" and "Create a service SAS".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from werkzeug import Request

_HEADERS = (
    *("Content-Encoding", "Content-Language", "Content-Length", "Content-MD5", "Content-Type", "Date"),
    *("If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range"),
)
_IN_URL = ("sp", "st", "se", None, "si", "sip", "spr", "sv", "sr", "snapshot", "ses")
_OF_ANSWER = ("rscc", "rscd", "rsce", "rscl", "rsct")
_READS = {"GET", "HEAD"}


def allowed(request: Request, account: str, key: str) -> bool:
    """Tell whether a request for something of an account carries a good signature."""
    if "sig" in request.args:
        good = _signature(key, _url_text(request, account)) == request.args["sig"]
        until = datetime.strptime(request.args.get("se", ""), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        return good and "r" in request.args.get("sp", "") and request.method in _READS and until > datetime.now(UTC)
    expected = f"SharedKey {account}:{_signature(key, _header_text(request, account))}"
    return hmac.compare_digest(request.headers.get("Authorization", ""), expected)


def _signature(key: str, text: str) -> str:
    return base64.b64encode(hmac.digest(base64.b64decode(key), text.encode(), hashlib.sha256)).decode()


def _header_text(request: Request, account: str) -> str:
    values = [request.headers.get(name, "") for name in _HEADERS]
    length = _HEADERS.index("Content-Length")
    values[length] = "" if values[length] == "0" else values[length]
    ours = sorted((name.lower(), value) for name, value in request.headers.items() if name.lower().startswith("x-ms-"))
    query = "".join(f"\n{name.lower()}:{value}" for name, value in sorted(request.args.items()))
    lines = [request.method, *values, *(f"{name}:{value}" for name, value in ours)]
    path = str(request.environ["RAW_URI"]).partition("?")[0]  # as it was sent
    return "\n".join(lines) + f"\n/{account}{path}{query}"


def _url_text(request: Request, account: str) -> str:
    # The path here begins with the account's name, as it is on a host that is an address.
    path = f"/blob/{account}{request.path.removeprefix(f'/{account}')}"
    values = [path if name is None else request.args.get(name, "") for name in _IN_URL]
    return "\n".join([*values, *(request.args.get(name, "") for name in _OF_ANSWER)])
