"""podman on a machine, for one user."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kola.wait import wait_until
from tests.external.images import make_image

if TYPE_CHECKING:
    from kola.command import CommandResult
    from kola.machine import Machine

# One command, on a fast machine.
_SECONDS = 30.0


class Podman:
    """``podman`` as root, or rootless; with an image that has a shell, ``serve`` and ``fetch``."""

    def __init__(self, machine: Machine, user: str) -> None:
        self.machine = machine
        self.user = user
        self.image = make_image(machine, user=user)

    @property
    def rootless(self) -> bool:
        """Whether it is an ordinary user's."""
        return self.user != "root"

    def __call__(self, *arguments: str, check: bool = True, stdin: str = "") -> CommandResult:
        """Run one command of it."""
        limit = _SECONDS * self.machine.slowness
        return self.machine.run(["podman", *arguments], user=self.user, check=check, input=stdin, timeout=limit)

    def start(self, *arguments: str, name: str, command: tuple[str, ...] = ()) -> str:
        """Start a container in the background; returns its name."""
        self("run", "--detach", "--name", name, *arguments, self.image, *command)
        return name

    def serve(self, *arguments: str, name: str, text: str, port: int = 8080) -> str:
        """Start a container that answers with a text; returns its name."""
        return self.start(*arguments, name=name, command=("serve", str(port), text))

    def output(self, *arguments: str) -> str:
        """What a container that runs once prints."""
        return self("run", "--rm", *arguments).stdout

    def fetch(self, *arguments: str, host: str, port: int) -> str:
        """What a container with these options gets from a server, which may be about to start."""

        def fetched() -> str:
            done = self("run", "--rm", *arguments, self.image, "fetch", host, str(port), check=False)
            return done.stdout if done.exit_code == 0 else ""

        return wait_until(fetched, _SECONDS * self.machine.slowness, what=f"an answer from {host}:{port}", interval=1)

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what podman knows of a container."""
        return dict(json.loads(self("container", "inspect", name).stdout)[0])

    def running(self, name: str) -> bool:
        """Tell whether a container runs."""
        found = self("container", "inspect", "--format", "{{.State.Running}}", name, check=False)
        return found.stdout.strip() == "true"

    def remove_all(self) -> None:
        """Leave nothing but images."""
        for kind in (("pod", "rm", "--all"), ("rm", "--all", "--volumes")):
            self(*kind, "--force", "--time", "0")
        self("volume", "rm", "--all", "--force")  # prune leaves those with a name since podman 6
        self("network", "prune", "--force")
