"""SELinux: loaded, in the mode that the image is configured for, and with labels that fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(
    isolation="shared", ignition="basic.ign", needs=["selinux"], tags=["selinux", "security"], covers="selinux-label"
)


@pytest.mark.kola(covers="selinux-mode")
def test_mode_is_the_configured_one(machine: Machine) -> None:
    """A policy is loaded, and the mode is what /etc/selinux/config (or the kernel argument that overrides it) says."""
    assert int(machine.run("cat /sys/fs/selinux/policyvers").stdout) >= 30
    arguments = machine.run("cat /proc/cmdline").stdout.split()
    configured = machine.run("sed -n 's/^SELINUX=//p' /etc/selinux/config").stdout.strip()
    wanted = "permissive" if "enforcing=0" in arguments else configured
    assert machine.run("getenforce").stdout.strip().lower() == wanted


def test_processes_run_in_their_domains(machine: Machine) -> None:
    """The service manager, the journal and sshd run in domains of their own, not in the kernel's."""
    domains: dict[str, str] = {}
    for line in machine.run("ps -e -o label= -o comm=", sudo=True).stdout.splitlines():
        label, comm = line.split(None, 1)
        domains.setdefault(comm.strip(), label.split(":")[2])
    assert domains["systemd"] == "init_t"
    assert domains["systemd-journal"] == "syslogd_t"
    assert domains["sshd"] == "sshd_t"


def test_labels_of_what_ignition_wrote(machine: Machine) -> None:
    """Files that Ignition wrote, and users' homes, have the labels that the policy wants."""
    for path in ("/etc/hostname", "/etc/passwd", "/etc/kola-basic/plain", "/etc/ssh/sshd_config", "/var/home/core"):
        assert machine.run(["matchpathcon", "-V", path], sudo=True, check=False).stdout.endswith(" verified.\n")
    assert machine.run("stat --format=%C /etc/shadow", sudo=True).stdout.split(":")[2] == "shadow_t"
