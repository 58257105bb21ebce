"""A machine behind a jump host, which is a real sshd."""

import contextlib
import socket
import threading
from pathlib import Path

import pytest

from kola.cloud.jump import Way
from kola.errors import PlatformError
from kola.wait import wait_until

from .local_sshd import LocalSshd, needs_sshd


@pytest.fixture
def jump_host(sshd: LocalSshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An sshd that ssh's configuration says how to reach."""
    key, known = tmp_path / "key", tmp_path / "known"
    key.touch(0o600)
    key.write_text(sshd.client_key.private)
    known.write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key.public}\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    ssh = programs / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F none -i {key} -o UserKnownHostsFile={known} "$@"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return f"{sshd.user}@127.0.0.1:{sshd.port}"


@needs_sshd
def test_a_port_of_this_host_leads_to_the_machine_as_long_as_it_is_wanted(jump_host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as machine:

        def greet() -> None:
            with contextlib.suppress(OSError):  # until it is closed
                while True:
                    peer, _ = machine.accept()
                    with peer:
                        peer.sendall(b"SSH-2.0-machine\r\n")

        threading.Thread(target=greet, daemon=True).start()
        with Way(jump_host, machine.getsockname()[1]) as way:
            address, port = way.to("127.0.0.1")
            assert address == "127.0.0.1"
            assert port != machine.getsockname()[1]
            with socket.create_connection((address, port)) as connection:
                assert connection.makefile("rb").readline() == b"SSH-2.0-machine\r\n"
        machine.shutdown(socket.SHUT_RDWR)

        def closed() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex((address, port)) != 0

        wait_until(closed, 5)


@needs_sshd
def test_a_jump_host_that_does_not_let_us_in(sshd: LocalSshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    way = Way(f"nobody@127.0.0.1:{sshd.port}", 22)
    with way, pytest.raises(PlatformError, match=rf"^jump host nobody@127.0.0.1:{sshd.port}: "):
        way.to("192.0.2.1")


def test_straight_there() -> None:
    with Way("", 2222) as way:
        assert way.to("192.0.2.1") == ("192.0.2.1", 2222)
