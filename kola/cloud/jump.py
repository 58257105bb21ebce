"""Machines that are reached through another host: a port of this host that leads there, by the user's own ssh."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import tempfile
from typing import TYPE_CHECKING

from kola.errors import PlatformError, WaitTimeout
from kola.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN_SECONDS = 30.0
JUMP_HOST = re.compile(r"(\w[\w.-]*@)?\w[\w.-]*(:\d+)?")
"""``[USER@]HOST[:PORT]``."""


class Way:
    """The way to one machine; a context manager.

    Args:
        jump_host: through which it leads; empty: straight there.
        port: of the machine's SSH.
    """

    def __init__(self, jump_host: str, port: int) -> None:
        self._jump_host = jump_host
        self._port = port
        self._tunnel = contextlib.ExitStack()

    def __enter__(self) -> Way:  # noqa: PYI034 - not made to be inherited from
        return self

    def __exit__(self, *exc: object) -> None:
        self._tunnel.close()

    def to(self, address: str) -> tuple[str, int]:
        """Return where on this host, or from it, the machine at that address is reached; what led elsewhere is closed.

        Raises:
            PlatformError: the jump host does not let us through.
        """
        self._tunnel.close()
        if not self._jump_host:
            return address, self._port
        return "127.0.0.1", self._tunnel.enter_context(forwarded(self._jump_host, address, self._port))


@contextlib.contextmanager
def forwarded(jump_host: str, address: str, port: int) -> Iterator[int]:
    """Yield a port of 127.0.0.1 that leads through ``jump_host`` to a port of an address.

    ssh is told to run ``cat`` there, whose input this process holds: they end with it, however it ends.

    Raises:
        PlatformError: ssh does not get there; the last line that it said.
    """
    host, _, host_port = jump_host.partition(":")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        local = probe.getsockname()[1]
    command = ["ssh", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=15"]
    command += ["-p", host_port] if host_port else []
    command += ["-L", f"127.0.0.1:{local}:{address}:{port}", "--", host, "cat"]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors) as ssh,
    ):
        try:
            with contextlib.suppress(WaitTimeout):
                wait_until(lambda: ssh.poll() is not None or _listens(local), OPEN_SECONDS, interval=0.1)
            if ssh.poll() is not None or not _listens(local):
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip().splitlines()
                raise PlatformError(f"jump host {jump_host}: {said[-1] if said else 'no answer'}")
            yield local
        finally:
            ssh.kill()


def _listens(port: int) -> bool:
    """Tell whether ssh listens there already."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
