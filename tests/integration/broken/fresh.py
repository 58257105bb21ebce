"""Machines that die or never come up: each failure names its cause."""

from __future__ import annotations

import pytest

from kola.machine import Machine


@pytest.mark.kola(memory_mib=1024)
def test_panic(machine: Machine) -> None:
    """The kernel panics in the middle of a test (sysrq c)."""
    machine.run("echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger", sudo=True)


@pytest.mark.kola(
    memory_mib=1024,
    ignition={
        "ignition": {"version": "3.0.0"},
        "storage": {
            "files": [{"path": "/etc/x", "user": {"name": "nobody-of-that-name"}, "contents": {"source": "data:,x"}}]
        },
    },
)
def test_ignition_fails(machine: Machine) -> None:
    """A config that the guest's Ignition cannot apply."""
    raise AssertionError(f"{machine.name} must not come up")


@pytest.mark.kola(memory_mib=1024, kernel_args=["init=/nonexistent"])
def test_no_init(machine: Machine) -> None:
    """A machine that ends in the emergency shell or a panic."""
    raise AssertionError(f"{machine.name} must not come up")
