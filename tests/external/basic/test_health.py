"""The state of the whole system after the boot."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(isolation="shared", ignition="basic.ign", tags=["systemd"], covers="services")


def test_boot_completed_without_failed_units(machine: Machine) -> None:
    """The boot comes to its end: systemd says ``running``, which it does not with a failed unit or a waiting job."""
    state = machine.run("systemctl is-system-running --wait", check=False, timeout=300).stdout.strip()
    assert machine.failed_units() == []
    assert machine.run("systemctl list-jobs --no-legend").stdout == ""
    assert state == "running"


MOMENTS = ("InactiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic", "InactiveEnterTimestampMonotonic")


@pytest.mark.kola(covers="boot")
def test_no_service_holds_the_boot_up(machine: Machine) -> None:
    """No service of the system itself takes half a minute of the boot to start: everybody waits with it."""
    # Much of that is waiting, for devices and addresses, which takes no longer where the processor is slow.
    limit = 27 + 3 * machine.slowness
    machine.run("systemctl is-system-running --wait", check=False, timeout=300)
    booted = int(machine.run("systemctl show --value --property=FinishTimestampMonotonic").stdout)
    properties = ",".join(("Id", "FragmentPath", *MOMENTS))
    shown = machine.run(["systemctl", "show", f"--property={properties}", "*.service"]).stdout
    units = [dict(line.split("=", 1) for line in block.splitlines()) for block in shown.strip().split("\n\n")]
    # What a timer started later, or a test brought along, held nobody up.
    own = [unit for unit in units if unit["FragmentPath"].startswith("/usr/lib/") and int(unit[MOMENTS[0]]) < booted]
    assert own, "systemd shows no service that it started in the boot"
    took = {unit["Id"]: start_seconds(unit) for unit in own}
    slow = [f"{name} {seconds:.0f} s" for name, seconds in took.items() if seconds > limit]
    assert not slow, f"slow to start, so that the boot takes longer: {', '.join(slow)}; allowed are {limit:.0f} s"


def start_seconds(unit: dict[str, str]) -> float:
    """Return the seconds that a service took to become active, or to do what it does once."""
    begin, active, over = (int(unit[moment]) for moment in MOMENTS)
    return max(0, (active or over) - begin) / 1e6


@pytest.mark.kola(covers="kernel")
def test_identity_of_the_system(machine: Machine) -> None:
    """/etc/os-release names the system, and the kernel that runs is the one whose modules are there."""
    release = machine.run(". /etc/os-release && echo $ID,$VERSION_ID").stdout.strip()
    assert all(release.split(","))
    assert machine.run("test -d /usr/lib/modules/$(uname -r) && modinfo -n overlay").stdout.strip()


@pytest.mark.kola(covers="kernel")
def test_clock(machine: Machine) -> None:
    """The clock is the host's, in UTC.

    A machine without a real-time clock, or one read as local time, is off by years or hours, and TLS and the journal
    break. The guest's answer must lie between the host's times before and after the question; five seconds more are
    allowed, because a virtual clock has whole seconds and an emulated guest may still be catching up.
    """
    before = time.time()
    answer, zone = machine.run("date +'%s.%N %Z'").stdout.split()
    after = time.time()
    assert before - 5 <= float(answer) <= after + 5
    assert zone == "UTC"


@pytest.mark.kola(covers="kernel")
def test_clock_moves_with_the_host(machine: Machine) -> None:
    """Three seconds on the host are about three seconds on the machine, by the wall and by the monotonic clock."""
    script = "date +%s.%N; cat /proc/uptime; sleep 3; date +%s.%N; cat /proc/uptime"
    result = machine.run(script)
    wall_before, up_before, wall_after, up_after = (float(line.split()[0]) for line in result.stdout.splitlines())
    assert 2.9 <= wall_after - wall_before <= result.duration + 1
    assert 2.9 <= up_after - up_before <= result.duration + 1


GROWTH_KIB = 64 * 1024


@pytest.mark.kola(covers="services")
def test_no_process_grows(machine: Machine) -> None:
    """A system that nobody uses needs no more memory than ten seconds ago: no process takes 64 MiB more."""
    look = "grep --no-messages --with-filename -E '^(Name|RssAnon):' /proc/[0-9]*/status || true"
    both = machine.run(f"{{ {look}; }}; echo ==; sleep 10; {look}", sudo=True, timeout=120).stdout
    before, after = (sizes(half) for half in both.split("==\n"))
    # A process that was not there before is not compared.
    growth = [(name, size - before.get(pid, (name, size))[1]) for pid, (name, size) in after.items()]
    grown = [f"{name} by {more // 1024} MiB" for name, more in growth if more > GROWTH_KIB]
    assert not grown, f"takes more and more memory: {', '.join(grown)} in 10 s"


def sizes(text: str) -> dict[str, tuple[str, int]]:
    """Read ``FILE:Name: ...`` and ``FILE:RssAnon: ... kB`` of processes; returns name and KiB by file."""
    found: dict[str, tuple[str, int]] = {}
    for line in text.splitlines():
        file, key, value = line.split(":", 2)
        found[file] = (value.strip(), 0) if key == "Name" else (found.get(file, ("?", 0))[0], int(value.split()[0]))
    return found
