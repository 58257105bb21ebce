"""A certificate authority of one's own, made on the spot, for servers that guests are told to trust."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

BEFORE, AFTER = dt.timedelta(days=2), dt.timedelta(days=30)
"""From when until when certificates hold, seen from now: a guest's clock may be wrong."""


class Authority:
    """A root certificate; its key never leaves this process.

    Attributes:
        pem: the root certificate, for what shall trust it.
    """

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("kola test authority")
        self._certificate = self._sign(self._name, self._key, authority=True)
        self.pem = self._certificate.public_bytes(Encoding.PEM).decode()

    def context(self, *names: str) -> ssl.SSLContext:
        """Return what a server needs that is reached under these host names and IP addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(_name(names[0]), key, names=names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile(prefix="kola-tls-") as file:  # load_cert_chain reads files only
            plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            Path(file.name).write_bytes(plain + certificate.public_bytes(Encoding.PEM))
            context.load_cert_chain(file.name)
        return context

    def _sign(
        self, subject: x509.Name, key: EllipticCurvePrivateKey, *, names: tuple[str, ...] = (), authority: bool = False
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
             "decipher_only"), False,
        )  # fmt: skip
        usage |= {"digital_signature": not authority, "key_cert_sign": authority, "crl_sign": authority}
        builder = (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - BEFORE)
            .not_valid_after(now + AFTER)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if not authority:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False
            ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
