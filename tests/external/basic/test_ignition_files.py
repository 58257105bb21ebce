"""What Ignition wrote before the first boot: ``basic.ign``, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(isolation="shared", ignition="basic.ign", tags=["ignition"], covers="provisioning")


def stat(machine: Machine, path: str, form: str) -> str:
    return machine.run(["stat", "--format", form, path], sudo=True).stdout.strip()


def test_contents_are_exact(machine: Machine) -> None:
    """Files have exactly the bytes of the config: text, every byte value, compressed, appended to."""
    folder = "/etc/kola-basic"
    assert machine.read_bytes(f"{folder}/plain", sudo=True) == "two lines\nand an umlaut \u00fc\n".encode()
    assert machine.read_bytes(f"{folder}/every-byte", sudo=True) == bytes(range(256))
    assert machine.read_bytes(f"{folder}/compressed", sudo=True) == b"compressed on the way\n"
    assert machine.read_bytes(f"{folder}/appended", sudo=True) == b"one\ntwo\nthree\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "640 core 3001"),
        ("every-byte", "600 root 0"),
        ("compressed", "444 root 0"),
        ("appended", "644 root 0"),
    ],
)
def test_mode_and_owner(machine: Machine, name: str, expected: str) -> None:
    """A file has the mode, the user (by name) and the group (by number) that the config gives it."""
    assert stat(machine, f"/etc/kola-basic/{name}", "%a %U %g") == expected


def test_directory(machine: Machine) -> None:
    """A directory has its mode and owners; the parents that Ignition had to make are root's and can be entered."""
    assert stat(machine, "/var/lib/kola-basic", "%F %a %U %G") == "directory 750 core kola-basic"
    assert stat(machine, "/etc/kola-basic", "%F %a %U %G") == "directory 755 root root"


def test_links(machine: Machine) -> None:
    """A symbolic link points where the config says, and a hard link is the same file."""
    assert machine.run("readlink /etc/kola-basic/symbolic").stdout.strip() == "plain"
    same = [stat(machine, f"/etc/kola-basic/{name}", "%d:%i %h") for name in ("plain", "hard")]
    assert same[0] == same[1]
    assert same[0].endswith(" 2")


def test_hostname(machine: Machine) -> None:
    """The name in /etc/hostname is the running system's name, and systemd calls it static."""
    assert machine.run("uname -n").stdout.strip() == "kola-basic"
    assert machine.run("hostnamectl --static").stdout.strip() == "kola-basic"
