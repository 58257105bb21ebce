"""Tests that must fail, each for its own reason and without any harm to the next one on the same machine."""

from __future__ import annotations

import lzma
import subprocess
from pathlib import Path

import pytest

from kola.machine import Machine
from tests.integration import warn_module

pytestmark = pytest.mark.kola(isolation="shared")

PROVOKE = "systemd-run -q --wait -p SELinuxContext=system_u:system_r:ping_t:s0 /bin/true || true"
"""A confined domain that may not do what it is told."""


def test_healthy_before(machine: Machine) -> None:
    """A machine without any fault."""
    machine.run("true")


def test_command_fails(machine: Machine) -> None:
    """A command fails; the report shows both streams."""
    machine.run("echo to-stdout; echo to-stderr >&2; exit 3")


def test_command_hangs(machine: Machine) -> None:
    """A command that never ends is a timeout, not a failure."""
    machine.run("echo begun; sleep 10000", timeout=3)


@pytest.mark.kola(timeout=2)
def test_test_hangs(machine: Machine) -> None:
    """A test that never ends is stopped."""
    while True:
        machine.run("true")


def test_unit_fails(machine: Machine) -> None:
    """A failed unit is found although the test's own command went well."""
    unit = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo the-reason >&2; exit 7'\n"
    machine.write_file("/etc/systemd/system/broken.service", unit, sudo=True)
    machine.run("systemctl daemon-reload; systemctl start broken.service || true", sudo=True)


def test_oom(machine: Machine) -> None:
    """The kernel's OOM killer is called by hand (sysrq f)."""
    # Something large and worthless for it to choose, so that the machine survives.
    machine.run(
        "systemd-run -q -p OOMScoreAdjust=1000 sh -c 'x=$(head -c 300M /dev/zero | tr 0 1); sleep 600'", sudo=True
    )
    machine.run(
        "sleep 8; echo 1 > /proc/sys/kernel/sysrq; echo f > /proc/sysrq-trigger; sleep 3", sudo=True, check=False
    )


def test_segfault(machine: Machine, tmp_path: Path) -> None:
    """A process dies of a real SIGSEGV."""
    source = tmp_path / "crash.c"
    source.write_text("void _start(void) { *(volatile int *)16 = 1; }\n")
    crash = tmp_path / "crash"
    subprocess.run(["gcc", "-nostdlib", "-static", "-o", crash, source], check=True)
    machine.put(crash, "/var/tmp/crash", mode=0o755)
    machine.run("/var/tmp/crash || true")


def test_kernel_warning(machine: Machine, tmp_path: Path) -> None:
    """A real WARN() of the kernel, out of a small module."""
    packed = machine.run("find /usr/lib/modules/$(uname -r) -name 'dummy.ko*'").stdout.strip()
    shipped = tmp_path / "dummy.ko"
    shipped.write_bytes(lzma.decompress(machine.read_bytes(packed)))
    machine.put(warn_module.build(shipped, tmp_path), "/var/tmp/warn.ko")
    machine.run("chcon -t modules_object_t /var/tmp/warn.ko && insmod -f /var/tmp/warn.ko", sudo=True)


def test_avc_with_auditd(machine: Machine) -> None:
    """An SELinux denial that auditd writes to its log."""
    machine.run("systemctl is-active auditd")
    machine.run(PROVOKE, sudo=True)


def test_avc_without_auditd(machine: Machine) -> None:
    """An SELinux denial that only the journal has, because auditd is not running."""
    # By PID 1: auditd refuses `systemctl stop`.
    machine.run("systemctl kill --signal=TERM auditd; while pgrep -x auditd; do sleep 0.2; done", sudo=True)
    machine.run(PROVOKE, sudo=True)


def test_healthy_after(machine: Machine) -> None:
    """What earlier tests broke is not held against this one."""
    machine.run("true")
