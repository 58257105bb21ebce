"""A machine that dies, comes back or does not: a real sshd on this host is stopped in the place of a guest's."""

from __future__ import annotations

import threading
import time

import pytest

from kola.errors import Loss, MachineLost
from kola.keys import generate_key
from kola.ssh import HostKeyMismatch
from tests.integration.local_machine import PANIC, LocalGuest
from tests.integration.local_sshd import needs_sshd

pytestmark = needs_sshd


def test_death_during_a_command_is_noticed_at_once(guest: LocalGuest) -> None:
    guest.machine.connect()
    threading.Timer(0.5, lambda: setattr(guest.instance, "loss", PANIC)).start()
    began = time.monotonic()
    with pytest.raises(MachineLost, match="kernel panic: sysrq triggered crash") as error:
        guest.machine.run("sleep 20")  # the connection itself stays: a dead guest does not hang up
    assert time.monotonic() - began < 3
    assert error.value.loss is PANIC
    assert "Kernel panic - not syncing" in str(error.value)
    assert "console and journal: " in str(error.value)


def test_broken_connection_is_explained_by_the_platform(guest: LocalGuest) -> None:
    guest.machine.connect()
    threading.Timer(0.5, guest.sshd.stop).start()
    threading.Timer(1.2, lambda: setattr(guest.instance, "loss", PANIC)).start()
    with pytest.raises(MachineLost) as error:
        guest.machine.run("sleep 20")
    assert error.value.loss is PANIC


def test_broken_connection_without_an_explanation(guest: LocalGuest) -> None:
    guest.machine.connect()
    threading.Timer(0.5, guest.sshd.stop).start()
    with pytest.raises(MachineLost, match="SSH connection lost during: sleep 20") as error:
        guest.machine.run("sleep 20")
    assert error.value.loss.kind == "ssh"
    assert "greeter: journal says hello" in str(error.value)


def test_sshd_that_was_restarted_is_found_again(guest: LocalGuest) -> None:
    guest.machine.run("true")
    guest.sshd.stop()
    guest.sshd.start()
    assert guest.machine.run("echo again").stdout == "again\n"


def test_reboot_that_nobody_asked_for(guest: LocalGuest) -> None:
    guest.machine.run("true")
    guest.machine._link.boot_id = "the boot before"
    guest.sshd.stop()
    guest.sshd.start()
    with pytest.raises(MachineLost, match="it rebooted on its own"):
        guest.machine.run("true")


def test_boot_that_fails_is_noticed_at_once(guest: LocalGuest) -> None:
    guest.sshd.stop()
    guest.instance.loss = Loss("ignition", "Ignition failed: bad config")
    began = time.monotonic()
    with pytest.raises(MachineLost, match="Ignition failed: bad config"):
        guest.machine.connect()
    assert time.monotonic() - began < 1


def test_boot_that_takes_too_long(guest: LocalGuest) -> None:
    guest.sshd.stop()
    with pytest.raises(MachineLost, match="no SSH within 1 s") as error:
        guest.machine.connect(1)
    assert error.value.loss.kind == "timeout"
    for part in ("last lines of the console:", "OK  ] Reached target", "greeter: journal says hello"):
        assert part in str(error.value)
    assert "waiting for SSH" in guest.said


def test_boot_that_comes_up_late(guest: LocalGuest) -> None:
    guest.sshd.stop()
    threading.Timer(1, guest.sshd.start).start()
    guest.machine.connect(20)
    assert guest.machine.run("echo up").stdout == "up\n"
    assert guest.said


def test_login_that_is_refused_is_in_the_message(guest: LocalGuest) -> None:
    (guest.sshd.folder / "authorized_keys").write_text("")
    with pytest.raises(MachineLost, match=r"no SSH within 1 s \(127.0.0.1 port \d+: \w+ may not log in \(yet\)"):
        guest.machine.connect(1)


def test_who_may_not_log_in_does_not_insist(guest: LocalGuest) -> None:
    """sshd shuts out who is refused too often (``PerSourcePenalties`` of OpenSSH 9.8), for minutes."""
    (guest.sshd.folder / "authorized_keys").write_text("")
    with pytest.raises(MachineLost):
        guest.machine.connect(4)
    refused = (guest.sshd.folder / "sshd.log").read_text().count("Connection closed by authenticating user")
    assert refused == 2


def test_another_machine_at_the_address(guest: LocalGuest) -> None:
    guest.sshd.stop()
    (guest.sshd.folder / "host_key").write_text(generate_key().private)
    guest.sshd.start()
    with pytest.raises(HostKeyMismatch):
        guest.machine.connect(5)


def test_old_boot_is_not_taken_for_the_new_one(guest: LocalGuest) -> None:
    before = guest.machine.boot_id
    with pytest.raises(MachineLost, match=r"no SSH after the reboot within 2 s \(it has not gone down yet\)"):
        guest.machine.await_boot(before, 2)
    guest.machine.await_boot("the boot before", 10)
    assert guest.machine.boot_id == before
