"""What must differ between two machines of the same image and config."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

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
