"""Detached OpenPGP signatures, checked by GnuPG's ``gpgv`` against a keyring of its own."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from kola.errors import ConfigError

_ARMOR = re.compile(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+\r?\n)*\r?\n(.*?)\r?\n=", re.DOTALL)
KEYRINGS = (
    "/etc/pki/rpm-gpg/RPM-GPG-KEY-fedora-*-primary",
    "/usr/share/distribution-gpg-keys/fedora/RPM-GPG-KEY-fedora-*-primary",
    "/usr/share/keyrings/fedora*.gpg",
)
"""Where distributions keep the keys of Fedora."""


def keys_at_hand() -> list[Path]:
    """Return the files with Fedora's keys on this host."""
    return sorted(path for pattern in KEYRINGS for path in Path("/").glob(pattern.lstrip("/")))


def verify(file: Path, signature: bytes, keys: list[Path]) -> str:
    """Check that a file has been signed by one of the keys; returns who signed it.

    Args:
        file: that was signed.
        signature: detached, binary or armored.
        keys: files with public keys, binary or armored.

    Raises:
        ConfigError: the signature is bad, by a key that is not among them, or cannot be checked.
    """
    program = shutil.which("gpgv")
    if program is None:
        raise ConfigError(f"{file}: its signature cannot be checked: gpgv is not installed (package gpgv or gnupg2)")
    with tempfile.TemporaryDirectory(prefix="kola-gpgv-") as folder:
        detached = Path(folder) / "signature"
        detached.write_bytes(signature)
        rings = []
        for number, path in enumerate(keys):
            ring = Path(folder) / f"{number}.gpg"
            ring.write_bytes(_binary(path))
            rings.append(f"--keyring={ring}")
        done = subprocess.run(
            [program, f"--homedir={folder}", "--status-fd=1", *rings, "--", str(detached), str(file)],
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
    good = re.search(r"^\[GNUPG:\] GOODSIG \S+ (.*)", done.stdout, re.MULTILINE)
    valid = re.search(r"^\[GNUPG:\] VALIDSIG (\S+)", done.stdout, re.MULTILINE)
    if done.returncode == 0 and good is not None and valid is not None:
        return f"{good[1]} ({valid[1]})"
    raise ConfigError(f"{file}: {_why(done.stdout, done.stderr)}; keys: {', '.join(map(str, keys)) or 'none'}")


def _why(status: str, said: str) -> str:
    if "BADSIG" in status:
        return "its signature is wrong: the file is not what was signed"
    if missing := re.search(r"NO_PUBKEY (\S+)", status):
        return f"it is signed by the key {missing[1]}, which is not among those that are trusted"
    for word in ("EXPKEYSIG", "REVKEYSIG", "EXPSIG"):
        if word in status:
            return f"its signature does not count any more ({word})"
    return f"its signature cannot be checked: {' '.join(said.split()) or 'gpgv says nothing'}"


def _binary(path: Path) -> bytes:
    """Return keys as gpgv reads them."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from e
    if not data.lstrip().startswith(b"-----BEGIN"):
        return data
    blocks = _ARMOR.findall(data)
    if not blocks:
        raise ConfigError(f"{path}: holds no public key")
    try:
        return b"".join(base64.b64decode(block) for block in blocks)
    except ValueError as e:
        raise ConfigError(f"{path}: damaged: {e}") from e
