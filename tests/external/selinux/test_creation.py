"""The labels of files that are made while the system runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.external.selinux.contexts import mislabeled, show, types

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(
    isolation="shared",
    ignition="selinux.ign",
    needs=["selinux"],
    tags=["selinux", "security"],
    covers="selinux-label",
)


def test_files_of_an_administrator(machine: Machine) -> None:
    """What root makes in the folders of the system gets the label that the policy has for it."""
    files = [
        "/etc/kola-new",
        "/etc/systemd/system/kola-new.service",
        "/etc/systemd/system/kola-new.service.d/a.conf",
        "/var/log/kola-new.log",
        "/var/lib/kola-new/file",
        "/var/cache/kola-new/file",
        "/usr/local/bin/kola-new",
        "/opt/kola-new/file",
        "/srv/kola-new/file",
    ]
    made = " ".join(files)
    machine.run(f"for f in {made}; do mkdir -p ${{f%/*}}; echo x >$f; done", sudo=True)
    try:
        # By their real paths: what a link leads to is labelled by where it is.
        wrong = mislabeled(machine, machine.run(["realpath", *files], sudo=True).stdout.split())
    finally:
        machine.run(
            f"rm {made}; rmdir /etc/systemd/system/*.d /*/lib/kola-new /*/cache/kola-new {{/opt,/srv}}/kola-new",
            sudo=True,
            check=False,
        )
    assert not wrong, show(wrong)


def test_temporary_files(machine: Machine) -> None:
    """A user's temporary files have the type of users' temporary files, in /tmp and /var/tmp, and one in memory too."""
    script = "f=$(mktemp); d=$(mktemp -d -p /var/tmp); stat --format=%C $f $d; rm -r $f $d"
    labels = machine.run(script).stdout.split()
    assert [label.split(":")[2] for label in labels] == ["user_tmp_t", "user_tmp_t"], labels


def test_files_in_a_home(machine: Machine) -> None:
    """What a user makes at home is the user's."""
    script = "mkdir -p ~/kola/deep && echo x >~/kola/deep/file && echo x >~/kola-file"
    machine.run(script)
    paths = [f"/var/home/core/{name}" for name in ("kola", "kola/deep", "kola/deep/file", "kola-file")]
    try:
        actual = types(machine, paths)
    finally:
        machine.run("rm -r ~/kola ~/kola-file")
    assert set(actual.values()) == {"user_home_t"}, actual


def test_a_new_user(machine: Machine) -> None:
    """The home of a new user and what is put there at once are labelled."""
    machine.run("useradd --create-home kola-new", sudo=True)
    try:
        home = machine.run("getent passwd kola-new | cut -d: -f6").stdout.strip()
        found = machine.run(["find", machine.run(["realpath", home]).stdout.strip()], sudo=True).stdout.splitlines()
        wrong = mislabeled(machine, found)
        kept = mislabeled(machine, ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"])
    finally:
        machine.run("userdel --remove kola-new", sudo=True, check=False)
    assert not wrong, show(wrong)
    assert not kept, f"useradd changed the labels of its own files: {show(kept)}"


def test_directories_of_a_service(machine: Machine) -> None:
    """What systemd makes for a service (StateDirectory= and others) at boot, and the service in it, is labelled."""
    folders = [f"/var/{kind}/kola-service" for kind in ("lib", "log", "cache")]
    machine.wait_for_unit("kola-selinux.service")
    wrong = mislabeled(machine, [*folders, "/var/lib/kola-service/file", "/var/log/kola-service/file"])
    assert not wrong, show(wrong)


def test_what_tmpfiles_makes(machine: Machine) -> None:
    """systemd-tmpfiles labels what it makes at boot by the config that Ignition wrote."""
    wrong = mislabeled(machine, ["/var/log/kola-tmpfiles", "/var/lib/kola-tmpfiles"])
    assert not wrong, show(wrong)


def test_the_journals_files(machine: Machine) -> None:
    """The journal on the disk has the label that lets only loggers and readers of logs at it."""
    found = machine.run("find /var/log/journal -type f", sudo=True).stdout.splitlines()
    assert found, "there is no journal on the disk"
    wrong = mislabeled(machine, found)
    assert not wrong, show(wrong)
