"""The labels of files: those that the policy has for their paths, everywhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.external.selinux.contexts import UNLABELED, mislabeled, show, sweep, types

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(
    isolation="shared",
    ignition="selinux.ign",
    needs=["selinux"],
    tags=["selinux", "security"],
    covers="selinux-label",
)

LOCAL_FILE_SYSTEMS = "ext4,xfs,btrfs,vfat,tmpfs,devtmpfs,ramfs,overlay,erofs"

TOP = {
    "/": {"root_t"},
    "/boot": {"boot_t"},
    "/dev": {"device_t"},
    "/etc": {"etc_t"},
    "/proc": {"proc_t"},
    "/run": {"var_run_t"},
    "/sys": {"sysfs_t"},
    "/sysroot": {"root_t"},
    "/sysroot/ostree": {"usr_t", "root_t"},
    "/tmp": {"tmp_t"},
    "/usr": {"usr_t"},
    "/var": {"var_t"},
    "/var/home": {"home_root_t"},
    "/var/lib": {"var_lib_t"},
    "/var/log": {"var_log_t"},
    "/var/tmp": {"tmp_t"},
}
"""The directories that every other path goes through; names that all policies share."""

IGNITION = (
    "/etc/kola-selinux",
    "/etc/kola-selinux/a",
    "/etc/kola-selinux/a/b",
    "/etc/kola-selinux/c",
    "/etc/kola-selinux/c/d/file",
    "/etc/kola-selinux/link",
    "/etc/kola-selinux/hard",
    "/etc/sudoers.d/kola-selinux",
    "/etc/sysctl.d/95-kola-selinux.conf",
    "/etc/tmpfiles.d/kola-selinux.conf",
    "/etc/modules-load.d/kola-selinux.conf",
    "/etc/systemd/system/kola-selinux.service",
    "/etc/systemd/system/systemd-logind.service.d",
    "/etc/systemd/system/systemd-logind.service.d/10-kola-selinux.conf",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/gshadow",
    "/etc/subuid",
    "/etc/.ignition-result.json",
    "/var/lib/kola-selinux/a/b",
    "/var/lib/kola-links",
    "/var/lib/kola-links/to-etc",
    "/var/log/kola-selinux",
    "/var/log/kola-selinux/log",
    "/var/usrlocal/bin/kola-tool",
    "/var/opt/kola",
    "/var/opt/kola/bin/tool",
    "/var/srv/kola",
    "/var/srv/kola/index.html",
    "/var/spool/kola",
    "/var/spool/kola/x/file",
    "/var/roothome/kola-file",
    "/var/home/core",
    "/var/home/core/.ssh",
    "/var/home/tester",
    "/var/home/tester/.ssh",
    "/var/home/tester/folder",
    "/var/home/tester/folder/file",
)
"""What the config asks for, what Ignition itself writes, and directories on the way."""


@pytest.mark.parametrize(
    "folder", [pytest.param("/etc", marks=pytest.mark.smoke), "/usr", "/var", "/boot", "/dev", "/run"]
)
def test_sweep(machine: Machine, folder: str) -> None:
    """Every file below has the type and the level that the policy has for its path."""
    wrong = sweep(machine, folder)
    assert not wrong, f"{len(wrong)} wrong labels below {folder}: {show(wrong)}"


def test_nothing_is_unlabeled(machine: Machine) -> None:
    """No file on any local file system lacks a label or has one that the policy does not know."""
    found = machine.run(["findmnt", "-rno", "TARGET", "-t", LOCAL_FILE_SYSTEMS], sudo=True).stdout.splitlines()
    assert {"/sysroot", "/var", "/boot"} <= set(found), found
    named = [word for kind in UNLABELED for word in ("-o", "-context", f"*:{kind}:*")]
    search = ["find", *found, "-xdev", "(", *named[1:], ")", "-printf", "%Z %p\n"]
    result = machine.run(search, sudo=True, check=False, timeout=300)
    # No fault of the labels: what goes away while find looks at it, and the deployment, which is / itself.
    errors = [line for line in result.stderr.splitlines() if not re.search("No such file|File system loop", line)]
    assert not errors, show(errors)
    lines = result.stdout.splitlines()
    assert not lines, f"{len(lines)} files without a label: {show(lines)}"


def test_top_directories(machine: Machine) -> None:
    """The directories that every path goes through have their types, the file systems' own roots included."""
    actual = types(machine, TOP)
    wrong = [
        f"{path}: {actual[path]}, not {' or '.join(sorted(TOP[path]))}" for path in TOP if actual[path] not in TOP[path]
    ]
    assert not wrong, show(wrong)


@pytest.mark.kola(needs=["selinux", "ostree"])
def test_directories_below_the_mounts(machine: Machine) -> None:
    """In the deployment itself, where nothing is mounted over it, every top directory has its label.

    A wrong one shows when a mount fails, or in the next system that is made from the commit.
    """
    script = r"""
        deployment=$(ostree admin status --print-current-dir 2>/dev/null || true)
        [ -d "$deployment" ] || deployment=$(realpath /sysroot/$(grep -o 'ostree=[^ ]*' /proc/cmdline | cut -d= -f2-))
        for path in "$deployment"/*; do
            name=/${path##*/}
            echo "$name $(stat --format=%C "$path") $(matchpathcon -n "$name")"
        done"""
    lines = [line.split() for line in machine.run(script, sudo=True).stdout.splitlines()]
    assert len(lines) > 10, lines
    assert all(":" in wanted or wanted == "<<none>>" for _, _, wanted in lines), f"matchpathcon: {lines}"
    wrong = [
        f"{name}: {actual}, not {wanted}"
        for name, actual, wanted in lines
        if actual.split(":")[2] != (wanted.split(":")[2] if ":" in wanted else actual.split(":")[2])
        or actual.split(":")[2] in UNLABELED
    ]
    assert not wrong, show(wrong)


def test_what_ignition_wrote(machine: Machine) -> None:
    """Files, directories and those on the way to them, links, units, users' homes: all have the policy's label."""
    wrong = mislabeled(machine, IGNITION)
    assert not wrong, show(wrong)
    expected = {
        "/etc/kola-selinux/a/b": "etc_t",
        "/etc/shadow": "shadow_t",
        "/var/log/kola-selinux/log": "var_log_t",
        "/var/usrlocal/bin/kola-tool": "bin_t",
        "/var/home/tester": "user_home_dir_t",
        "/var/home/tester/folder/file": "user_home_t",
        "/var/home/tester/.ssh": "ssh_home_t",
    }
    assert types(machine, expected) == expected


def test_ssh_keys_that_ignition_wrote(machine: Machine) -> None:
    """The keys that users log in with, and the host's own, have the types that sshd may read and nobody else."""
    keys = machine.run("find /var/home/*/.ssh -type f", sudo=True).stdout.splitlines()
    assert any(key.startswith("/var/home/tester/") for key in keys), keys
    actual = types(machine, keys)
    assert set(actual.values()) == {"ssh_home_t"}, actual
    hosts = machine.run("ls /etc/ssh/ssh_host_*_key", sudo=True).stdout.split()
    actual = types(machine, hosts)
    assert set(actual.values()) == {"sshd_key_t"}, actual
