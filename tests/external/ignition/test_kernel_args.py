"""Kernel arguments that the config adds and removes."""

from __future__ import annotations

import pytest

from kola.machine import Machine
from tests.external.ignition.config import file

UNWANTED = "kola.unwanted=1"
CONFIG = {
    "ignition": {"version": "3.3.0"},
    "kernelArguments": {"shouldExist": ["kola.one=1 kola.two", "kola.present=1"], "shouldNotExist": [UNWANTED]},
    "storage": {"files": [file("/etc/kola/args", "applied\n")]},
}


@pytest.mark.kola(
    isolation="first_boot",
    ignition=CONFIG,
    kernel_args=[UNWANTED, "kola.present=1"],
    needs=["ignition-kargs"],
    tags=["ignition"],
    covers="kernel-args",
)
def test_kernel_arguments(machine: Machine) -> None:
    """Arguments are added once and removed in the boot entry and for the first boot, which then goes on to the end."""
    found = machine.run("cat /proc/cmdline").stdout.split()
    assert "ignition.firstboot" in found, f"this is not the first boot any more: {found}"
    counted = {word: found.count(word) for word in ("kola.one=1", "kola.two", "kola.present=1", UNWANTED)}
    expected = {"kola.one=1": 1, "kola.two": 1, "kola.present=1": 1, UNWANTED: 0}
    assert counted == expected, f"how often each argument is there: {counted}"
    entries = machine.run("grep -h ^options /boot/loader/entries/*.conf", sudo=True).stdout.splitlines()
    assert len(entries) == 1, f"not one boot entry: {entries}"
    kept = {word: entries[0].split().count(word) for word in counted}
    assert kept == expected, f"how often each argument is in the boot entry: {kept}"
    assert machine.read_file("/etc/kola/args") == "applied\n", "the rest of the config was not applied"
    machine.wait_for_unit("multi-user.target")
    stamp = machine.run("test -e /boot/ignition.firstboot", sudo=True, check=False)
    assert stamp.exit_code == 1, "the stamp of the first boot is still in /boot"
