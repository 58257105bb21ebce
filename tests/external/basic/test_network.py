"""The network as far as every platform gives one; nothing here needs the internet."""

from __future__ import annotations

import json
import re
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


@pytest.mark.kola(covers="access")
def test_who_listens(machine: Machine) -> None:
    """What other hosts can talk to is sshd, and what configures the network or the clock; as fcos.network.listeners."""
    allowed = {
        "tcp": {"sshd:22", "systemd:22", "systemd-resolve:5355"},
        "udp": {"systemd-resolve:5355", "systemd-network:68", "systemd-network:546", "dhclient:68"}
        | {"NetworkManager:68", "NetworkManager:546", "chronyd:323"},
    }
    unknown = []
    for line in machine.run(
        "ss --no-header --listening --numeric --tcp --udp --processes", sudo=True
    ).stdout.splitlines():
        protocol, _state, _received, _sent, local, _peer, *users = line.split()
        address, _, port = local.rpartition(":")
        if address.startswith(("127.", "[::1]")):
            continue
        programs = re.findall(r'\("([^"]+)",', " ".join(users)) or ["nobody knows"]
        unknown += [f"{name} at {protocol} {local}" for name in programs if f"{name}:{port}" not in allowed[protocol]]
    assert not unknown, f"listens, and should not: {', '.join(unknown)}"


@pytest.mark.kola(covers="access")
def test_certificate_authorities(machine: Machine) -> None:
    """TLS has authorities to trust: the file that programs read has many certificates."""
    # Fedora's, to which its older names were links until release 44 left them off, and Debian's.
    places = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem /etc/ssl/certs/ca-certificates.crt"
    bundle = machine.run(f"for file in {places}; do [ ! -e $file ] || {{ echo $file; break; }}; done").stdout.strip()
    assert bundle, f"no file of certificate authorities: {places}"
    count = machine.run(f"grep --count 'BEGIN.* CERTIFICATE' {bundle}", check=False).stdout.strip()
    assert int(count) >= 50, f"{bundle} has {count} certificate authorities: nothing can be fetched by HTTPS"
