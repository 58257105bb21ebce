"""A key that never leaves its service: signed by AWS KMS as moto serves it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope

from kola.errors import ConfigError
from kola.statement import load_keys, load_signer

boto3 = pytest.importorskip("boto3")
moto = pytest.importorskip("moto")


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with moto.mock_aws():
        yield boto3.client("kms")


def make_key(kms: object, folder: Path, kind: str) -> tuple[str, Path]:
    made = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec=kind)  # type: ignore[attr-defined]
    name = made["KeyMetadata"]["KeyId"]
    der = kms.get_public_key(KeyId=name)["PublicKey"]  # type: ignore[attr-defined]
    public = folder / "kms.pub"
    public.write_bytes(load_der_public_key(der).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return f"awskms:{name}", public


def test_what_a_kms_has_signed(kms: object, tmp_path: Path) -> None:
    """moto does not know that it is sent a digest, and makes one of it again (its documentation says so): so do we."""
    uri, public = make_key(kms, tmp_path, "ECC_NIST_P256")
    envelope = Envelope.from_dict(json.loads(load_signer(uri, public).envelope(b'{"a": 1}')))
    (signature,) = envelope.signatures.values()
    (key,) = load_keys([public]).keys
    assert (envelope.payload, signature.keyid) == (b'{"a": 1}', key.keyid)
    verifier = load_pem_public_key(public.read_bytes())
    assert isinstance(verifier, ec.EllipticCurvePublicKey)
    digest = hashlib.sha256(envelope.pae()).digest()
    verifier.verify(bytes.fromhex(signature.signature), digest, ec.ECDSA(hashes.SHA256()))


def test_a_key_that_the_service_does_not_have(kms: object, tmp_path: Path) -> None:
    _, public = make_key(kms, tmp_path, "ECC_NIST_P256")
    with pytest.raises(ConfigError, match="cannot sign with awskms:none: "):
        load_signer("awskms:none", public).envelope(b"x")
