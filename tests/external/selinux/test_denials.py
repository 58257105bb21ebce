"""The policy is enforced: a confined service really is denied, by the label alone, and the log says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kola.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kola.machine import Machine

pytestmark = pytest.mark.kola(
    isolation="shared",
    ignition="selinux.ign",
    needs=["selinux"],
    tags=["selinux", "security"],
    covers="confinement",
    skip_checks={"avc-denial": "denials on purpose"},
)

DAEMON = "/usr/lib/systemd/systemd-resolved"
"""Whose domain is borrowed: a service that every system has, confined everywhere under the same name."""
DOMAIN = "systemd_resolved_t"
TOOL = "/var/usrlocal/bin/kola-confined"


@pytest.fixture
def confined(machine: Machine) -> Iterator[Machine]:
    """`cat` as a daemon: a copy of the program with the daemon's label, so that a unit that runs it is confined."""
    machine.run(f"cp /usr/bin/cat {TOOL} && chcon --reference={DAEMON} {TOOL}", sudo=True)
    yield machine
    # The machine is shared, and others look at its labels.
    machine.run(["rm", TOOL], sudo=True)


@pytest.fixture
def file(confined: Machine) -> Iterator[str]:
    """A file that everybody may read, if its label is not asked; no log has ever named it."""
    path = confined.run("mktemp /etc/kola-selinux/denied.XXXXXX", sudo=True).stdout.strip()
    confined.run(f"echo public >{path} && chmod 644 {path}", sudo=True)
    yield path
    confined.run(["rm", path], sudo=True)


def as_service(machine: Machine, *arguments: str) -> tuple[int, str]:
    """Run it as a unit, as root with all capabilities; return its exit code and what it wrote to the journal."""
    cursor = machine.cursor()
    command = ["systemd-run", "--quiet", "--wait", "--collect", "--setenv=LC_ALL=C", TOOL, *arguments]
    code = machine.run(command, sudo=True, check=False).exit_code
    written = [entry.message for entry in machine.journal(since=cursor) if entry.identifier == TOOL.rpartition("/")[2]]
    return code, "\n".join(written)


def denials(machine: Machine, path: str) -> list[str]:
    """Return the records of the audit log about this file."""
    name = path.rpartition("/")[2]
    command = f"grep -hs 'avc:  *denied' /var/log/audit/audit.log* | grep 'name=\"{name}\"'"
    return machine.run(command, sudo=True, check=False).stdout.splitlines()


@pytest.mark.smoke
def test_a_label_decides(confined: Machine, file: str) -> None:
    """A confined service, root, reads a file, is refused when only its label changes, and reads it again after that."""
    machine = confined
    code, written = as_service(machine, "/proc/self/attr/current")
    assert (code, f":{DOMAIN}:" in written) == (0, True), f"not confined: {written}"
    assert as_service(machine, file) == (0, "public")
    assert not denials(machine, file)
    machine.run(["chcon", "-t", "shadow_t", file], sudo=True)
    code, written = as_service(machine, file)
    assert code == 1, f"{DOMAIN} read a file that is labelled as the passwords: {written}"
    assert "Permission denied" in written
    assert machine.run(["cat", file], sudo=True).stdout == "public\n"
    machine.run(["restorecon", file], sudo=True)
    assert as_service(machine, file) == (0, "public")


def test_a_denial_is_logged(confined: Machine, file: str) -> None:
    """The audit log names the denied access, the domain and the label; the access was not let pass."""
    machine = confined
    # Not /etc/shadow itself: on Fedora nobody may read it without a capability, so its label would not be asked.
    machine.run(["chcon", "-t", "shadow_t", file], sudo=True)
    code, _ = as_service(machine, file)
    assert code == 1, f"{DOMAIN} read a file that is labelled as the passwords"
    wait_until(lambda: denials(machine, file), machine.limits.command, what="the denial in the audit log")
    record = denials(machine, file)[-1]
    for word in (f":{DOMAIN}:", ":shadow_t:", "tclass=file", "permissive=0"):
        assert word in record, record


def test_a_confined_root_cannot_change_the_system(confined: Machine) -> None:
    """A confined service that is root cannot write to the configuration, the logs, homes or the policy."""
    machine = confined
    # All of them are root's: what the mode refuses already proves nothing.
    machine.run(f"cp /usr/bin/tee {TOOL} && chcon --reference={DAEMON} {TOOL}", sudo=True)
    victims = ["/etc/passwd", "/var/log/kola-selinux/log", "/var/roothome/kola-file", "/etc/selinux/config"]
    digest = ["sha256sum", *victims]
    before = machine.run(digest, sudo=True).stdout
    for victim in victims:
        code, written = as_service(machine, "--append", victim)
        assert code != 0, f"{DOMAIN} opened {victim} for writing"
        assert "Permission denied" in written, written
    assert machine.run(digest, sudo=True).stdout == before
