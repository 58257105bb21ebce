"""Docker Swarm: one node, and three that survive the loss of one."""

from __future__ import annotations

from collections import Counter

import pytest

from kola.machine import Machine
from kola.wait import wait_until
from tests.external import network
from tests.external.containers.docker import Docker

pytestmark = [
    pytest.mark.docker,
    pytest.mark.kola(needs=["docker"], tags=["containers"], covers="orchestration", timeout=1800),
]

_SECONDS = 90.0
"""How long tasks may take to be where they should be, on a fast machine."""


class Swarm:
    """A cluster as its first manager sees it."""

    def __init__(self, manager: Docker) -> None:
        self.docker = manager
        self.limit = _SECONDS * manager.machine.slowness

    def create(self, name: str, *arguments: str, command: tuple[str, ...]) -> None:
        """Create a service of the image that every node has; nothing is asked of a registry."""
        create = ("service", "create", "--detach", "--no-resolve-image", "--name", name)
        self.docker(*create, *arguments, self.docker.image, *command)

    def nodes(self, service: str) -> Counter[str]:
        """Return on which nodes the running tasks of a service are."""
        shown = ("service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}")
        rows = [row.split() for row in self.docker(*shown, service).stdout.splitlines()]
        return Counter(row[0] for row in rows if row[1] == "Running")

    def await_nodes(self, *names: str) -> None:
        """Wait until these nodes, and no others, are ready: who has just joined is not at once."""
        wanted = [f"{name} Ready" for name in names]
        shown = ("node", "ls", "--format", "{{.Hostname}} {{.Status}}")
        wait_until(
            lambda: sorted(self.docker(*shown).stdout.splitlines()) == wanted,
            self.limit,
            what=f"the nodes {', '.join(names)} of the swarm",
            interval=1,
        )

    def await_tasks(self, service: str, wanted: dict[str, int]) -> None:
        """Wait until the running tasks of a service are on these nodes, so many on each."""
        wait_until(
            lambda: self.nodes(service) == wanted, self.limit, what=f"tasks of {service} on {wanted}", interval=1
        )


def ready(machine: Machine) -> Docker:
    """Docker that can be a node of a swarm: a daemon that keeps containers alive without itself cannot."""
    docker = Docker(machine)
    if docker.info("LiveRestoreEnabled") == "true":
        machine.run("sed -i 's/--live-restore//' /etc/sysconfig/docker", sudo=True)
        docker.restart_daemon()
    return docker


def test_one_node(machine: Machine) -> None:
    """A swarm of one node runs a service, scales it, publishes it, replaces a task that dies, and can be left."""
    docker = ready(machine)
    docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    swarm = Swarm(docker)
    node = docker.info("Name")
    swarm.create("web", "--replicas", "2", "--publish", "18081:8080", command=("serve", "8080", "swarm"))
    swarm.await_tasks("web", {node: 2})
    ask = "exec 3<>/dev/tcp/127.0.0.1/18081 && timeout 20 cat <&3"
    seen = machine.run(["bash", "-c", ask]).stdout
    assert seen == "swarm", f"the published port answers {seen!r}"
    docker("service", "scale", "--detach", "web=3")
    swarm.await_tasks("web", {node: 3})
    victim = docker("ps", "--quiet", "--filter", "label=com.docker.swarm.service.name=web").stdout.split()[0]
    docker("kill", victim)
    wait_until(lambda: victim not in docker("ps", "--quiet").stdout, swarm.limit, what="the end of a task", interval=1)
    swarm.await_tasks("web", {node: 3})
    docker("swarm", "leave", "--force")
    assert docker.info("Swarm.LocalNodeState") == "inactive", "the node is still in a swarm"


@pytest.mark.kola(machines=3, nics=[{"network": "cluster"}])
def test_three_nodes(machines: list[Machine]) -> None:
    """Three nodes form a swarm, spread a service, talk by name over an overlay network, and replace what a node had."""
    addresses = [f"192.168.77.{number}" for number in (1, 2, 3)]
    for machine, address in zip(machines, addresses, strict=True):
        network.join(machine, "cluster", f"{address}/24")
        # Clones of machines with the same name would be told apart by nothing in `docker node ls`.
        machine.run(["hostnamectl", "set-hostname", f"node{address[-1]}"], sudo=True)
    nodes = [ready(machine) for machine in machines]
    for docker in nodes:
        docker.restart_daemon()  # it asks for the host name once
    manager, swarm = nodes[0], Swarm(nodes[0])
    manager("swarm", "init", "--advertise-addr", addresses[0])
    token = manager("swarm", "join-token", "--quiet", "worker").stdout.strip()
    for docker, address in zip(nodes[1:], addresses[1:], strict=True):
        docker("swarm", "join", "--token", token, "--advertise-addr", address, f"{addresses[0]}:2377")
    swarm.await_nodes("node1", "node2", "node3")

    manager("network", "create", "--driver", "overlay", "--attachable", "mesh")
    swarm.create("web", "--replicas", "3", "--network", "mesh", command=("serve", "8080", "swarm"))
    swarm.await_tasks("web", {"node1": 1, "node2": 1, "node3": 1})
    # Each node asks each task, by the names that Docker's DNS gives them: two of three are elsewhere.
    for docker in nodes:
        seen = docker.fetch("--network", "mesh", host="web", port=8080)
        assert seen == "swarm", f"the service answers {seen!r} on {docker.machine.name}"
    tasks = manager("service", "ps", "--no-trunc", "--format", "{{.Name}}.{{.ID}}", "web").stdout.split()
    for task in tasks:
        seen = manager.fetch("--network", "mesh", host=task, port=8080)
        assert seen == "swarm", f"task {task} answers {seen!r} over the overlay network"

    manager("service", "scale", "--detach", "web=6")
    swarm.await_tasks("web", {"node1": 2, "node2": 2, "node3": 2})
    manager("node", "update", "--availability", "drain", "node2")
    swarm.await_tasks("web", {"node1": 3, "node3": 3})
    manager("node", "update", "--availability", "active", "node2")
    machines[2].reset()  # its address is gone with the power, so it stays away
    swarm.await_tasks("web", {"node1": 3, "node2": 3})
