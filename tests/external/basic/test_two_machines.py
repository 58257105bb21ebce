"""What must differ between two machines of the same image and config."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.external import network

if TYPE_CHECKING:
    from kola.machine import Machine


@pytest.mark.kola(isolation="first_boot", machines=2, tags=["security"], covers="identity")
def test_identities_are_unique(machines: list[Machine]) -> None:
    """Two machines share no machine id, host key, boot id or random seed."""
    commands = {
        "machine id": "cat /etc/machine-id",
        "SSH host keys": "cut -d' ' -f2 /etc/ssh/ssh_host_*_key.pub",
        "boot id": "cat /proc/sys/kernel/random/boot_id",
        "random seed": "sha256sum </var/lib/systemd/random-seed",
        "random numbers": "head -c 32 /dev/urandom | sha256sum",
    }
    for what, command in commands.items():
        first, second = (set(machine.run(command, sudo=True).stdout.split("\n")) - {""} for machine in machines)
        assert first, f"{machines[0].name} has no {what}"
        assert first.isdisjoint(second), f"{what}: {first & second}"
    for machine in machines:
        identity = machine.run("cat /etc/machine-id").stdout.strip()
        assert re.fullmatch("[0-9a-f]{32}", identity)
        # A patterned or nearly empty id would be no random one.
        assert len(set(identity)) > 6


@pytest.mark.kola(machines=2, nics=[{"network": "cluster"}], covers="network")
def test_machines_meet_on_a_network(machines: list[Machine]) -> None:
    """Two machines on a network of their own have different MAC addresses and reach each other by them."""
    addresses = ["192.168.77.1", "192.168.77.2"]
    interfaces = [network.join(m, "cluster", f"{a}/24") for m, a in zip(machines, addresses, strict=True)]
    macs = [
        machine.read_file(f"/sys/class/net/{interface}/address").strip()
        for machine, interface in zip(machines, interfaces, strict=True)
    ]
    assert macs[0] != macs[1], f"both machines have the MAC address {macs[0]}"
    for here, there in ((0, 1), (1, 0)):
        machines[here].run(
            ["ping", "-c", "3", "-i", "0.2", "-W", "10", "-I", interfaces[here], addresses[there]], sudo=True
        )
        neighbour = machines[here].run(["ip", "neigh", "show", addresses[there], "dev", interfaces[here]]).stdout
        assert macs[there] in neighbour, f"{addresses[there]} is not {macs[there]}: {neighbour}"
