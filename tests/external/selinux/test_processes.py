"""The domains that processes run in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.external.selinux.contexts import UNLABELED, Context, Process, exceptions, processes, show

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(
    isolation="shared",
    ignition="selinux.ign",
    needs=["selinux"],
    tags=["selinux", "security"],
    covers="confinement",
)

UNCONFINED = ("kernel_t", "init_t", "initrc_t", "unconfined_service_t", *UNLABELED)
"""Domains that a service ends up in when its own transition did not happen."""

DOMAINS = {
    "NetworkManager": "NetworkManager_t",
    "agetty": "getty_t",
    "auditd": "auditd_t",
    "chronyd": "chronyd_t",
    "dbus-broker": "system_dbusd_t",
    "dbus-broker-lau": "system_dbusd_t",
    "dbus-daemon": "system_dbusd_t",
    "polkitd": "policykit_t",
    "sshd": "sshd_t",
    "systemd-journal": "syslogd_t",
    "systemd-logind": "systemd_logind_t",
    "systemd-network": "systemd_networkd_t",
    "systemd-resolve": "systemd_resolved_t",
    "systemd-timesyn": "ntpd_t",
    "systemd-udevd": "udev_t",
}
"""By the first 15 letters of the program's name. Which of them run is the system's choice."""

ALWAYS = {"sshd", "systemd-journal", "systemd-logind", "systemd-udevd"}


def of_the_system(machine: Machine) -> list[Process]:
    """Return the processes of the system's units: not the kernel's, not sessions, not the harness's own."""
    return [
        process
        for process in processes(machine)
        if not process.in_kernel and not process.unit.startswith(("kola-", "session-", "user@"))
    ]


def test_services_run_in_their_domains(machine: Machine) -> None:
    """Every service of the system that has a domain of its own runs in it."""
    running = {process.command: process for process in of_the_system(machine)}
    assert running.keys() >= ALWAYS, f"not running: {ALWAYS - running.keys()}"
    wrong = [
        f"{process}, not in {DOMAINS[name]}"
        for name, process in running.items()
        if name in DOMAINS and process.context.type != DOMAINS[name]
    ]
    assert not wrong, show(wrong)


def test_no_service_is_left_unconfined(machine: Machine) -> None:
    """No process of the system runs in the kernel's domain, in that of process 1 or in one for unknown services."""
    stray = [
        process
        for process in of_the_system(machine)
        if process.context.type in UNCONFINED and not (process.unit == "init.scope" or excepted(process))
    ]
    assert not stray, f"processes that no domain confines: {show(stray)}"


def excepted(process: Process) -> bool:
    """Whether ``exceptions.toml`` lets it pass."""
    return any(
        re.fullmatch(entry["command"], process.command) and entry["type"] == process.context.type
        for entry in exceptions("process")
    )


def test_no_process_is_unlabeled(machine: Machine) -> None:
    """No process, a session's and the kernel's included, is without a domain; the kernel's are in the kernel's."""
    every = processes(machine)
    lost = [process for process in every if process.context.type in UNLABELED]
    assert not lost, show(lost)
    kernels = [process for process in every if process.in_kernel and process.context.type != "kernel_t"]
    assert not kernels, f"threads of the kernel outside its domain: {show(kernels)}"
    first = next(process for process in every if process.pid == 1)
    assert first.context.type == "init_t", first


def test_logins_are_unconfined(machine: Machine) -> None:
    """Who logs in is the policy's unconfined user, with sudo too, and so is the user's service manager."""
    for command, sudo in (
        ("id -Z", False),
        ("id -Z", True),
        ("sudo id -Z", False),
        ("cat /proc/self/attr/current", False),
    ):
        context = Context.of(machine.run(command, sudo=sudo).stdout)
        found = (context.user, context.role, context.type)
        assert found == ("unconfined_u", "unconfined_r", "unconfined_t"), f"{command}, sudo={sudo}: {context}"
    managers = [p for p in processes(machine) if p.command == "systemd" and p.unit.startswith("user@")]
    assert managers, "no service manager of a user runs"
    assert {process.context.type for process in managers} == {"unconfined_t"}, show(managers)


def test_a_units_program_leaves_the_domain_of_process_1(machine: Machine) -> None:
    """A unit's program without a domain of its own gets the one for services, not that of process 1."""
    result = machine.run("systemd-run --quiet --wait --pipe --collect cat /proc/self/attr/current", sudo=True)
    assert Context.of(result.stdout).type in {"unconfined_service_t", "initrc_t"}, result.stdout
