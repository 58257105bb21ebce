"""The lock manager that machines ask before they reboot, over ``kola.httpd``: a counting semaphore for each group.

Protocol: https://coreos.github.io/zincati/development/fleetlock/protocol/
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import IO, TYPE_CHECKING

from kola.errors import ConfigError
from kola.httpmessage import Reply, Request
from kola.updates import problem
from kola.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kola.httpd import HttpServer

PRE_REBOOT, STEADY_STATE = "/v1/pre-reboot", "/v1/steady-state"
GROUP = re.compile(r"[a-zA-Z0-9.-]+")


@dataclass(frozen=True)
class Call:
    """What a machine asked for (``pre-reboot`` or ``steady-state``), and whether it was granted."""

    action: str
    client: str
    group: str
    granted: bool


class FleetLock:
    """Slots for reboots. A machine takes one before it reboots, and gives it back when it is up again.

    Args:
        server: that guests reach it through; its faults and its record are the lock's.

    Attributes:
        slots: how many machines of a group may hold one at the same time.
    """

    def __init__(self, server: HttpServer, slots: int = 1) -> None:
        self.server = server
        self.slots = slots
        self._lock = threading.Lock()
        self._holders: dict[str, list[str]] = {}
        self._calls: list[Call] = []
        self._refusals: list[tuple[str, str, int]] = []
        for path in (PRE_REBOOT, STEADY_STATE):
            server.route(path, self._answer)

    @property
    def base_url(self) -> str:
        """For guests: ``base_url`` of ``[updates.fleet_lock]`` in Zincati's configuration."""
        return self.server.url()

    def holders(self, group: str = "default") -> list[str]:
        """Return the ids of who holds a slot, in the order in which they took them."""
        with self._lock:
            return list(self._holders.get(group, ()))

    @contextlib.contextmanager
    def held(self, client: str = "another-machine", group: str = "default") -> Iterator[None]:
        """Hold a slot, as another machine would, until the end of the ``with``.

        Raises:
            ConfigError: no slot is free.
        """
        if not self._take(client, group):
            raise ConfigError(f"fleet lock: all {self.slots} slots of '{group}' are taken: {self.holders(group)}")
        try:
            yield
        finally:
            self._give_back(client, group)

    @contextlib.contextmanager
    def refusing(self, kind: str, value: str, status: int = 403) -> Iterator[None]:
        """Answer everything with this error until the end of the ``with``, changing nothing."""
        refusal = kind, value, status
        self._refusals.append(refusal)
        try:
            yield
        finally:
            self._refusals.remove(refusal)

    def calls(self, action: str = "*") -> list[Call]:
        """Return what well-formed requests asked for, ``pre-reboot`` or ``steady-state`` (a glob), oldest first."""
        with self._lock:
            return [call for call in self._calls if fnmatchcase(call.action, action)]

    def wait_for_call(self, action: str, *, count: int = 1, timeout: float = 60) -> Call:
        """Wait until there were ``count`` such calls, from the beginning, and return the last of these.

        Raises:
            WaitTimeout: there were fewer after so many seconds on a fast machine.
        """
        limit = timeout * self.server.slowness
        return wait_until(lambda: self.calls(action)[count - 1 : count], limit, what=f"call {count} of {action}")[0]

    def _answer(self, request: Request, _body: IO[bytes]) -> Reply:
        client, group = _client(request)
        refusal = self._refusals[-1] if self._refusals else None
        if refusal is None and request.path == STEADY_STATE:
            self._give_back(client, group)
        elif refusal is None and not self._take(client, group):
            refusal = (
                "failed_lock_semaphore_full", f"semaphore currently full: {self.slots} slot(s) of '{group}'", 409,
            )  # fmt: skip
        with self._lock:
            self._calls.append(Call(request.path.rpartition("/")[2], client, group, refusal is None))
        if refusal is not None:
            kind, value, status = refusal
            raise problem(status, kind, value)
        return Reply(200)

    def _take(self, client: str, group: str) -> bool:
        with self._lock:
            holders = self._holders.setdefault(group, [])
            if client not in holders:
                if len(holders) >= self.slots:
                    return False
                holders.append(client)
            return True

    def _give_back(self, client: str, group: str) -> None:
        with self._lock:
            holders = self._holders.get(group, [])
            if client in holders:
                holders.remove(client)


def _client(request: Request) -> tuple[str, str]:
    """Return id and group of who asks; a request that is not as the protocol wants it is refused."""
    if request.path not in {PRE_REBOOT, STEADY_STATE}:
        raise problem(404, "not_found", f"nothing at {request.path}")
    if request.method != "POST":
        raise problem(405, "method_not_allowed", f"{request.method} is not allowed here", Allow="POST")
    if request.headers.get("fleet-lock-protocol") != "true":
        raise problem(400, "missing_header", "the header 'fleet-lock-protocol: true' is missing")
    try:
        given = json.loads(request.body)["client_params"]
        client, group = given["id"], given["group"]
    except (ValueError, TypeError, KeyError) as e:
        text = f"expected client_params with id and group: {type(e).__name__}: {e}"
        raise problem(400, "invalid_client_params", text) from e
    if not isinstance(client, str) or not client:
        raise problem(400, "invalid_client_params", f"id: expected a text that is not empty, not {client!r}")
    if not isinstance(group, str) or not GROUP.fullmatch(group):
        raise problem(400, "invalid_client_params", f"group: expected {GROUP.pattern}, not {group!r}")
    return client, group
