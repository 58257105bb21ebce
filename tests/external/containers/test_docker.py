"""Docker as the distribution ships it: run, build, networks, ports, volumes, restarts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kola.machine import Machine
from kola.wait import wait_until
from tests.external.containers.docker import Docker

pytestmark = [
    pytest.mark.docker,
    # A config of its own, and so another machine than podman's tests: where Docker has turned forwarding on, it drops
    # what podman's containers send to each other's ports.
    pytest.mark.kola(
        isolation="shared", ignition="docker.ign", needs=["docker"], tags=["containers"], covers="container-run",
        timeout=900,
    ),
]  # fmt: skip


@pytest.fixture
def docker(machine: Machine) -> Iterator[Docker]:
    """Docker; the machine may be shared, so what the test made goes."""
    docker = Docker(machine)
    yield docker
    docker.remove_all()


def test_daemon_is_started_by_its_socket(docker: Docker) -> None:
    """The daemon runs as the distribution's unit, behind its socket, and keeps images on overlayfs."""
    for unit in ("docker.socket", "docker.service"):
        docker.machine.wait_for_unit(unit)
    enabled = docker.machine.run(["systemctl", "is-enabled", "docker.socket"], check=False).stdout.strip()
    assert enabled == "enabled", f"docker.socket is {enabled}: nothing starts the daemon after a reboot"
    driver = docker.info("Driver")
    assert driver in {"overlay2", "overlayfs"}, f"storage driver {driver}: slow, or no copy on write"


def test_run_exec_logs(docker: Docker) -> None:
    """A container runs in the background, commands run in it, its output is kept, and exit codes come through."""
    name = docker.start(name="one", command=("bash", "-c", "echo to-stdout; echo to-stderr >&2; exec sleep infinity"))
    assert docker("exec", "--env", "WORD=hello", name, "bash", "-c", 'echo "$WORD from $(id -u)"').stdout == (
        "hello from 0\n"
    ), "exec in a container"
    assert docker("exec", "--user", "guest", name, "id", "-u").stdout == "1234\n", "exec as another user"
    logs = docker("logs", name)
    assert (logs.stdout, logs.stderr) == ("to-stdout\n", "to-stderr\n"), "the log is not what was printed"
    codes = [
        docker("exec", name, "bash", "-c", "exit 42", check=False).exit_code,
        docker("run", "--rm", docker.image, "bash", "-c", "exit 43", check=False).exit_code,
    ]
    assert codes == [42, 43], f"exit codes of exec and run: {codes}"
    docker("stop", name)
    state = docker.state(name)
    assert (state["Running"], state["ExitCode"]) == (False, 137), f"after docker stop: {state}"


@pytest.mark.kola(covers="confinement")
def test_container_is_confined(docker: Docker) -> None:
    """With SELinux switched on for Docker, a container's process has a type and categories of its own."""
    options = docker.info("SecurityOptions")
    assert "name=seccomp" in options, f"no system call filter: {options}"
    if "name=selinux" not in options:
        pytest.skip(f"the distribution's daemon runs without SELinux: {options}")
    labels = [docker.output(docker.image, "cat", "/proc/self/attr/current").strip("\0\n") for _ in range(2)]
    assert all(":container_t:s0:c" in label for label in labels), f"not confined: {labels}"
    assert labels[0] != labels[1], f"two containers have the same categories: {labels}"


@pytest.mark.kola(covers="container-image")
def test_build(docker: Docker) -> None:
    """An image is built from a Dockerfile, with RUN, COPY, ENV and USER, and what is built runs."""
    folder = docker.machine.run(["mktemp", "-d", "/var/tmp/kola-build.XXXXXX"], sudo=True).stdout.strip()
    dockerfile = (
        f"FROM {docker.image}\nRUN echo made >/made && chmod 640 /made\nCOPY copied /copied\n"
        "ENV WORD=env\nUSER guest\nCMD echo $(cat /copied) $WORD $(id -u) $(stat -c %a /made)\n"
    )
    docker.machine.write_file(f"{folder}/Dockerfile", dockerfile, sudo=True)
    docker.machine.write_file(f"{folder}/copied", "copied\n", sudo=True)
    docker("build", "--pull=false", "--tag", "localhost/built:1", folder)
    seen = docker.output("localhost/built:1")
    docker("image", "rm", "localhost/built:1")
    assert seen == "copied env 1234 640\n", f"what was built says {seen!r}"


