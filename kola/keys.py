"""SSH keys: one client key for a run, one host key for a machine, both made by the harness."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from kola.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SSH_PORT = 22


@dataclass(frozen=True)
class KeyPair:
    """An Ed25519 key.

    Attributes:
        private: OpenSSH PEM text, unencrypted, as in ``~/.ssh/id_ed25519``; never shown by ``repr``.
        public: one line without newline and comment: ``ssh-ed25519 AAAA...``.
    """

    private: str = field(repr=False, compare=False)  # the public half identifies it; pytest shows what it compares
    public: str


def generate_key() -> KeyPair:
    """Make a new key."""
    return _pair(Ed25519PrivateKey.generate())


def write_client_key(path: Path, key: KeyPair) -> None:
    """Write the private key for ``ssh -i``, readable by nobody else, and ``path.pub`` beside it.

    Raises:
        FileExistsError: there is a key already; it is never overwritten.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key.private)
    path.with_name(path.name + ".pub").write_text(key.public + "\n")


def read_client_key(path: Path) -> KeyPair:
    """Read what ``write_client_key`` wrote.

    Raises:
        ConfigError: no such file, or not an unencrypted Ed25519 key.
    """
    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except OSError as e:
        raise ConfigError(f"SSH key {path}: {e.strerror}") from e
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        raise ConfigError(f"SSH key {path}: not an unencrypted OpenSSH private key: {e}") from e
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"SSH key {path}: must be ed25519")
    return _pair(key)


def known_hosts_line(address: str, port: int, public: str) -> str:
    """Return the line, without newline, that makes ``ssh`` accept exactly this host key at this address and port.

    Source: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT": a port other than 22 is written ``[address]:port``.
    """
    host = address if port == SSH_PORT else f"[{address}]:{port}"
    return f"{host} {public}"


def add_known_host(path: Path, address: str, port: int, public: str) -> None:
    """Append the host's line unless it is there; several processes may do so to one file."""
    line = known_hosts_line(address, port, public) + "\n"
    with contextlib.suppress(FileNotFoundError):
        if line in path.read_text().splitlines(keepends=True):
            return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a") as file:
        file.write(line)


def _pair(key: Ed25519PrivateKey) -> KeyPair:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return KeyPair(private.decode(), public.decode())
