"""Booleans: the switches that an administrator has in the policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.external.selinux.contexts import policy_folder, show, sweep

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(needs=["selinux"], tags=["selinux", "reboot"], covers="selinux-policy")

BOOLEAN = "container_manage_cgroup"
"""What users of systemd in containers turn on; off by default everywhere."""


def value(machine: Machine) -> str:
    """Return ``on`` or ``off``."""
    return machine.run(["getsebool", BOOLEAN]).stdout.split()[-1]


@pytest.mark.kola(isolation="fresh")
def test_persistent_boolean(machine: Machine) -> None:
    """A boolean set with -P is on at once, is on after a reboot, can be set back, and the policy keeps its labels."""
    assert value(machine) == "off"
    machine.run(["setsebool", "-P", BOOLEAN, "on"], sudo=True, timeout=180)
    assert value(machine) == "on"
    wrong = sweep(machine, "/etc/selinux")
    assert not wrong, f"setsebool left wrong labels: {show(wrong)}"
    local = machine.read_file(f"{policy_folder(machine)}/active/booleans.local", sudo=True)
    assert f"{BOOLEAN}=1" in local, local

    machine.reboot()

    assert machine.run("getenforce").stdout.strip() == "Enforcing"
    assert value(machine) == "on", "the boolean was lost in the reboot"
    machine.run(["setsebool", BOOLEAN, "off"], sudo=True)
    assert value(machine) == "off"
    # Without -P it is for this boot only: loading the policy again brings back what was chosen.
    machine.run("load_policy", sudo=True)
    assert f"{BOOLEAN}=1" in machine.read_file(f"{policy_folder(machine)}/active/booleans.local", sudo=True)
