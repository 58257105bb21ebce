"""The systemd units of ``basic.ign``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(isolation="shared", ignition="basic.ign", tags=["ignition", "systemd"], covers="services")


def show(machine: Machine, unit: str, what: str) -> str:
    return machine.run(["systemctl", "show", "--property", what, "--value", unit]).stdout.strip()


def test_enabled_unit_ran_once(machine: Machine) -> None:
    """An enabled unit was started by the boot, once, and one that is not enabled was not."""
    machine.wait_for_unit("kola-basic-enabled.service")
    assert machine.read_file("/var/lib/kola-basic/enabled", sudo=True) == "ran\n"
    assert machine.run("systemctl is-enabled kola-basic-enabled.service").stdout.strip() == "enabled"
    assert show(machine, "kola-basic-disabled.service", "LoadState") == "loaded"
    assert machine.run("systemctl is-enabled kola-basic-disabled.service", check=False).stdout.strip() == "disabled"
    assert machine.run("test ! -e /var/lib/kola-basic/disabled", sudo=True, check=False).exit_code == 0


def test_drop_in_changes_a_unit_of_the_config(machine: Machine) -> None:
    """A drop-in changes what it names and leaves the rest of the unit alone."""
    machine.wait_for_unit("kola-basic-drop-in.service")
    assert machine.read_file("/var/lib/kola-basic/drop-in", sudo=True) == "blue round\n"


def test_drop_in_changes_a_unit_of_the_system(machine: Machine) -> None:
    """A drop-in for a unit of the image reaches the running process."""
    machine.wait_for_unit("systemd-logind.service")
    pid = show(machine, "systemd-logind.service", "MainPID")
    environment = machine.read_bytes(f"/proc/{pid}/environ", sudo=True).split(b"\0")
    assert b"KOLA_BASIC=effective" in environment


def test_masked_unit(machine: Machine) -> None:
    """A masked unit of the image is not active and cannot be started."""
    unit = "systemd-tmpfiles-clean.timer"
    assert show(machine, unit, "LoadState") == "masked"
    assert show(machine, unit, "ActiveState") == "inactive"
    assert "masked" in machine.run(["systemctl", "start", unit], sudo=True, check=False).stderr


class Service(NamedTuple):
    """How often systemd has started a service again by itself, whether it waits to do so, and how long it waits."""

    restarts: int
    waiting: bool
    delay: float


SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600}


def services(shown: str) -> dict[str, Service]:
    """Return the services in what ``systemctl show`` says of them."""
    found = {}
    for block in shown.strip().split("\n\n"):
        service = dict(line.split("=", 1) for line in block.splitlines())
        spans = re.findall(r"([\d.]+)(us|ms|s|min|h)\b", service["RestartUSec"])
        delay = sum(float(number) * SECONDS[unit] for number, unit in spans)
        restarts = int(service.get("NRestarts") or 0)
        # One that is `auto-restart-queued` has waited, and is counted already.
        found[service["Id"]] = Service(restarts, service["SubState"] == "auto-restart", delay)
    return found


def loops(before: dict[str, Service], after: dict[str, Service]) -> dict[str, int]:
    """Return the services that are started again and again, and how often they were.

    Once or twice is no loop: the journal's service is restarted when the initramfs is left. But who was started again
    while we looked, and has ended once more, will go on so.
    """
    found = {}
    for name, service in after.items():
        more = service.restarts > (before[name].restarts if name in before else 0)
        if service.restarts > 5 or (more and (service.restarts > 2 or service.waiting)):
            found[name] = service.restarts
    return found


def test_no_service_starts_again_and_again(machine: Machine) -> None:
    """systemd restarts no service all the time: one that ends at once, and is started again, never counts as failed."""
    show_all = "systemctl show --type=service --all --property=Id,SubState,NRestarts,RestartUSec '*'"
    before = services(machine.run(show_all).stdout)
    machine.run("sleep 8")
    # On a good system nobody waits now; who does gets its delay, and then time to end once more.
    delay = max((it.delay for it in services(machine.run(show_all).stdout).values() if it.waiting), default=0)
    if delay:
        machine.run(f"sleep {min(delay, 100) + 4}", timeout=180)
    again = loops(before, services(machine.run(show_all).stdout))
    assert not again, f"restarted by systemd, so many times: {again}"


@pytest.mark.kola(covers="services")
def test_the_clock_is_kept(machine: Machine) -> None:
    """Time synchronisation (NTP) is on: a clock that is right after the boot is wrong after a month."""
    services = ("chronyd.service", "systemd-timesyncd.service")
    states = machine.run(["systemctl", "is-active", *services], check=False).stdout.split()
    assert "active" in states, f"no time sync: {dict(zip(services, states, strict=False))}"


@pytest.mark.kola(needs=["audit"], covers="services")
def test_the_audit_daemon_runs(machine: Machine) -> None:
    """What the kernel records is written by auditd, from the boot on."""
    unit = "auditd.service"
    assert show(machine, unit, "ActiveState") == "active", "auditd does not run"
    assert machine.run(["systemctl", "is-enabled", unit], check=False).stdout.strip() == "enabled"
