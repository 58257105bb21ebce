"""The system under test as something that is updated: by rpm-ostree where there is one, by OSTree alone elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from kola.command import CommandResult
from tests.external.upgrade.client import APPLICATION, Identity

if TYPE_CHECKING:
    from kola.machine import Machine
    from kola.releases import Release, Releases

# To fetch and deploy, on a fast machine.
_UPDATE_SECONDS = 120.0
_DEPLOYMENT = re.compile(r"^(?P<booted>[* ]) \S+ (?P<commit>[0-9a-f]{64})\.\d+(?: \((?P<state>.*)\))?$")
# Boot entries whose kernel or initramfs is not there.
_BROKEN_ENTRIES = """\
cd /boot/loader/entries && for entry in *.conf; do
    while read -r _ file; do [ -s "/boot$file" ] || echo "$entry: $file"; done < <(grep -E '^(linux|initrd) ' "$entry")
done
"""


def first_three(releases: Releases) -> tuple[Release, Release, Release]:
    """Return the first three releases; a test that needs them is skipped where there are fewer."""
    if len(releases.releases) < 3:
        pytest.skip("the image brings fewer than three releases (image.json: updates), or --from-image is given")
    one, two, three, *_ = releases.releases
    return one, two, three


@dataclass(frozen=True)
class Deployment:
    """One line of ``ostree admin status``; the first is what boots next."""

    commit: str
    booted: bool
    state: str

    def __str__(self) -> str:
        return f"{self.commit[:10]} ({'booted' if self.booted else self.state or 'not booted'})"


class System:
    """One machine, and the releases that it can be updated to."""

    def __init__(self, machine: Machine, releases: Releases) -> None:
        self.machine = machine
        self.releases = releases
        self.patience = _UPDATE_SECONDS * machine.slowness
        self.has_rpm_ostree = machine.run("command -v rpm-ostree", check=False).exit_code == 0

    def follow(self, url: str) -> None:
        """Let the remote that the system follows by its own configuration be this one, its trusted keys as they are."""
        remote = self.releases.remote
        self.machine.run(
            f"file=$(grep -lF '[remote \"{remote}\"]' /etc/ostree/remotes.d/*.conf) && "
            f"sed -i -e 's|^url=.*|url={url}|' -e '/^contenturl=/d' \"$file\"",
            sudo=True,
        )

    def stage(self, release: Release, *, check: bool = True) -> CommandResult:
        """Fetch a release and stage it for the next boot."""
        return self.machine.run(self.stage_command(release), sudo=True, check=check, timeout=self.patience)

    def stage_command(self, release: Release) -> list[str]:
        """What does that."""
        if self.has_rpm_ostree:
            return ["rpm-ostree", "rebase", f"{self.releases.remote}:{release.ref}", release.commit]
        return ["testos-upgrade", release.commit]

    def rollback(self) -> None:
        """Let the deployment before this one boot next."""
        if self.has_rpm_ostree:
            self.machine.run(["rpm-ostree", "rollback"], sudo=True, timeout=self.patience)
            return
        there = self.deployments()
        index = next((i for i, found in enumerate(there) if found.state == "rollback"), None)
        assert index is not None, f"there is no deployment to roll back to, only {', '.join(map(str, there))}"
        self.machine.run(["ostree", "admin", "set-default", str(index)], sudo=True, timeout=self.patience)

    def update(self, release: Release) -> None:
        """Stage a release, boot it, and see that it is it."""
        self.stage(release)
        self.machine.reboot()
        self.expect(release)

    def identity(self, release: Release) -> Identity:
        """Return what the machine tells an update server of itself when it runs this release."""
        basearch, node_uuid, cmdline = self.machine.run(
            f"uname -m; systemd-id128 machine-id --app-specific={APPLICATION}; cat /proc/cmdline"
        ).stdout.splitlines()
        (platform,) = (word.partition("=")[2] for word in cmdline.split() if word.startswith("ignition.platform.id="))
        stream = release.ref.rpartition("/")[2]
        return Identity(basearch, stream, platform, node_uuid, release.version, release.commit)

    def deployments(self) -> list[Deployment]:
        """Return all of them, in the order of the boot menu."""
        status = self.machine.run(["ostree", "admin", "status"], sudo=True).stdout
        found = [match for match in map(_DEPLOYMENT.match, status.splitlines()) if match]
        return [Deployment(match["commit"], match["booted"] == "*", match["state"] or "") for match in found]

    def booted(self) -> str:
        """Return the commit that runs."""
        running = [found.commit for found in self.deployments() if found.booted]
        assert len(running) == 1, f"one deployment should be booted, not {running}"
        return running[0]

    def staged(self) -> list[str]:
        """Return the commits that wait for the next shutdown."""
        return [found.commit for found in self.deployments() if found.state == "staged"]

    def expect(self, *allowed: Release) -> Release:
        """See that one of these releases runs, and that the system is whole; returns which it is.

        SSH answers before the boot is over: what the last services do, or that they fail, is waited for.
        """
        self.machine.run("systemctl is-system-running --wait", check=False, timeout=self.patience)
        booted = self.booted()
        running = [release for release in allowed if release.commit == booted]
        assert running, (
            f"{booted} is booted, not one of {', '.join(r.version or r.commit for r in allowed)}{self._finalising()}"
        )
        failed = self.machine.failed_units()
        assert not failed, f"failed units in {running[0].version}: {', '.join(failed)}"
        broken = self.machine.run(["bash", "-c", _BROKEN_ENTRIES], sudo=True).stdout
        assert not broken, f"boot entries without their files: {broken}"
        kernel = self.machine.run("uname -r").stdout.strip()
        if running[0].kernel:
            assert kernel == running[0].kernel, f"the kernel is {kernel}, not {running[0].kernel}"
        return running[0]

    def _finalising(self) -> str:
        """What the boot before this one said when it made the staged deployment the next one, which may have failed."""
        command = ["journalctl", "--quiet", "--boot=-1", "--unit=ostree-finalize-staged", "--output=cat", "--lines=10"]
        said = self.machine.run(command, sudo=True, check=False).stdout.strip()
        return f"; ostree-finalize-staged said:\n{said}" if said else ""
