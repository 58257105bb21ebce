"""The network as far as every platform gives one; nothing here needs the internet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(isolation="shared", ignition="basic.ign", tags=["network"], covers="network")


def test_default_route_and_its_gateway(machine: Machine) -> None:
    """There is a default route over an interface with an address, and the gateway answers ARP (or IPv6's like)."""
    routes = json.loads(machine.run("ip -json route show default").stdout)
    assert routes
    gateway, device = routes[0]["gateway"], routes[0]["dev"]
    addresses = json.loads(machine.run(f"ip -json -4 address show dev {device} scope global").stdout)
    assert any(info["local"] for address in addresses for info in address["addr_info"])
    # Whether it answers pings is its own business; that it has an address on the link is not.
    machine.run(f"ip neigh flush dev {device}; ping -c1 -W2 {gateway}", sudo=True, check=False)
    neighbours = json.loads(machine.run(f"ip -json neigh show {gateway} dev {device}").stdout)
    assert neighbours
    assert neighbours[0].get("lladdr"), neighbours
    assert "FAILED" not in neighbours[0]["state"]


def test_names_are_resolved(machine: Machine) -> None:
    """/etc/resolv.conf names a server, and the local resolver answers for what needs no network."""
    assert "nameserver " in machine.run("cat /etc/resolv.conf").stdout
    assert machine.run("getent hosts localhost").stdout.split()[0] in {"127.0.0.1", "::1"}
    assert "127.0.0.1" in machine.run("resolvectl query --legend=no -4 localhost").stdout


def test_own_name_is_resolved(machine: Machine) -> None:
    """The machine knows its own name: without it sudo warns and some programs wait for a time-out."""
    assert "kola-basic" in machine.run('getent hosts "$(uname -n)"').stdout.split()
    assert machine.run("sudo -n true").stderr == ""
