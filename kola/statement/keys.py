"""Who signs, and whose signatures count: by securesystemslib, whose words for a private key (URIs) are kola's, too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_MISSING = "signatures need the Python module '{}': pip install 'pytest-kola[gate]'"
_FILES = ("file", "file2")
"""Schemes of a key in a file; the second is securesystemslib's own word."""


@dataclass(frozen=True)
class Signer:
    """Signs by one private key, which stays where it is. ``uri`` names it in messages."""

    uri: str
    signer: Any

    def envelope(self, payload: bytes) -> bytes:
        """Return a payload with its signature: a DSSE envelope, one line of JSON.

        Raises:
            ConfigError: it cannot be signed: the key, or the service that has it, does not let us.
        """
        envelope = _library().dsse.Envelope(payload, PAYLOAD_TYPE, {})
        try:
            envelope.sign(self.signer)
        except Exception as e:  # each kind of key raises errors of its own, as the library says
            raise ConfigError(f"cannot sign with {self.uri}: {e}") from e
        return json.dumps(envelope.to_dict()).encode() + b"\n"


@dataclass(frozen=True)
class Keys:
    """The public keys whose signatures count, and how many of them a statement needs."""

    keys: tuple[Any, ...]
    threshold: int = 1

    def opened(self, envelope: bytes, source: str) -> bytes:
        """Return what is in an envelope, if it is signed as it must be.

        Args:
            envelope: as ``Signer.envelope`` makes it.
            source: names it in messages.

        Raises:
            ConfigError: no envelope, or no good signature by enough of the keys.
        """
        library = _library()
        try:
            opened = library.dsse.Envelope.from_dict(json.loads(envelope))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, library.exceptions.Error) as e:
            raise ConfigError(f"{source}: no DSSE envelope: {e}") from e
        if opened.payload_type != PAYLOAD_TYPE:
            raise ConfigError(f"{source}: has a payload of type {opened.payload_type}; expected {PAYLOAD_TYPE}")
        try:
            opened.verify(list(self.keys), self.threshold)
        except (ValueError, library.exceptions.VerificationError) as e:
            raise ConfigError(f"{source}: not signed by {self.threshold} of the {len(self.keys)} known keys") from e
        return bytes(opened.payload)


def load_signer(uri: str, public_key: Path | None = None) -> Signer:
    """Find a private key.

    Args:
        uri: the path of an unencrypted key in PEM (also ``file:PATH``), or where else it is, in securesystemslib's
            words: ``awskms:``, ``gcpkms:``, ``azurekms:``, ``hv:`` (Vault)...
        public_key: PEM file with the public half; needed where the key is not in a file.

    Raises:
        ConfigError: no such key, or a kind of key that cannot be used; or a library is not installed.
    """
    library = _library()
    scheme, colon, rest = uri.partition(":")
    known = None if public_key is None else _public(public_key)
    if not colon or scheme in _FILES:
        return Signer(uri, _from_file(Path(rest if colon else uri), known))
    schemes = sorted({*library.signer.SIGNER_FOR_URI_SCHEME, "file"} - {"file2"})
    if scheme not in library.signer.SIGNER_FOR_URI_SCHEME:
        raise ConfigError(f"key {uri}: unknown scheme '{scheme}'; known: {', '.join(schemes)}, or a path")
    if known is None:
        raise ConfigError(f"key {uri}: its public half is needed, too: --sign-public-key FILE")
    try:
        return Signer(uri, library.signer.Signer.from_priv_key_uri(uri, known))
    except Exception as e:  # as above
        raise ConfigError(f"key {uri}: {e}") from e


def load_keys(paths: Iterable[Path], threshold: int = 1) -> Keys:
    """Read public keys in PEM files.

    Raises:
        ConfigError: one cannot be read, or is none; there are fewer than the threshold.
    """
    keys = {key.keyid: key for key in map(_public, paths)}
    if not 1 <= threshold <= len(keys):
        raise ConfigError(f"{threshold} signatures are wanted, but there are {len(keys)} keys")
    return Keys(tuple(keys.values()), threshold)


def _from_file(path: Path, known: Any) -> Any:
    library = _library()
    try:
        private = library.load_private(path.read_bytes(), None)
        return library.signer.CryptoSigner(private, known)
    except OSError as e:
        raise ConfigError(f"key {path}: {e.strerror}") from e
    except TypeError as e:  # of cryptography: a passphrase is needed
        raise ConfigError(f"key {path}: is encrypted; expected one that is not, or a key in a KMS") from e
    except (ValueError, library.exceptions.Error, library.unsupported) as e:
        raise ConfigError(f"key {path}: no private key in PEM that signs, or not of that public key: {e}") from e


def _public(path: Path) -> Any:
    library = _library()
    try:
        return library.signer.SSlibKey.from_crypto(library.load_public(path.read_bytes()))
    except OSError as e:
        raise ConfigError(f"public key {path}: {e.strerror}") from e
    except (ValueError, library.exceptions.Error, library.unsupported) as e:
        raise ConfigError(f"public key {path}: none in PEM that can be used: {e}") from e


@dataclass(frozen=True)
class _Library:
    """What is used of securesystemslib, and of cryptography to read files."""

    dsse: Any
    exceptions: Any
    signer: Any
    load_private: Any
    load_public: Any
    unsupported: Any


def _library() -> _Library:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - see kola.statement
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
        from securesystemslib import dsse, exceptions, signer  # noqa: PLC0415
    except ImportError as e:
        raise ConfigError(_MISSING.format(e.name)) from e
    return _Library(
        dsse,
        exceptions,
        signer,
        serialization.load_pem_private_key,
        serialization.load_pem_public_key,
        UnsupportedAlgorithm,
    )
