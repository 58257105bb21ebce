"""The services on this host for guests, each a context manager that serves a test."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola.fleetlock import FleetLock
from kola.httpd import HttpServer
from kola.registry import Registry
from kola.tls import Authority
from kola.updates import UpdateServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Services:
    """What a platform's machines can be served with.

    Attributes:
        address: of this host, as guests reach it.
        slowness: of the machines; what a test waits for takes so many times longer.
    """

    address: str
    slowness: float

    def http(self) -> HttpServer:
        """Return a server of files."""
        return HttpServer(self.address, slowness=self.slowness)

    def https(self) -> HttpServer:
        """Return one with a certificate of an authority of its own."""
        return HttpServer(self.address, authority=Authority(), slowness=self.slowness)

    @contextmanager
    def registry(self, folder: Path) -> Iterator[Registry]:
        """Open an empty container registry that keeps what it is given in a folder."""
        with self.http() as server:
            yield Registry(server, folder)

    @contextmanager
    def updates(self) -> Iterator[UpdateServer]:
        """Open a server of update graphs."""
        with self.http() as server:
            yield UpdateServer(server)

    @contextmanager
    def fleet_lock(self) -> Iterator[FleetLock]:
        """Open a lock manager for reboots."""
        with self.http() as server:
            yield FleetLock(server)
