"""The users and groups of ``basic.ign``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(isolation="shared", ignition="basic.ign", tags=["ignition"], covers="provisioning")


def entry(machine: Machine, database: str, key: str) -> list[str]:
    return machine.run(["getent", database, key], sudo=True).stdout.strip().split(":")


def test_passwd_entry(machine: Machine) -> None:
    """A user of the config has its id, comment and shell, and a home folder of its own."""
    _name, _password, uid, _gid, comment, home, shell = entry(machine, "passwd", "tester")
    assert (uid, comment, shell) == ("2001", "Kola Tester", "/bin/sh")
    assert machine.run(["stat", "-L", "--format", "%F %U", home], sudo=True).stdout.strip() == "directory tester"
    assert machine.run("id -un", user="tester").stdout.strip() == "tester"


def test_groups(machine: Machine) -> None:
    """A group of the config has its id, and its member really has it."""
    assert entry(machine, "group", "kola-basic")[2] == "3001"
    assert "kola-basic" in machine.run("id -Gn", user="tester").stdout.split()
    assert "kola-basic" not in machine.run("id -Gn core").stdout.split()


@pytest.mark.kola(covers="access")
def test_authorized_key(machine: Machine) -> None:
    """A user's key is in a file that sshd reads, is theirs, and nobody else may write."""
    home = entry(machine, "passwd", "tester")[5]
    found = machine.run(f"grep -rl ' kola-basic$' {home}/.ssh", sudo=True).stdout.split()
    assert len(found) == 1
    assert machine.run(["stat", "--format", "%a %U", found[0]], sudo=True).stdout.strip() == "600 tester"


@pytest.mark.kola(covers="access")
def test_password_hash_and_locked_passwords(machine: Machine) -> None:
    """The configured hash is in the shadow file as it is; who has none cannot log in with any password."""
    assert entry(machine, "shadow", "tester")[1].startswith("$6$kolabasic$N3fbSK")
    for user in ("locked", "core", "root"):
        assert entry(machine, "shadow", user)[1].startswith(("!", "*")), f"{user} is not locked: it has a password"


@pytest.mark.kola(covers="access")
def test_only_root_is_root(machine: Machine) -> None:
    """No other name has the user id 0."""
    users = [line.split(":") for line in machine.run("getent passwd").stdout.splitlines()]
    assert [name for name, _password, uid, *_ in users if uid == "0"] == ["root"], "others with uid 0"
