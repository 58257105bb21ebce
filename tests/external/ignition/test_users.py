"""Users and groups of the config, and who can log in."""

from __future__ import annotations

import pytest

from kola.machine import Machine
from tests.external.ignition.config import CONFIG, HASHED, PRIVATE_KEY, PUBLIC_KEY

pytestmark = pytest.mark.kola(
    isolation="shared",
    ignition=CONFIG,
    disks=[{"size_gib": 2, "serial": "data"}],
    tags=["ignition"],
    covers="access",
)


def entry(machine: Machine, database: str, key: str) -> list[str]:
    return machine.run(["getent", database, key], sudo=True).stdout.strip().split(":")


@pytest.mark.smoke
def test_keys_open_the_accounts(machine: Machine) -> None:
    """Who has a key in the config logs in with it: an ordinary user, and root; a user without it does not."""
    key = "/tmp/kola-ignition-key"
    machine.write_file(key, PRIVATE_KEY, mode=0o600)
    options = "-o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    command = f"ssh -i {key} -o IdentitiesOnly=yes {options}"
    for user in ("kola-user", "root"):
        login = machine.run(f"{command} {user}@localhost id -un", check=False)
        assert login.stdout.strip() == user, f"{user} cannot log in with the key: {login.stderr}"
    stranger = machine.run(f"{command} core@localhost true", check=False)
    machine.run(["rm", key])
    assert stranger.exit_code == 255, "the key of another user opens core's account"
    assert "Permission denied" in stranger.stderr, f"core was not refused for the key: {stranger.stderr}"


def test_key_files(machine: Machine) -> None:
    """A user's keys are in one file of authorized_keys.d, theirs alone, in folders that nobody else may enter."""
    for user, home in (("kola-user", "/var/home/elsewhere"), ("root", "/root")):
        found = machine.run(f"grep -rlxF '{PUBLIC_KEY}' {home}/.ssh/", sudo=True, check=False).stdout.split()
        assert found == [f"{home}/.ssh/authorized_keys.d/ignition"], f"{user}'s key is in {found}"
        stat = ["stat", "--format", "%a %U", f"{home}/.ssh", f"{home}/.ssh/authorized_keys.d", found[0]]
        modes = machine.run(stat, sudo=True).stdout.splitlines()
        assert modes == [f"700 {user}", f"700 {user}", f"600 {user}"], f"{user}: {modes}"


def test_ordinary_user(machine: Machine) -> None:
    """A user has the id, comment, home, shell, primary and other groups of the config."""
    account = entry(machine, "passwd", "kola-user")
    expected = ["kola-user", "x", "2101", "3101", "Kola User", "/var/home/elsewhere", "/bin/sh"]
    assert account == expected, f"account: {account}"
    groups = set(machine.run("id -Gn", user="kola-user").stdout.split())
    assert groups == {"kola-group", "kola-system", "adm"}, f"groups: {sorted(groups)}"
    home = machine.run("stat --format='%F %U' /var/home/elsewhere", sudo=True).stdout.strip()
    assert home == "directory kola-user", f"the home folder is a {home}"


def test_system_user_and_group(machine: Machine) -> None:
    """A system user and group have ids below those of people; the user has no home folder and cannot log in."""
    limits = dict(line.split()[:2] for line in machine.run("grep -E '^[UG]ID_MIN' /etc/login.defs").stdout.splitlines())
    account = entry(machine, "passwd", "kola-daemon")
    assert 0 < int(account[2]) < int(limits["UID_MIN"]), f"not an id of a system user: {account}"
    gid = int(entry(machine, "group", "kola-system")[2])
    assert 0 < gid < int(limits["GID_MIN"]), f"not an id of a system group: {gid}"
    home = machine.run(["test", "-e", account[5]], sudo=True, check=False)
    assert home.exit_code == 1, f"{account[5]} was made, against noCreateHome"
    assert account[6] == "/usr/sbin/nologin", f"shell: {account[6]}"


def test_passwords(machine: Machine) -> None:
    """The hash of the config is in the shadow file to the letter, and who has none cannot log in with any password."""
    stored = entry(machine, "shadow", "kola-user")[1]
    assert stored == HASHED, f"another hash: {stored}"
    for user in ("kola-daemon", "core", "root"):
        stored = entry(machine, "shadow", user)[1]
        assert stored.startswith(("!", "*")), f"{user} has a password: {stored!r}"


def test_user_that_should_not_exist(machine: Machine) -> None:
    """A user that should not exist, and never did, is no error, and is not made."""
    found = machine.run(["getent", "passwd", "kola-absent"], check=False)
    assert found.exit_code == 2, f"the user exists: {found.stdout}"
