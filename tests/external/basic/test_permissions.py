"""Who may read and write what matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(isolation="shared", ignition="basic.ign", tags=["security"], covers="access")

# What may run as its owner or its group, by folder. First of Fedora CoreOS, as its own tests have it, then of the test
# OS, which is made of Debian's packages. /usr/sbin counts as /usr/bin, which newer releases make of it.
SETUID = {
    "/usr/bin": {
        *("chage", "chfn", "chsh", "fusermount", "fusermount3", "gpasswd", "grub2-set-bootflag", "mount", "mount.nfs"),
        *("newgrp", "pam_timestamp_check", "passwd", "pkexec", "su", "sudo", "umount", "unix_chkpwd"),
        *("newgidmap", "newuidmap"),
    },
    "/usr/lib/polkit-1": {"polkit-agent-helper-1"},
    "/usr/libexec/openssh": {"ssh-keysign"},
    "/usr/lib/dbus-1.0": {"dbus-daemon-launch-helper"},
    "/usr/lib/openssh": {"ssh-keysign"},
}
SETGID = {
    "/usr/bin": {"write", *("chage", "expiry", "ssh-agent", "unix_chkpwd")},
    "/usr/libexec/utempter": {"utempter"},
}


def listing(machine: Machine, command: str) -> dict[str, tuple[int, str, str]]:
    """Return path -> permission bits, user, group of what a ``find`` command finds."""
    result = machine.run(f"{command} -printf '%m %u %g %p\\n'", sudo=True, check=False, timeout=300)
    # Files and folders go while it looks, and -ignore_readdir_race does not help with all of them.
    errors = [line for line in result.stderr.splitlines() if not line.endswith("No such file or directory")]
    assert not errors, errors
    found = {}
    for line in result.stdout.splitlines():
        mode, user, group, path = line.split(" ", 3)
        found[path] = (int(mode, 8), user, group)
    return found


def test_shadow_files(machine: Machine) -> None:
    """The password hashes are root's, and at most a group of their own may read them."""
    found = listing(machine, "find /etc/shadow /etc/gshadow")
    assert set(found) == {"/etc/shadow", "/etc/gshadow"}
    for path, (mode, user, group) in found.items():
        assert user == "root", path
        assert mode in {0o000, 0o400, 0o600, 0o640}, f"{path}: {mode:o}"
        assert group in {"root", "shadow"}, f"{path}: {group}"


def test_private_host_keys(machine: Machine) -> None:
    """There are private SSH host keys, and only root, or sshd's group for keys, may read them."""
    found = listing(machine, "find /etc/ssh -name 'ssh_host_*_key'")
    assert found
    for path, (mode, user, group) in found.items():
        assert user == "root", path
        assert mode == 0o600 or (mode == 0o640 and group == "ssh_keys"), f"{path}: {mode:o} {group}"


def test_sudoers(machine: Machine) -> None:
    """Who may become root is decided by root: nobody else writes the rules or reads them."""
    found = listing(machine, "find -L /etc/sudoers /etc/sudoers.d -type f ! -name README")
    assert len(found) >= 2
    for path, (mode, user, group) in found.items():
        assert (user, group) == ("root", "root"), path
        assert mode & 0o027 == 0, f"{path}: {mode:o}"


@pytest.mark.parametrize("folder", ["/etc", "/usr"])
def test_nothing_is_writable_for_everybody(machine: Machine, folder: str) -> None:
    """Under /etc and /usr there is no file or folder that every user may write."""
    count = machine.run(f"find {folder} -xdev | wc -l", sudo=True, timeout=300).stdout
    assert int(count) > 100
    assert listing(machine, f"find {folder} -xdev '(' -type f -o -type d ')' -perm -0002") == {}


def test_users_cannot_read_secrets(machine: Machine) -> None:
    """The modes are really enforced: another user reads neither hashes nor keys nor a file meant for root."""
    secrets = ("/etc/shadow", "/etc/ssh/ssh_host_ed25519_key", "/etc/kola-basic/every-byte")
    for path in secrets:
        machine.run(["test", "-s", path], sudo=True)
        refused = machine.run(["cat", path], user="tester", check=False)
        assert refused.exit_code != 0, path
        assert "Permission denied" in refused.stderr


def test_programs_that_run_as_another_user(machine: Machine) -> None:
    """Programs with the setuid or setgid bit are the known ones, in the image's /usr, and nowhere else."""
    inside = listing(machine, "find /usr -xdev -type f -perm /6000")
    assert inside, "not even sudo"
    unknown = [f"{path} (mode {mode:o})" for path, (mode, _, _) in inside.items() if not known(path, mode)]
    assert not unknown, f"setuid or setgid, and not known to need it: {', '.join(unknown)}"
    containers = "/var/lib/containers /home/*/.local/share/containers /var/home/*/.local/share/containers"
    skipped = " ".join(f"-path '{folder}' -o" for folder in containers.split()).removesuffix(" -o")
    outside = listing(machine, f"find /etc /var /run /root/ -xdev '(' {skipped} ')' -prune -o -type f -perm /6000")
    assert outside == {}, f"setuid or setgid outside of /usr: {', '.join(outside)}"


def known(path: str, mode: int) -> bool:
    """Return whether a program is meant to have the setuid or setgid bit that it has."""
    folder, _, name = path.replace("/usr/sbin/", "/usr/bin/").rpartition("/")
    bits = ((0o4000, SETUID), (0o2000, SETGID))
    return all(name in programs.get(folder, set()) for bit, programs in bits if mode & bit)
