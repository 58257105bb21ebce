"""SELinux over real boots: the first one, and the next."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from kola.checks import parse_denial
from tests.external.selinux.contexts import DENIAL, show, sweep

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(needs=["selinux"], tags=["selinux", "security", "reboot"], covers="selinux-denial")

LABELLERS = re.compile(r"fixfiles|setfiles|restorecon|selinux-autorelabel")


def labels(machine: Machine) -> dict[str, str]:
    """Return the label of every file that stays: path -> context."""
    command = r"find /etc /var /boot /sysroot/ostree/deploy -xdev -printf '%p\t%Z\n'"
    lines = machine.run(command, sudo=True, check=False, timeout=180).stdout.splitlines()
    assert len(lines) > 1000, lines
    return dict(line.rsplit("\t", 1) for line in lines)


def denials(machine: Machine) -> list[str]:
    """Return everything that SELinux denied or did not understand, of all boots, from the journal and the audit log.

    Not what domains did that the policy itself leaves permissive.
    """
    found = [entry.short() for entry in machine.journal() if DENIAL.search(entry.message)]
    command = "grep -hsE 'type=(USER_)?(AVC|SELINUX_ERR) ' /var/log/audit/audit.log*"
    found += machine.run(command, sudo=True, check=False).stdout.splitlines()
    return [line for line in found if not ((denial := parse_denial(line)) and denial.by_design)]


def no_denials(machine: Machine) -> None:
    """Raise AssertionError if any boot denied anything."""
    denied = denials(machine)
    assert not denied, f"{len(denied)} denials: {show(denied)}"


def relabels(machine: Machine) -> list[str]:
    """Return what the journal has of programs that relabel a whole system, and the files that ask for it."""
    found = [
        entry.short()
        for entry in machine.journal()
        if LABELLERS.fullmatch(entry.identifier) or "Relabel could take" in entry.message
    ]
    return found + machine.run("ls -d /.autorelabel /etc/selinux/.autorelabel", check=False).stdout.split()


@pytest.mark.kola(isolation="first_boot", ignition="selinux.ign", needs=["selinux"])
def test_first_boot_and_the_next(machine: Machine) -> None:
    """Neither the first boot nor a reboot denies anything, relabels anything or leaves a label other than before."""
    machine.wait_for_unit("multi-user.target")
    no_denials(machine)
    before = labels(machine)

    machine.reboot()

    machine.wait_for_unit("multi-user.target")
    assert machine.run("getenforce").stdout.strip() == "Enforcing"
    no_denials(machine)
    after = labels(machine)
    changed = [f"{path}: {label} -> {after[path]}" for path, label in before.items() if after.get(path, label) != label]
    assert not changed, f"labels changed by a reboot: {show(changed)}"
    done = relabels(machine)
    assert not done, f"the system was relabelled, or will be: {show(done)}"
    wrong = sweep(machine, "/etc", "/var", "/boot")
    assert not wrong, f"wrong labels after a reboot: {show(wrong)}"
