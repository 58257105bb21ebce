"""SELinux enforces, and nothing can be found that it lets pass on the quiet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from kola.checks import MAY_BE_PERMISSIVE
from tests.external.selinux.contexts import processes, show

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(
    isolation="shared",
    ignition="selinux.ign",
    needs=["selinux"],
    tags=["selinux", "security"],
    covers="selinux-mode",
)

PERMISSIVE = 1
"""Bit of the flags that the kernel answers a question for an access with."""


def test_enforcing(machine: Machine) -> None:
    """The kernel enforces, the configuration says so too, and no kernel argument says otherwise."""
    assert machine.run("getenforce").stdout.strip() == "Enforcing"
    configured = machine.run("sed -n 's/^SELINUX=//p' /etc/selinux/config").stdout.split()
    assert configured == ["enforcing"], f"/etc/selinux/config says {configured}: the next boot will not enforce"
    arguments = machine.run("cat /proc/cmdline").stdout.split()
    weak = [word for word in arguments if re.fullmatch(r"(enforcing|selinux)=0|autorelabel(=.*)?|checkreqprot=1", word)]
    assert not weak, f"kernel arguments weaken SELinux: {weak}"
    modules = machine.run("cat /sys/kernel/security/lsm", sudo=True).stdout.strip().split(",")
    assert "selinux" in modules, f"SELinux is not among the kernel's security modules: {modules}"


def test_memory_protection_is_checked(machine: Machine) -> None:
    """The kernel judges the protection that it really gives to memory, not the one that the program asked for."""
    assert machine.run("cat /sys/fs/selinux/checkreqprot").stdout.strip() == "0"


def test_enforced_by_every_boot_from_its_start(machine: Machine) -> None:
    """In every boot SELinux began to enforce before the system queued its first job, and it never stopped."""
    switches: dict[str, list[str]] = {}
    for entry in machine.journal():
        seen = switches.setdefault(entry.boot_id, [])
        if match := re.search(r"enforcing=([01]) old_enforcing=([01])", entry.message):
            seen.append(f"{match[2]}->{match[1]}")
        # The initramfs, which has no policy yet, queues jobs of its own.
        elif entry.pid == 1 and re.match(r"Queued start job for default target (?!initrd)", entry.message):
            assert seen, f"services of boot {entry.boot_id} started before SELinux enforced"
            seen.append("jobs")
    assert switches, "the journal is empty"
    for boot, seen in switches.items():
        assert "jobs" in seen, f"the journal does not have the start of boot {boot}"
        assert set(seen) == {"0->1", "jobs"}, f"boot {boot}: enforcing went {seen}"


def test_no_domain_that_runs_is_permissive(machine: Machine) -> None:
    """The kernel denies what the policy denies to every domain that has a process."""
    domains = sorted({":".join(vars(process.context).values()) for process in processes(machine)})
    # A transaction of selinuxfs: question and answer go through one open file.
    ask = r"""
        for domain in "$@"; do
            exec 3<>/sys/fs/selinux/access
            printf '%s system_u:object_r:etc_t:s0 1\0' "$domain" >&3
            IFS= read -r -d '' answer <&3 || true
            exec 3>&-
            echo "$domain ${answer##* }"
        done"""
    answers = machine.run(["bash", "-c", ask, "ask", *domains], sudo=True).stdout.splitlines()
    assert len(answers) == len(domains) > 5, answers
    permissive = [line.split()[0] for line in answers if int(line.split()[1]) & PERMISSIVE]
    permissive = [domain for domain in permissive if not MAY_BE_PERMISSIVE.fullmatch(domain.split(":")[2])]
    assert not permissive, f"permissive domains run: {show(permissive)}"


# Of a machine of its own: another test wants it never to have been permissive.
@pytest.mark.kola(isolation="fresh", skip_checks={"avc-denial": "provoked to see what each mode does"})
def test_permissive_and_back(machine: Machine) -> None:
    """An administrator can switch to permissive, where denials are logged only, and back to enforcing."""
    touch = "runcon -u system_u -r system_r -t ping_t true"
    try:
        machine.run("setenforce 0", sudo=True)
        assert machine.run("getenforce").stdout.strip() == "Permissive"
        machine.run(touch, sudo=True)
    finally:
        machine.run("setenforce 1", sudo=True)
    assert machine.run("getenforce").stdout.strip() == "Enforcing"
    result = machine.run(touch, sudo=True, check=False)
    assert result.exit_code != 0, "a domain was entered through a program that is none of its own, in enforcing mode"
