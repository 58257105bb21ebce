from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from kola.errors import ConfigError
from kola.keys import add_known_host, generate_key, known_hosts_line, read_client_key, write_client_key

if TYPE_CHECKING:
    from pathlib import Path

keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen (openssh-client)")


def test_keys_differ_and_hide_the_private_half() -> None:
    one, two = generate_key(), generate_key()
    assert one.private != two.private
    assert one.public.startswith("ssh-ed25519 AAAA")
    assert len(one.public.split()) == 2
    secret = one.private.splitlines()[2]
    assert secret not in repr(one)
    assert secret not in str(one)


def test_written_key_is_private_and_reads_back(tmp_path: Path) -> None:
    key, path = generate_key(), tmp_path / "ssh" / "id"
    write_client_key(path, key)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_client_key(path) == key
    with pytest.raises(FileExistsError):
        write_client_key(path, generate_key())
    assert read_client_key(path) == key


@keygen
def test_openssh_accepts_the_key(tmp_path: Path) -> None:
    key, path = generate_key(), tmp_path / "id"
    write_client_key(path, key)
    derived = subprocess.run(["ssh-keygen", "-y", "-f", path], check=True, capture_output=True, text=True).stdout
    assert derived.split()[:2] == key.public.split()


@keygen
def test_openssh_finds_the_host(tmp_path: Path) -> None:
    key, path = generate_key(), tmp_path / "run" / "known_hosts"
    for _ in range(2):
        add_known_host(path, "127.0.0.1", 2222, key.public)
    add_known_host(path, "::1", 22, generate_key().public)
    assert path.read_text().splitlines()[0] == known_hosts_line("127.0.0.1", 2222, key.public)
    assert len(path.read_text().splitlines()) == 2
    for host in ("[127.0.0.1]:2222", "::1"):
        subprocess.run(["ssh-keygen", "-F", host, "-f", path], check=True, capture_output=True)


@pytest.mark.parametrize("text", ["", "no key at all", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_bad_key_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "id"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"^SSH key .*id: not an unencrypted OpenSSH private key") as error:
        read_client_key(path)
    assert "\n" not in str(error.value)


@keygen
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(["-t", "rsa", "-N", ""], "must be ed25519"), (["-t", "ed25519", "-N", "secret"], "not an unencrypted")],
)
def test_other_kinds_are_refused(tmp_path: Path, arguments: list[str], reason: str) -> None:
    path = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", *arguments, "-f", path], check=True)
    with pytest.raises(ConfigError, match=reason):
        read_client_key(path)


def test_missing_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_client_key(tmp_path / "id")
