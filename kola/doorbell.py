"""Noticing that a machine has come up, without blocking."""

from __future__ import annotations

import socket

from kola.wait import Deadline


class Doorbell:
    """Finds out without blocking when an SSH server begins to speak.

    A forwarded port (QEMU's, a load balancer's) accepts at once and stays silent while the machine boots, so only the
    server's first bytes count. A connection that was made too early may stay silent for ever: it is made anew after
    ``patience`` seconds, each time half as long again, because a slow machine may really need that time.

    Args:
        address: name or IP address.
        port: TCP port.
        patience: seconds.
    """

    MAX_PATIENCE = 30.0

    def __init__(self, address: str, port: int, patience: float = 3.0) -> None:
        self._target = (address, port)
        self._patience = Deadline(patience)
        self._sock: socket.socket | None = None

    def answered(self) -> socket.socket | None:
        """Return a connection on which the server has spoken, which is the caller's then; None if there is none yet."""
        try:
            if self._sock is None:
                self._ring()
            elif self._sock.recv(1, socket.MSG_PEEK):
                found, self._sock = self._sock, None
                found.setblocking(True)
                return found
            else:  # closed by the other end
                self.close()
        except BlockingIOError:
            if self._patience.expired:
                self._patience = Deadline(min(self._patience.seconds * 1.5, self.MAX_PATIENCE))
                self.close()
        except OSError:
            self.close()
        return None

    def close(self) -> None:
        """Give up the connection that waits, if there is one."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _ring(self) -> None:
        family, kind, protocol, _, address = socket.getaddrinfo(*self._target, type=socket.SOCK_STREAM)[0]
        self._sock = socket.socket(family, kind, protocol)
        self._sock.setblocking(False)
        self._patience = Deadline(self._patience.seconds)
        self._sock.connect(address)
