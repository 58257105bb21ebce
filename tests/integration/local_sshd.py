"""A real sshd on 127.0.0.1, as the current user, in the place of a machine's."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from kola.keys import KeyPair, generate_key
from kola.ssh import Connection
from kola.wait import wait_until

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
needs_sshd = pytest.mark.skipif(SSHD is None, reason="needs sshd (Debian: openssh-server)")


@dataclass
class LocalSshd:
    folder: Path
    port: int
    user: str = field(default_factory=getpass.getuser)
    client_key: KeyPair = field(default_factory=generate_key)
    host_key: KeyPair = field(default_factory=generate_key)
    process: subprocess.Popen[bytes] | None = None
    _ending: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        assert SSHD is not None
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where privilege separation chroots to
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", self.folder / "sshd_config"], stdin=subprocess.DEVNULL, stderr=log
            )

        def listens() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "sshd.log").read_text()
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port)):
                return True
            return False

        wait_until(listens, 10, interval=0.05)

    def stop(self) -> None:
        """End the listener and every session, as a machine that dies. Again, or in several threads, does nothing."""
        with self._ending:
            if self.process is None or self.process.poll() is not None:
                return
            listener = psutil.Process(self.process.pid)
            whole = [listener, *listener.children(recursive=True)]
            for process in whole:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.wait()
            psutil.wait_procs(whole, timeout=5)


@contextlib.contextmanager
def local_sshd(folder: Path, *extra: str) -> Iterator[LocalSshd]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sshd = LocalSshd(folder, port)
    host_key, authorized = folder / "host_key", folder / "authorized_keys"
    host_key.touch(0o600)
    host_key.write_text(sshd.host_key.private)
    authorized.write_text(sshd.client_key.public + "\n")
    options = [
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {host_key}", f"AuthorizedKeysFile {authorized}",
        "PidFile none", "StrictModes no", "UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password", f"SetEnv HOME={folder}",  # not what this user's ~/.bashrc does
        *extra,
    ]  # fmt: skip
    (folder / "sshd_config").write_text("\n".join(options) + "\n")
    sshd.start()
    try:
        yield sshd
    finally:
        sshd.stop()


def connect(sshd: LocalSshd) -> Connection:
    return Connection.open("127.0.0.1", sshd.port, sshd.user, sshd.client_key, sshd.host_key.public, timeout=10)
