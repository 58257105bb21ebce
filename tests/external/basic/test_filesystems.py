"""Which parts of the system can be written, and what is in /boot."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from kola.deployment import booted_deployment

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(isolation="shared", ignition="basic.ign", tags=["storage"], covers="storage")


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
    """The kernel was told which deployment to boot, and exactly that one's tree is the root."""
    arguments = machine.run("cat /proc/cmdline").stdout.split()
    named = next(argument.removeprefix("ostree=") for argument in arguments if argument.startswith("ostree="))
    deployment = machine.run(f"readlink -f /sysroot{named}", sudo=True).stdout.strip()
    assert "/deploy/" in deployment
    machine.run(f"test /usr/lib/os-release -ef {deployment}/usr/lib/os-release", sudo=True)
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
    assert set(wanted) <= set(used)


@pytest.mark.kola(needs=["ostree"], covers="update")
def test_boot_has_room_for_the_next_kernel(machine: Machine) -> None:
    """There is room for an update: kernel and initramfs of another release fit into /boot beside those there."""
    release = machine.run("uname -r").stdout.strip()
    find = f"find /boot/ostree -name '*{release}*' -size +0 -printf '%s %h\\n'"
    folders: Counter[str] = Counter()
    for line in machine.run(find, sudo=True).stdout.splitlines():
        size, folder = line.split(" ", 1)
        folders[folder] += int(size)
    assert folders, f"no kernel of {release} in /boot/ostree"
    blocks, size = machine.run("stat --file-system --format='%f %S' /boot").stdout.split()
    free, needed = int(blocks) * int(size) >> 20, max(folders.values()) >> 20
    assert free > needed, f"/boot has {free} MiB free; another kernel with its initramfs takes {needed} MiB"
