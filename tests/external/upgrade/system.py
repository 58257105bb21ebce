"""The system under test as something that is updated, in whichever way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.external.upgrade.client import APPLICATION, Identity
from tests.external.upgrade.rpmostree import UPDATE_SECONDS

if TYPE_CHECKING:
    from kola.command import CommandResult
    from kola.machine import Machine
    from kola.releases import Release, Releases
    from tests.external.upgrade.deployments import Deployment
    from tests.external.upgrade.ways import Way

# Boot entries whose kernel or initramfs is not there; some name them as seen from /, others as seen from /boot.
_BROKEN_ENTRIES = """\
cd /boot/loader/entries && for entry in *.conf; do
    while read -r _ file; do
        [ -s "/boot${file#/boot}" ] || echo "$entry: $file"
    done < <(grep -E '^(linux|initrd) ' "$entry")
done
"""


def first_three(releases: Releases) -> tuple[Release, Release, Release]:
    """Return the first three releases; a test that needs them is skipped where there are fewer."""
    if len(releases.releases) < 3:
        pytest.skip("the image brings fewer than three releases (image.json: updates), or --from-image is given")
    one, two, three, *_ = releases.releases
    return one, two, three


def identify(machine: Machine, release: Release) -> Identity:
    """Return what a machine tells an update server of itself when it runs this release, as a commit."""
    basearch, node_uuid, cmdline = machine.run(
        f"uname -m; systemd-id128 machine-id --app-specific={APPLICATION}; cat /proc/cmdline"
    ).stdout.splitlines()
    (platform,) = (word.partition("=")[2] for word in cmdline.split() if word.startswith("ignition.platform.id="))
    return Identity(basearch, release.stream, platform, node_uuid, release.version, release.commit)


class System:
    """One machine, the releases that it can be updated to, and the way to them."""

    def __init__(self, machine: Machine, releases: Releases, way: Way) -> None:
        self.machine = machine
        self.releases = releases
        self.way = way
        self.patience = UPDATE_SECONDS * machine.slowness

    def name(self, release: Release) -> str:
        """Return the name that a deployment of this release has."""
        return self.way.payload(release).rpartition("@")[2]

    def stage(self, release: Release, *, check: bool = True) -> CommandResult:
        """Fetch a release and stage it for the next boot."""
        return self.machine.run(self.way.stage_command(release), sudo=True, check=check, timeout=self.patience)

    def rollback(self) -> None:
        """Let the deployment before this one boot next."""
        self.machine.run(self.way.rollback_command(), sudo=True, timeout=self.patience)

    def update(self, release: Release) -> None:
        """Stage a release, boot it, and see that it is it."""
        self.stage(release)
        self.machine.reboot()
        self.expect(release)

    def booted(self) -> str:
        """Return the name of what runs."""
        running = [found.name for found in self.way.deployments() if found.booted]
        assert len(running) == 1, f"one deployment should be booted, not {running}"
        return running[0]

    def expect_staged(self, release: Release) -> None:
        """See that this release waits for the next shutdown."""
        staged = [found.name for found in self.way.deployments() if found.staged]
        assert staged == [self.name(release)], f"{release.version} is not staged, but {staged or 'nothing'}"

    def expect_only(self, release: Release) -> None:
        """See that this release runs, that there is no other, and that the system is whole."""
        there: list[Deployment] = self.way.deployments()
        assert [found.name for found in there] == [self.name(release)], (
            f"not {release.version} alone is there: {', '.join(map(str, there))}"
        )
        self.expect(release)

    def expect(self, *allowed: Release) -> Release:
        """See that one of these releases runs, and that the system is whole; returns which it is.

        SSH answers before the boot is over: what the last services do, or that they fail, is waited for.
        """
        self.machine.run("systemctl is-system-running --wait", check=False, timeout=self.patience)
        booted = self.booted()
        running = [release for release in allowed if self.name(release) == booted]
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
        return f"; ostree-finalize-staged said:\n{said}" if said else "; ostree-finalize-staged said nothing"
