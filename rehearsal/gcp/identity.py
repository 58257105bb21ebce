"""The one service account of the rehearsal: its key, the tokens that it gets or signs itself, URLs that it signs."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.auth import jwt

from rehearsal.gcp.answers import Failure

if TYPE_CHECKING:
    from pathlib import Path

    from werkzeug import Request

PROJECT = "rehearsal-1"
EMAIL = f"kola@{PROJECT}.iam.gserviceaccount.com"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME = 3600


@cache
def _key() -> rsa.RSAPrivateKey:
    """Return the key of this process's rehearsals; making one takes its time."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Account:
    """Knows who may call."""

    def __init__(self) -> None:
        self._tokens: set[str] = set()
        self._public = (
            _key()
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    def write_key(self, path: Path, url: str) -> None:
        """Write the file that ``GOOGLE_APPLICATION_CREDENTIALS`` names."""
        private = _key().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.touch(mode=0o600)
        known = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "rehearsal",
            "private_key": private.decode(),
            "client_email": EMAIL,
            "client_id": "1",
            "token_uri": f"{url}/token",
        }
        path.write_text(json.dumps(known))

    def grant(self, request: Request) -> dict[str, Any]:
        """Give a token to who shows a text that the account signed.

        Raises:
            Failure: it did not.
        """
        claims = self._claims(request.form.get("assertion", ""))
        if request.form.get("grant_type") != _GRANT or not claims or not claims.get("scope"):
            raise Failure(400, "invalid_grant", "Invalid JWT Signature.")
        token = f"ya29.{secrets.token_urlsafe(24)}"
        self._tokens.add(token)
        return {"access_token": token, "expires_in": _LIFETIME, "token_type": "Bearer"}

    def check(self, request: Request) -> None:
        """See that a call carries a token of the account, or one that it signed itself.

        Raises:
            Failure: it does not.
        """
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind == "Bearer" and token not in self._tokens and self._claims(token):
            self._tokens.add(token)
        if kind != "Bearer" or token not in self._tokens:
            raise Failure(401, "authError", "Request had invalid authentication credentials.")

    def check_signature(self, request: Request) -> None:
        """See that the account signed a URL (``GOOG4-RSA-SHA256``), and that its time is not up.

        Raises:
            Failure: it did not.
        """
        given = {key: value for key, value in request.args.items() if key != "X-Goog-Signature"}
        query = "&".join(f"{quote(key, safe='-_~.')}={quote(given[key], safe='-_~.')}" for key in sorted(given))
        path = quote(request.path, safe="/~-_.")
        # A guest reaches this host under another name than the one that was signed.
        asked = f"GET\n{path}\n{query}\nhost:{request.environ['kola.host']}\n\nhost\nUNSIGNED-PAYLOAD"
        date, credential = given.get("X-Goog-Date", ""), given.get("X-Goog-Credential", "")
        account, _, scope = credential.partition("/")
        text = f"GOOG4-RSA-SHA256\n{date}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
        try:
            signature = bytes.fromhex(request.args["X-Goog-Signature"])
            _key().public_key().verify(signature, text.encode(), padding.PKCS1v15(), hashes.SHA256())
            since = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        except (InvalidSignature, ValueError) as e:
            raise Failure(403, "SignatureDoesNotMatch", "Access denied.") from e
        if account != EMAIL or time.time() > since + int(given["X-Goog-Expires"]):
            raise Failure(400, "ExpiredToken", "Invalid argument.")

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = dict(jwt.decode(token, certs=self._public, clock_skew_in_seconds=10))
        except ValueError:  # what google.auth raises is one
            return {}
        return claims if claims.get("iss") == EMAIL else {}
