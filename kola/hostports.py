"""Ports of this host that a test has for itself, among all processes of all runs of a user.

They are not forwarded to a machine: a test says which ports its own services on this host listen on, because they have
numbers that cannot be chosen (NFS's 2049), and so no other test that needs one of them runs at the same time.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from kola.errors import PlatformError, WaitTimeout
from kola.slots import Hold
from kola.wait import Deadline, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

FREE_SECONDS = 10.0
"""How long a service of the test before may need to let go of its port."""
_POLL_S = 0.2


class HostPorts:
    """The ports of this host.

    Args:
        folder: of the locks, on a local disk; shared by all who must not meet.
        timeout: seconds to wait for other tests.
    """

    def __init__(self, folder: Path, timeout: float) -> None:
        self._folder = folder
        self._timeout = timeout

    def take(self, ports: Collection[int], on_wait: Callable[[str], None]) -> Hold:
        """Wait for ports and take them.

        Args:
            ports: taken in the order of their numbers, so that two tests never wait for each other.
            on_wait: told once that, and for what, one has to wait.

        Raises:
            PlatformError: a program that is no test's listens on one.
            WaitTimeout: another test does not come to an end.
        """
        with contextlib.ExitStack() as undo:
            hold = undo.enter_context(Hold())
            limit = Deadline(self._timeout)
            for port in sorted(set(ports)):
                self._take(hold, port, on_wait, limit)
            undo.pop_all()
        return hold

    def _take(self, hold: Hold, port: int, on_wait: Callable[[str], None], limit: Deadline) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / str(port)
        if not hold.add(path):
            on_wait(f"waiting for port {port} of this host, which another test has")
            wait_until(lambda: hold.add(path), limit, what=f"port {port} of this host", interval=_POLL_S)
        try:
            wait_until(lambda: not _in_use(port), FREE_SECONDS, what=f"the end of who uses port {port}")
        except WaitTimeout as e:
            raise PlatformError(f"port {port} of this host is in use by another program") from e


def _in_use(port: int) -> bool:
    """Tell whether someone listens there. Not by listening: below 1024 that is not everyone's right."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
