"""Docker on a machine, as root: the distribution's own daemon, started by whoever calls it first."""

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


class Docker:
    """``docker`` with an image that has a shell, ``serve`` and ``fetch``."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.limit = _SECONDS * machine.slowness
        self.image = make_image(machine, engine="docker", user="root")

    def __call__(self, *arguments: str, check: bool = True) -> CommandResult:
        """Run one command of it."""
        return self.machine.run(["docker", *arguments], sudo=True, check=check, timeout=self.limit)

    def start(self, *arguments: str, name: str, command: tuple[str, ...] = ()) -> str:
        """Start a container in the background; returns its name."""
        self("run", "--detach", "--name", name, *arguments, self.image, *command)
        return name

    def output(self, *arguments: str) -> str:
        """What a container that runs once prints."""
        return self("run", "--rm", *arguments).stdout

    def fetch(self, *arguments: str, host: str, port: int) -> str:
        """What a container with these options gets from a server, which may be about to start."""

        def fetched() -> str:
            done = self("run", "--rm", *arguments, self.image, "fetch", host, str(port), check=False)
            return done.stdout if done.exit_code == 0 else ""

        return wait_until(fetched, self.limit, what=f"an answer from {host}:{port}", interval=1)

    def inspect(self, *what: str) -> dict[str, Any]:
        """Return what Docker knows of a thing, such as ``"container", NAME``."""
        return dict(json.loads(self(*what[:-1], "inspect", what[-1]).stdout)[0])

    def state(self, name: str) -> dict[str, Any]:
        """Return a container's state."""
        return dict(self.inspect("container", name)["State"])

    def info(self, field: str) -> str:
        """Return one field of what the daemon says of itself, by Go's name for it."""
        return self("info", "--format", f"{{{{.{field}}}}}").stdout.strip()

    def restart_daemon(self) -> None:
        """Restart it; returns when it answers. It may be started three times a minute, unless that is reset."""
        self.machine.run(["systemctl", "reset-failed", "docker.service"], sudo=True)
        self.machine.run(["systemctl", "restart", "docker.service"], sudo=True, timeout=2 * self.limit)

    def remove_all(self) -> None:
        """Leave nothing but images."""
        self.machine.run("docker ps -aq | xargs -r docker rm -fv", sudo=True, timeout=self.limit)
        self("volume", "prune", "--all", "--force")
        self("network", "prune", "--force")
