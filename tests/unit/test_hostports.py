"""Ports of this host: one test at a time, and nobody else's."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from kola import hostports
from kola.errors import PlatformError, WaitTimeout
from kola.hostports import HostPorts


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def test_nobody_else_has_them_until_they_are_given_back(tmp_path: Path) -> None:
    ports, (first, second, third), said = HostPorts(tmp_path / "ports", 0.2), free_ports(3), list[str]()
    with ports.take([first, second], said.append):
        assert said == []
        with ports.take([third], said.append):
            pass
        with pytest.raises(WaitTimeout, match=f"port {second} of this host"):
            ports.take([third, second], said.append)
        assert said == [f"waiting for port {second} of this host, which another test has"]
        with ports.take([third], said.append):  # was given back when the wait was given up
            pass
    with ports.take([second], said.append):
        assert len(said) == 1


def test_a_port_that_somebody_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostports, "FREE_SECONDS", 0.1)
    ports = HostPorts(tmp_path, 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PlatformError, match=f"port {port} of this host is in use by another program"):
            ports.take([port], print)
    with ports.take([port], print):
        pass