@pytest.mark.kola(covers="container-network")
def test_names_on_a_network(docker: Docker) -> None:
    """On a network of their own containers find each other by name; from another network they do not."""
    docker("network", "create", "front")
    docker("network", "create", "other")
    docker.start("--network", "front", "--network-alias", "alias", name="web", command=("serve", "8080", "hello"))
    for host in ("web", "alias"):
        seen = docker.fetch("--network", "front", host=host, port=8080)
        assert seen == "hello", f"{host} answers {seen!r}"
    address = docker.inspect("container", "web")["NetworkSettings"]["Networks"]["front"]["IPAddress"]
    for host in ("web", address):
        done = docker("run", "--rm", "--network", "other", docker.image, "fetch", host, "8080", check=False)
        assert done.exit_code != 0, f"{host} of another network is reached: {done.stdout!r}"


@pytest.mark.kola(covers="container-network")
def test_published_port(docker: Docker) -> None:
    """A published port answers on the machine, also on its address, and no longer when its container is gone."""
    docker.start("--publish", "18080:8080", name="published", command=("serve", "8080", "port"))
    docker.fetch("--network", "host", host="127.0.0.1", port=18080)
    route = "ip -json route get 192.0.2.1 | jq -r '.[0].prefsrc'"
    hosts = ["127.0.0.1", docker.machine.run(route).stdout.strip()]
    ask = "exec 3<>/dev/tcp/$0/18080 && timeout 20 cat <&3"
    for host in hosts:
        seen = docker.machine.run(["bash", "-c", ask, host]).stdout
        assert seen == "port", f"{host} answers {seen!r}"
    docker("rm", "--force", "published")
    gone = docker.machine.run(["bash", "-c", ask, "127.0.0.1"], check=False)
    assert gone.exit_code != 0, "the port is still open"


@pytest.mark.kola(covers="container-storage")
def test_volumes(docker: Docker) -> None:
    """A named volume outlives its container; a folder of the machine is readable and writable with :Z, or read-only."""
    docker("volume", "create", "data")
    docker.output("--volume", "data:/data", docker.image, "bash", "-c", "echo kept >/data/file")
    seen = docker.output("--volume", "data:/data", docker.image, "cat", "/data/file")
    assert seen == "kept\n", f"the volume has {seen!r}"
    folder = docker.machine.run(["mktemp", "-d", "/var/tmp/kola-volume.XXXXXX"], sudo=True).stdout.strip()
    docker.machine.write_file(f"{folder}/in", "from the machine\n", sudo=True)
    script = "cat /folder/in; echo from the container >/folder/out"
    seen = docker.output("--volume", f"{folder}:/folder:Z", docker.image, "bash", "-c", script)
    assert seen == "from the machine\n", f"the container reads {seen!r}"
    assert docker.machine.read_file(f"{folder}/out", sudo=True) == "from the container\n", "the machine reads another"
    refused = docker(
        "run", "--rm", "--volume", f"{folder}:/folder:ro,Z", docker.image, "touch", "/folder/x", check=False
    )
    assert "Read-only file system" in refused.stderr, f"a read-only volume: {refused.stderr!r}"


@pytest.mark.kola(covers="container-health")
def test_restart_policies(docker: Docker) -> None:
    """A container that dies is restarted if its policy says so; after a restart of the daemon those run that should."""
    docker.start("--restart", "always", name="always", command=("serve", "8080", "back"))
    docker.start(name="never")
    docker.start("--restart", "unless-stopped", name="stopped")
    docker("stop", "stopped")
    first = docker.state("always")
    docker.machine.run(["kill", "-KILL", str(first["Pid"])], sudo=True)

    def restarted() -> bool:
        state = docker.state("always")
        return bool(state["Running"] and state["Pid"] != first["Pid"])

    wait_until(restarted, docker.limit, what="the restart of a container that was killed", interval=1)
    live = docker.info("LiveRestoreEnabled") == "true"
    docker.restart_daemon()
    wait_until(lambda: docker.state("always")["Running"], docker.limit, what="the container with restart=always")
    assert docker.fetch("--network", "container:always", host="127.0.0.1", port=8080) == "back", "it does not answer"
    running = {name: docker.state(name)["Running"] for name in ("never", "stopped")}
    assert running == {"never": live, "stopped": False}, f"after a restart of the daemon: {running}"
