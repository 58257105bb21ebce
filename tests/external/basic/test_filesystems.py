"""Which parts of the system can be written, and what is in /boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kola.deployment import booted_deployment

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(isolation="shared", ignition="basic.ign", tags=["storage"], covers="storage")

# What Fedora CoreOS adds to its boot entry during the first boot, for those after it: where the root and /boot are.
ADDED = {"root", "rw", "rootflags", "boot", "rd.md.uuid", "rd.luks.name", "rd.luks.options", "rd.neednet"}
# Of /boot, beside what a deployment has there: its boot entry, folders, and what the next kernel is larger.
MARGIN_MIB = 8


@pytest.mark.kola(needs=["ostree"])
def test_usr_is_read_only(machine: Machine) -> None:
    """Even root cannot change /usr: the file system itself refuses."""
    refused = machine.run("touch /usr/kola-basic", sudo=True, check=False)
    assert refused.exit_code != 0
    assert "Read-only file system" in refused.stderr


@pytest.mark.parametrize("folder", ["/etc", "/var", "/var/home/core", "/tmp"])
def test_state_is_writable(machine: Machine, folder: str) -> None:
    """What is meant to change can be written, synchronised to the disk and read back."""
    path = f"{folder}/kola-basic-written"
    script = f"echo kept >{path} && sync {path} && cat {path} && rm {path}"
    assert machine.run(script, sudo=True).stdout == "kept\n"


@pytest.mark.kola(needs=["ostree"], covers="boot")
def test_booted_deployment(machine: Machine) -> None:
    """The kernel was told which deployment to boot, and exactly that one's /etc is mounted."""
    arguments = machine.run("cat /proc/cmdline").stdout.split()
    named = next(argument.removeprefix("ostree=") for argument in arguments if argument.startswith("ostree="))
    deployment = machine.run(f"readlink -f /sysroot{named}", sudo=True).stdout.strip()
    assert "/deploy/" in deployment
    # Not /usr: with composefs it is on a file system of its own, while /etc is always the deployment's folder.
    machine.run(f"test /etc -ef {deployment}/etc", sudo=True)
    booted = [line for line in machine.run("ostree admin status", sudo=True).stdout.splitlines() if "*" in line]
    assert len(booted) == 1
    assert deployment.rsplit("/", 1)[1] in booted[0]
    assert booted_deployment(machine) == deployment.rsplit("/", 1)[1].partition(".")[0]


@pytest.mark.kola(needs=["ostree"], covers="boot")
def test_boot_has_the_entry_that_booted(machine: Machine) -> None:
    """/boot is mounted and has a boot entry whose kernel and initramfs exist and whose arguments were used."""
    assert machine.run("findmnt --noheadings --output TARGET /boot").stdout.strip() == "/boot"
    entries = machine.run("cat /boot/loader/entries/*.conf", sudo=True).stdout
    keys: dict[str, str] = {}
    for line in entries.splitlines():
        key, _, value = line.partition(" ")
        keys.setdefault(key, value.strip())
    for key in ("linux", "initrd"):
        machine.run(["test", "-s", f"/boot/{keys[key].removeprefix('/boot/').lstrip('/')}"], sudo=True)
    assert machine.run("uname -r").stdout.strip() in keys["linux"]
    used = machine.run("cat /proc/cmdline").stdout.split()
    wanted = [argument for argument in keys["options"].split() if not argument.startswith("$")]
    assert len(wanted) >= 3
    missing = not_given(wanted, used)
    assert not missing, f"in the boot entry, and not on the kernel's command line: {' '.join(missing)}"


def not_given(wanted: list[str], used: list[str]) -> list[str]:
    """Return the arguments of a boot entry that the kernel was not given, but for what the first boot added."""
    given = {argument.partition("=")[0] for argument in used}
    later = ADDED - given
    return [argument for argument in wanted if argument not in used and argument.partition("=")[0] not in later]


@pytest.mark.kola(needs=["ostree"], covers="update")
def test_boot_has_room_for_the_next_kernel(machine: Machine) -> None:
    """There is room for an update: what a deployment has in /boot fits there once more, beside those there."""
    # All of it: kernel and initramfs, and on some architectures a tree of device trees.
    lines = machine.run("du --summarize --block-size=1M /boot/ostree/*/", sudo=True).stdout.splitlines()
    needed = max(int(line.split()[0]) for line in lines) + MARGIN_MIB
    blocks, size = machine.run("stat --file-system --format='%f %S' /boot").stdout.split()
    free = int(blocks) * int(size) >> 20
    assert free >= needed, f"/boot has {free} MiB free; the kernel and initramfs of another release need {needed} MiB"
