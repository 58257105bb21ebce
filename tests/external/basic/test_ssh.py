"""How one gets in, and how not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(isolation="shared", ignition="basic.ign", tags=["security"], covers="access")

SSH = (
    "ssh -F none -o BatchMode=yes -o ConnectTimeout=30 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
    "-o LogLevel=ERROR"
)


def test_passwords_are_refused(machine: Machine) -> None:
    """sshd offers keys and no way to give a password, not even for a user who has one."""
    for user in ("tester", "core", "root"):
        refused = machine.run(f"{SSH} -o PubkeyAuthentication=no {user}@localhost true", check=False)
        assert refused.exit_code == 255
        assert "Permission denied (publickey" in refused.stderr
        assert "password" not in refused.stderr
        assert "keyboard-interactive" not in refused.stderr


def test_root_is_refused_where_core_is_let_in(machine: Machine) -> None:
    """A key that lets core in does not let root in."""
    key = "/var/home/core/.ssh/kola-basic"
    allow = f"cat {key}.pub >>/var/home/core/.ssh/authorized_keys"
    # sshd does not read a file that a group may write, and some logins have such a umask.
    machine.run(f"umask 077; ssh-keygen -q -t ed25519 -N '' -f {key} && {allow}")
    try:
        assert machine.run(f"{SSH} -i {key} core@localhost id -un").stdout == "core\n"
        refused = machine.run(f"{SSH} -i {key} root@localhost id -un", check=False)
        assert refused.exit_code == 255
        assert "Permission denied" in refused.stderr
    finally:
        machine.run(f"rm -f {key} {key}.pub /var/home/core/.ssh/authorized_keys")


def test_core_has_sudo_without_a_password(machine: Machine) -> None:
    """core becomes root without being asked anything; a user without that right does not."""
    assert machine.run("sudo -k -n id -u").stdout == "0\n"
    refused = machine.run("sudo -k -n id -u", user="tester", check=False)
    assert refused.exit_code != 0
    assert refused.stdout == ""
