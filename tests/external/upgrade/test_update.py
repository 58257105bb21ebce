"""From one release to the next: what has to change does, and what has to stay does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kola.machine import Machine
from kola.releases import Releases
from tests.external.selinux.contexts import parse_sweep, show
from tests.external.upgrade.system import System

CONFIG = {
    "ignition": {"version": "3.0.0"},
    "storage": {
        "files": [
            {"path": "/etc/kola/added", "mode": 0o640, "contents": {"source": "data:,added%0A"}},
            {"path": "/etc/login.defs", "append": [{"source": "data:,%23%20changed%20by%20Ignition%0A"}]},
            {"path": "/var/lib/kola/data", "mode": 0o600, "contents": {"source": "data:,data%0A"}},
        ]
    },
    "systemd": {
        "units": [
            {
                "name": "kola-own.service",
                "enabled": True,
                "contents": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
                "[Install]\nWantedBy=multi-user.target\n",
            }
        ]
    },
}
OWN_ARGUMENT = "kola.own=kept"

pytestmark = pytest.mark.kola(
    ignition=CONFIG, kernel_args=[OWN_ARGUMENT], needs=["updates"], tags=["upgrade"], covers="update", timeout=900
)


def config_diff(machine: Machine) -> set[str]:
    """The paths of /etc that are not as the release has them.

    Without the store of SELinux' modules, which finalising writes anew.
    """
    lines = machine.run(["ostree", "admin", "config-diff"], sudo=True, timeout=120).stdout.splitlines()
    paths = {line.split(maxsplit=1)[1] for line in lines}
    return {path for path in paths if not re.match("selinux/[^/]+/active/", path)}


def remove_a_default(machine: Machine) -> str:
    """Delete some file of /etc that the release brings along and nobody misses."""
    candidates = "/usr/etc/issue.net /usr/etc/issue /usr/etc/shells"
    path = machine.run(f"ls -d {candidates} 2>/dev/null | head -n1", check=False).stdout.strip().removeprefix("/usr")
    assert path, "no default to remove"
    machine.run(["rm", path], sudo=True)
    return path


@pytest.mark.smoke
def test_update_and_rollback(system: System, releases: Releases) -> None:
    """The next release boots with its kernel, /etc merged, /var and own kernel arguments kept; rollback leads back."""
    machine, (old, new, *_) = system.machine, releases.releases
    removed = remove_a_default(machine)
    machine.run("mkdir -p /var/lib/kola && echo more >/var/lib/kola/more && echo local >/etc/kola/local", sudo=True)
    before = config_diff(machine)
    identity = machine.run("cat /etc/machine-id /etc/ssh/ssh_host_*_key.pub").stdout

    system.stage(new)
    assert system.booted() == system.name(old)
    system.expect_staged(new)
    machine.reboot()

    system.expect(new)
    _expect_carried(machine, removed, identity)
    # More than before there may be: services of the new release write there too.
    lost = before - config_diff(machine)
    assert not lost, f"the machine's own files of /etc are the release's since the update: {sorted(lost)}"
    cmdline = machine.run("cat /proc/cmdline").stdout.split()
    missing = {OWN_ARGUMENT, *system.way.kernel_arguments()} - set(cmdline)
    assert not missing, f"kernel arguments lost in the update: {sorted(missing)}"
    assert "ignition.firstboot" not in cmdline, "the first boot again"

    machine.run("echo newer >/etc/kola/after-update && echo newer >/var/lib/kola/after-update", sudo=True)
    system.rollback()
    machine.reboot()

    system.expect(old)
    _expect_carried(machine, removed, identity)
    lost = before - config_diff(machine)
    assert not lost, f"the machine's own files of /etc are the release's after the rollback: {sorted(lost)}"
    assert machine.read_file("/var/lib/kola/after-update", sudo=True) == "newer\n", "/var is shared by all deployments"
    assert OWN_ARGUMENT in machine.run("cat /proc/cmdline").stdout.split()


def _expect_carried(machine: Machine, removed: str, identity: str) -> None:
    """What belongs to the machine and not to a release."""
    for path, content in (
        ("/etc/kola/added", "added\n"),
        ("/etc/kola/local", "local\n"),
        ("/var/lib/kola/data", "data\n"),
        ("/var/lib/kola/more", "more\n"),
    ):
        found = machine.run(["cat", path], sudo=True, check=False).stdout
        assert found == content, f"{path} holds {found!r}, not {content!r}"
    modes = machine.run("stat -c %a /etc/kola/added /var/lib/kola/data", sudo=True).stdout.split()
    assert modes == ["640", "600"], f"modes changed: {modes}"
    changed = machine.read_file("/etc/login.defs")
    assert "changed by Ignition" in changed, "/etc/login.defs is the release's again, not what Ignition made of it"
    assert machine.run(["test", "-e", removed], check=False).exit_code == 1, f"{removed} was removed and is back"
    assert machine.run("cat /etc/machine-id /etc/ssh/ssh_host_*_key.pub").stdout == identity, "another machine's keys"
    machine.wait_for_unit("kola-own.service")


@pytest.mark.kola(covers="selinux-label")
def test_labels_after_an_update(system: System, releases: Releases) -> None:
    """After an update to the newest release SELinux enforces, and the files of /etc, /usr and /var have their labels.

    Those in exceptions.toml may have the label of the policy before.
    """
    machine = system.machine
    system.update(releases.releases[-1])
    assert machine.run("getenforce").stdout.strip() == "Enforcing"
    said = machine.run(["restorecon", "-nvr", "/etc", "/usr", "/var"], sudo=True, timeout=300).stdout
    wrong = parse_sweep(said, Path(__file__).with_name("exceptions.toml"))
    assert not wrong, f"{len(wrong)} wrong labels after the update: {show(wrong)}"
