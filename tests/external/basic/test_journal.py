"""The journal reaches this host while the machine runs, from the first boot's beginning."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from kola.wait import wait_until

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(isolation="shared", ignition="basic.ign", tags=["journal"], covers="logging")


@pytest.fixture
def watched(machine: Machine) -> Machine:
    if machine.instance.journal_path is None:
        pytest.skip("this platform has no channel for the journal")
    return machine


def test_message_reaches_the_host(watched: Machine) -> None:
    """What is logged on the machine arrives here, with its sender, and without being asked for over SSH."""
    token = secrets.token_hex(16)
    watched.run(["logger", "-t", "kola-basic", "-p", "user.warning", token])
    (entry,) = wait_until(
        lambda: [e for e in watched.journal_on_host() if e.message == token],
        30 * watched.slowness,
        what="the message in the journal here",
    )
    assert (entry.identifier, entry.priority) == ("kola-basic", 4)
    assert entry.boot_id == watched.boot_id.replace("-", "")


def test_first_boot_is_there_from_its_beginning(watched: Machine) -> None:
    """Entries from before there was SSH are here: the kernel's first lines and every stage of Ignition."""
    entries = watched.journal()
    assert any(e.transport == "kernel" and e.message.startswith("Linux version ") for e in entries[:50])
    ignition = [e.message for e in entries if e.identifier == "ignition"]
    for stage in ("fetch", "disks", "mount", "files"):
        assert any(f"{stage}: " in message or f"Stage: {stage}" in message for message in ignition), stage
    listening = next(i for i, e in enumerate(entries) if e.identifier == "sshd" and "listening on" in e.message)
    assert max(i for i, e in enumerate(entries) if e.identifier == "ignition") < listening


@pytest.mark.kola(needs=["audit"])
def test_audit_records_reach_the_journal(watched: Machine) -> None:
    """Audit records are in the journal too: the start of a unit is recorded as one."""
    name = f"kola-basic-{secrets.token_hex(4)}"
    watched.run(["systemd-run", "--wait", "--quiet", f"--unit={name}", "true"], sudo=True)
    records = [e.message for e in watched.journal() if e.transport == "audit"]
    assert any(f"unit={name} " in message and "SERVICE_START" in message for message in records)


def test_journal_is_on_the_disk(machine: Machine) -> None:
    """What is logged lies in /var/log/journal, where the next boot still finds it."""
    token = secrets.token_hex(16)
    machine.run(["logger", "-t", "kola-basic", token])
    machine.run("journalctl --sync", sudo=True)
    find = f"journalctl --directory=/var/log/journal --identifier=kola-basic --output=cat --grep={token}"
    found = machine.run(find, sudo=True, check=False)
    assert found.stdout.strip() == token, f"not persistent: nothing new in /var/log/journal: {found.stderr.strip()}"
