"""A container outlives updates of the system."""

from __future__ import annotations

import pytest

from kola.machine import Machine
from kola.releases import Releases
from kola.wait import wait_until
from tests.external.images import make_image
from tests.external.upgrade.system import System

NAME, VOLUME = "kola-keeper", "kola-data"
# Each start leaves a line in the volume and one in the container's own file system. A container's first process ignores
# the signals that it does not trap, and the shutdown would wait for it.
MAIN = "trap exit TERM; echo start >>/data/starts; echo start >>/root/starts; sleep infinity & wait"


class Keeper:
    """A container with a named volume that starts with the machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.patience = 60.0 * machine.slowness
        image = make_image(machine)
        self._podman("volume", "create", VOLUME)
        options = ["--detach", "--name", NAME, "--restart=always", "--volume", f"{VOLUME}:/data"]
        self._podman("run", *options, image, "bash", "-c", MAIN)
        machine.run(["systemctl", "enable", "--now", "podman-restart.service"], sudo=True, timeout=self.patience)
        self.put("/data/kept", "in the volume")
        self.put("/root/kept", "in the container")
        self.image = self._inspect("{{.Image}}")
        self.id = self._inspect("{{.Id}}")

    def put(self, path: str, text: str) -> None:
        """Write a file in the container."""
        self._podman("exec", NAME, "bash", "-c", f"echo '{text}' >{path}; sync")

    def expect(self, *, boots: int, texts: dict[str, str]) -> None:
        """See that it is the same container, that it runs again, and that all its files are there."""
        wait_until(self._runs, self.patience, what="the container to run again", interval=1)
        assert self._inspect("{{.Id}} {{.Image}}") == f"{self.id} {self.image}", "another container, or another image"
        found = {path: self._podman("exec", NAME, "cat", path) for path in texts}
        assert found == {path: f"{text}\n" for path, text in texts.items()}, f"the container's files are {found}"
        for path in ("/data/starts", "/root/starts"):
            starts = self._podman("exec", NAME, "cat", path).splitlines()
            assert len(starts) >= boots, f"{path} tells of {len(starts)} starts in {boots} boots"

    def _runs(self) -> bool:
        return self._inspect("{{.State.Running}}") == "true"

    def _inspect(self, form: str) -> str:
        return self._podman("container", "inspect", "--format", form, NAME).strip()

    def _podman(self, *arguments: str) -> str:
        return self.machine.run(["podman", *arguments], sudo=True, timeout=self.patience).stdout


@pytest.mark.slow
@pytest.mark.kola(needs=["updates", "podman"], tags=["upgrade"], covers="state-lost", timeout=1200)
def test_container_survives_update_and_rollback(system: System, releases: Releases) -> None:
    """A container and its volume are there and run after an update and after the rollback, with all their files."""
    machine, (old, new, *_) = system.machine, releases.releases
    keeper = Keeper(machine)
    texts = {"/data/kept": "in the volume", "/root/kept": "in the container"}
    keeper.expect(boots=1, texts=texts)

    system.update(new)
    keeper.expect(boots=2, texts=texts)
    keeper.put("/data/newer", "written by the new release")
    texts["/data/newer"] = "written by the new release"

    system.rollback()
    machine.reboot()
    system.expect(old)
    keeper.expect(boots=3, texts=texts)
