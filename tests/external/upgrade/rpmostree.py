"""rpm-ostree on a machine: what it says of the deployments, and what only it can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.external.upgrade.deployments import Deployment, parse_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kola.command import CommandResult
    from kola.machine import Machine

UPDATE_SECONDS = 300.0
"""To fetch and deploy, on a fast machine."""


class RpmOstree:
    """``rpm-ostree`` as root."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.patience = UPDATE_SECONDS * machine.slowness

    def __call__(self, *arguments: str, check: bool = True) -> CommandResult:
        """Run one command of it."""
        return self.machine.run(["rpm-ostree", *arguments], sudo=True, check=check, timeout=self.patience)

    def status(self) -> list[Deployment]:
        """Return the deployments, in the order of the boot menu."""
        return parse_status(self("status", "--json").stdout)

    def booted(self) -> Deployment:
        """Return what runs."""
        running = [found for found in self.status() if found.booted]
        assert len(running) == 1, f"one deployment should be booted, not {running}"
        return running[0]

    def staged(self) -> Deployment | None:
        """Return what waits for the next boot."""
        return next((found for found in self.status() if found.staged), None)

    def install(self, image: str) -> None:
        """Boot an image as if the machine had been installed with it: there is nothing to roll back to."""
        self("rebase", image)
        self.machine.reboot()
        self("cleanup", "--rollback")

    def stage_locked(self, command: Sequence[str]) -> Deployment:
        """Run a command of it that stages, as Zincati does: the next boot does not take the update."""
        self(*command[1:], "--lock-finalization")
        staged = self.staged()
        assert staged is not None, "nothing was staged"
        assert staged.locked, f"{staged} is not locked"
        return staged

    def finalize(self, checksum: str) -> None:
        """Unlock what is staged; the machine reboots by itself and is up again afterwards."""
        before = self.machine.boot_id
        # The reboot would cut the command off.
        self.machine.run(["systemd-run", "--collect", "rpm-ostree", "finalize-deployment", checksum], sudo=True)
        self.machine.await_boot(before)
