"""Noticing at once that a machine has come up."""

from __future__ import annotations

import contextlib
import select
import socket
from typing import TYPE_CHECKING

from kola.errors import WaitTimeout
from kola.wait import Deadline, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED_INTERVAL = 0.01
"""Seconds until a machine that has refused is asked again."""
SIGNAL_INTERVAL = 0.05
"""Seconds between two looks for a signal, which costs little."""


class Doorbell:
    """Finds out when an SSH server begins to speak.

    A forwarded port (QEMU's, a load balancer's) accepts at once and stays silent while the machine boots, so only the
    server's first bytes count. A connection that was made too early may stay silent for ever: it is made anew after
    ``patience`` seconds, each time half as long again, because a slow machine may really need that time.

    Args:
        address: name or IP address.
        port: TCP port.
        patience: seconds.
        signals: counts how often the machine said by another way that it is up now: then a new connection is made
            at once.
    """

    MAX_PATIENCE = 30.0

    def __init__(self, address: str, port: int, patience: float = 3.0, signals: Callable[[], int] = lambda: 0) -> None:
        self._target = (address, port)
        self._patience = Deadline(patience)
        self._signals = signals
        self._heard = signals()
        self._sock: socket.socket | None = None

    def answered(self, timeout: float = 0.0) -> socket.socket | None:
        """Return a connection on which the server has spoken, which is the caller's then; None if there is none yet.

        Args:
            timeout: seconds that may be spent waiting for it.
        """
        limit = Deadline(timeout)
        with contextlib.suppress(WaitTimeout):
            return wait_until(lambda: self._look(limit), limit, interval=REFUSED_INTERVAL)
        return None

    def _look(self, limit: Deadline) -> socket.socket | None:
        """Ring if need be and wait for an answer; back at once if it was refused or hung up."""
        try:
            if self._sock is None:
                self._ring()
            assert self._sock is not None  # noqa: S101 - for the type checker
            select.select([self._sock], [], [], min(limit.remaining, self._patience.remaining, SIGNAL_INTERVAL))
            if self._sock.recv(1, socket.MSG_PEEK):
                found, self._sock = self._sock, None
                found.setblocking(True)
                return found
            self.close()  # by the other end
        except BlockingIOError:
            if (now := self._signals()) != self._heard:
                self._heard = now
                self.close()
            elif self._patience.expired:
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
        with contextlib.suppress(BlockingIOError):
            self._sock.connect(address)
