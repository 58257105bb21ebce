"""A machine is provisioned once, by its first boot, and keeps what it is from then on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from kola.wait import wait_until

if TYPE_CHECKING:
    from kola.machine import Machine

COUNTER = """\
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'cat /proc/sys/kernel/random/boot_id >>/var/lib/kola-boots'
[Install]
WantedBy=multi-user.target
"""
TOO_LONG = re.compile(r"State 'stop-\w+' timed out")
CONFIG = {
    "ignition": {"version": "3.0.0"},
    "storage": {"files": [{"path": "/etc/kola-once", "mode": 0o644, "contents": {"source": "data:,provisioned%0A"}}]},
    "systemd": {"units": [{"name": "kola-boots.service", "enabled": True, "contents": COUNTER}]},
}


def ignition_runs(machine: Machine) -> list[str]:
    """Return the boots in which the journal has Ignition at work on files, oldest first."""
    boots = [e.boot_id for e in machine.journal() if e.identifier == "ignition" and "files" in e.message]
    return list(dict.fromkeys(boots))


def outlasting(machine: Machine) -> list[str]:
    """What systemd says of services that did not end when told to, and were killed when their time was over."""
    return [e.message for e in machine.journal() if e.identifier == "systemd" and TOO_LONG.search(e.message)]


@pytest.mark.kola(isolation="first_boot", ignition=CONFIG, tags=["ignition", "reboot"], covers="first-boot-only")
def test_provisioned_once(machine: Machine) -> None:
    """A reboot waits for no service; after it all is kept, the enabled unit runs again, and Ignition does not."""
    first = machine.boot_id
    assert "ignition.firstboot" in machine.run("cat /proc/cmdline").stdout
    assert machine.read_file("/etc/kola-once") == "provisioned\n"
    machine.wait_for_unit("multi-user.target")
    # The stamp goes away with the first boot, not with the second.
    machine.run("test ! -e /boot/ignition.firstboot", sudo=True)
    identity = machine.run("cat /etc/machine-id /etc/ssh/ssh_host_*_key.pub").stdout
    result = machine.run("sha256sum /etc/.ignition-result.json", sudo=True, check=False)
    machine.write_file("/etc/kola-once", "changed by hand\n", sudo=True)
    machine.write_file("/var/lib/kola-marker", first, sudo=True)

    machine.reboot()

    second = machine.boot_id
    assert second != first
    machine.wait_for_unit("kola-boots.service")
    assert machine.read_file("/var/lib/kola-marker") == first
    assert machine.read_file("/etc/kola-once") == "changed by hand\n"
    assert machine.read_file("/var/lib/kola-boots").split() == [first, second]
    assert machine.run("cat /etc/machine-id /etc/ssh/ssh_host_*_key.pub").stdout == identity
    assert machine.run("sha256sum /etc/.ignition-result.json", sudo=True, check=False).stdout == result.stdout
    assert "ignition.firstboot" not in machine.run("cat /proc/cmdline").stdout
    assert ignition_runs(machine) == [first.replace("-", "")]
    assert not outlasting(machine), "services that do not end make every reboot take longer"

    # The journal goes on: both boots are in it, on the machine and here.
    boots = {first.replace("-", ""), second.replace("-", "")}
    kept = machine.run("journalctl --list-boots --output=json", sudo=True, check=False).stdout
    assert all(boot in kept for boot in boots)
    if machine.instance.journal_path is not None:
        # On a busy host the new boot's part takes its time.
        wait_until(
            lambda: {e.boot_id for e in machine.journal_on_host()} == boots, 180, what="both boots' journal here"
        )
