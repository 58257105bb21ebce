"""What every container needs, for root and rootless: run, exec, logs, build, volumes, networks, pods, secrets."""

from __future__ import annotations

import json
import re

import pytest

from kola.wait import wait_until
from tests.external.containers.podman import Podman

pytestmark = pytest.mark.kola(
    isolation="shared", needs=["podman"], tags=["containers"], covers="container-run", timeout=900
)


@pytest.mark.smoke
def test_run_exec_logs(podman: Podman) -> None:
    """A container runs in the background, commands run in it, its output is kept, and exit codes come through."""
    name = podman.start(name="one", command=("bash", "-c", "echo to-stdout; echo to-stderr >&2; exec sleep infinity"))
    assert podman("exec", "--env", "WORD=hello", name, "bash", "-c", 'echo "$WORD from $(id -u)"').stdout == (
        "hello from 0\n"
    )
    assert podman("exec", "--user", "guest", name, "id", "-u").stdout == "1234\n"
    logs = podman("logs", name)
    assert (logs.stdout, logs.stderr) == ("to-stdout\n", "to-stderr\n")
    assert podman("exec", name, "bash", "-c", "exit 42", check=False).exit_code == 42
    assert podman("run", "--rm", podman.image, "bash", "-c", "exit 43", check=False).exit_code == 43
    podman("stop", name)
    assert not podman.running(name)
    assert podman.inspect(name)["State"]["ExitCode"] == 137


def test_processes_are_their_own(podman: Podman) -> None:
    """A container has process ids, a host name and a root file system of its own; rootless root is an ordinary user."""
    name = podman.start("--hostname", "inside", name="own")
    seen = podman("exec", name, "bash", "-c", "uname -n; ls /").stdout
    assert "inside" in seen
    assert "sysroot" not in seen, "the host's root is visible"
    pid = podman.inspect(name)["State"]["Pid"]
    spaces = podman.machine.run(["readlink", f"/proc/{pid}/ns/pid", "/proc/1/ns/pid"], sudo=True).stdout.split()
    assert len(set(spaces)) == 2, f"the container has the process ids of the machine: {spaces}"
    owner = podman.machine.run(["stat", "--format", "%U", f"/proc/{pid}"]).stdout.strip()
    assert owner == podman.user, f"root in the container is {owner} on the machine"
    if podman.rootless:
        mapped = podman("exec", name, "cat", "/proc/self/uid_map").stdout.split()
        assert len(mapped) > 3, f"one user id only: {mapped}: /etc/subuid has nothing for {podman.user}"


@pytest.mark.kola(covers="container-image")
def test_build(podman: Podman) -> None:
    """An image is built from a Containerfile, with RUN, COPY, ENV and USER, and what is built runs."""
    folder = podman.machine.run(["mktemp", "-d", "/var/tmp/kola-build.XXXXXX"], user=podman.user).stdout.strip()
    containerfile = (
        f"FROM {podman.image}\nRUN echo made >/made && chmod 640 /made\nCOPY copied /copied\n"
        "ENV WORD=env\nUSER guest\nCMD echo $(cat /copied) $WORD $(id -u) $(stat -c %a /made)\n"
    )
    for name, text in (("Containerfile", containerfile), ("copied", "copied\n")):
        podman.machine.run(["tee", f"{folder}/{name}"], user=podman.user, input=text)
    podman("build", "--pull=never", "--tag", "localhost/built:1", folder)
    assert podman("run", "--rm", "localhost/built:1").stdout == "copied env 1234 640\n"
    podman("image", "rm", "localhost/built:1")


@pytest.mark.kola(covers="container-storage")
def test_volumes(podman: Podman) -> None:
    """A named volume outlives its container; a folder of the machine is readable and writable with :Z, or read-only."""
    podman("volume", "create", "data")
    podman.output("--volume", "data:/data", podman.image, "bash", "-c", "echo kept >/data/file")
    assert podman.output("--volume", "data:/data", podman.image, "cat", "/data/file") == "kept\n"
    folder = podman.machine.run(["mktemp", "-d", "/var/tmp/kola-volume.XXXXXX"], user=podman.user).stdout.strip()
    podman.machine.run(["tee", f"{folder}/in"], user=podman.user, input="from the machine\n")
    script = "cat /folder/in; echo from the container >/folder/out"
    assert podman.output("--volume", f"{folder}:/folder:Z", podman.image, "bash", "-c", script) == "from the machine\n"
    assert podman.machine.run(["cat", f"{folder}/out"], user=podman.user).stdout == "from the container\n"
    refused = podman(
        "run", "--rm", "--volume", f"{folder}:/folder:ro,Z", podman.image, "touch", "/folder/x", check=False
    )
    assert "Read-only file system" in refused.stderr


@pytest.mark.kola(covers="container-network")
def test_names_on_a_network(podman: Podman) -> None:
    """On a network of their own containers find each other by name; from another network they do not."""
    podman("network", "create", "front")
    podman("network", "create", "other")
    podman.serve("--network", "front", "--network-alias", "alias", name="web", text="hello")
    assert podman.fetch("--network", "front", host="web", port=8080) == "hello"
    assert podman.fetch("--network", "front", host="alias", port=8080) == "hello"
    elsewhere = podman("run", "--rm", "--network", "other", podman.image, "fetch", "web", "8080", check=False)
    assert elsewhere.exit_code != 0, "a name of another network is resolved"


@pytest.mark.kola(covers="container-network")
def test_published_port(podman: Podman) -> None:
    """A published port answers on the machine, from another container, and no longer when its container is gone."""
    podman.serve("--publish", "18080:8080", name="published", text="port")
    ask = "exec 3<>/dev/tcp/127.0.0.1/18080 && timeout 20 cat <&3"
    podman.fetch("--network", "host", host="127.0.0.1", port=18080)
    assert podman.machine.run(["bash", "-c", ask]).stdout == "port"
    assert podman.fetch(host="host.containers.internal", port=18080) == "port"
    podman("rm", "--force", "--time", "0", "published")
    assert podman.machine.run(["bash", "-c", ask], check=False).exit_code != 0, "the port is still open"


@pytest.mark.kola(
    covers="container-health", skip_checks={"failed-unit": "a check that finds the container sick fails as a unit"}
)
def test_health(podman: Podman) -> None:
    """A health check runs by its timer; a container that fails it is restarted if that was asked for."""
    name = podman.start(
        # A tmpfs is new after the restart, and the sickness gone.
        *("--tmpfs", "/state", "--health-cmd", "test ! -e /state/sick", "--health-interval", "2s"),
        *("--health-retries", "1", "--health-on-failure", "restart"),
        name="patient",
    )
    podman("wait", "--condition", "healthy", name)
    started = podman.inspect(name)["State"]["StartedAt"]
    podman("exec", name, "bash", "-c", "echo x >/state/sick")
    limit = 60 * podman.machine.slowness

    def restarted() -> bool:
        state = podman.inspect(name)["State"]
        return bool(state["StartedAt"] != started and state["Health"]["Status"] == "healthy")

    wait_until(restarted, limit, what="the sick container to be restarted and healthy", interval=1)


def test_pod(podman: Podman) -> None:
    """The containers of a pod share a network and a host name, and start and stop with it."""
    podman("pod", "create", "--name", "pair")
    podman.serve("--pod", "pair", name="left", text="neighbour")
    assert podman.fetch("--pod", "pair", host="127.0.0.1", port=8080) == "neighbour"
    podman("pod", "stop", "--time", "0", "pair")
    assert not podman.running("left")
    podman("pod", "start", "pair")
    assert podman.running("left")


def test_kube_play(podman: Podman) -> None:
    """A Kubernetes manifest runs: its containers, environment, config map and volume; and goes away again."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "kube"},
        "spec": {
            "containers": [
                {
                    "name": "web",
                    "image": podman.image,
                    "imagePullPolicy": "Never",
                    "command": ["bash", "-c", 'serve 8080 "$(cat /config/word) $WORD"'],
                    "env": [{"name": "WORD", "value": "env"}],
                    "volumeMounts": [{"name": "config", "mountPath": "/config"}],
                }
            ],
            "volumes": [{"name": "config", "configMap": {"name": "words"}}],
        },
    }
    words = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "words"}, "data": {"word": "mapped"}}
    text = f"{json.dumps(words)}\n---\n{json.dumps(manifest)}\n"
    podman("kube", "play", "-", stdin=text)
    assert podman.fetch("--pod", "kube", host="127.0.0.1", port=8080) == "mapped env"
    podman("kube", "down", "-", stdin=text)
    assert not podman.running("kube-web")


def test_secrets(podman: Podman) -> None:
    """A secret is readable in the container that gets it, and not part of an image made of that container."""
    podman("secret", "create", "word", "-", stdin="confidential")
    try:
        read = ("bash", "-c", "cat /run/secrets/word")
        assert podman.output("--secret", "word", podman.image, *read) == "confidential"
        podman("run", "--name", "knower", "--secret", "word", podman.image, *read)
        podman("commit", "knower", "localhost/leak:1")
        look = "cat /run/secrets/word 2>/dev/null; echo looked"
        assert podman.output("localhost/leak:1", "bash", "-c", look) == "looked\n"
        podman("image", "rm", "localhost/leak:1")
    finally:
        podman("secret", "rm", "word")


@pytest.mark.kola(covers="container-image")
def test_save_and_load(podman: Podman) -> None:
    """An image survives being saved as an OCI archive and loaded again, with its configuration."""
    podman("tag", podman.image, "localhost/travel:1")
    archive = "/var/tmp/kola-travel.tar"
    podman.machine.run(["rm", "-f", archive], sudo=True)
    podman("save", "--format", "oci-archive", "--output", archive, "localhost/travel:1")
    podman("rmi", "localhost/travel:1")
    podman("load", "--input", archive)
    assert podman("run", "--rm", "localhost/travel:1", "echo", "arrived").stdout == "arrived\n"
    podman("rmi", "localhost/travel:1")
    podman.machine.run(["rm", "-f", archive], sudo=True)


def test_logs_reach_the_journal(podman: Podman) -> None:
    """With the journald driver a container's output is in the journal under the container's name."""
    mark = "mark-" + re.sub(r"\W", "", podman.machine.boot_id)[:8] + podman.user
    podman("run", "--name", "talker", "--log-driver", "journald", podman.image, "echo", mark)
    entries = podman.machine.journal()
    # Some versions of conmon leave the end of the line in the message.
    found = {entry.fields.get("CONTAINER_NAME") for entry in entries if entry.message.rstrip("\n") == mark}
    assert found == {"talker"}, f"the container's output is in the journal under the names {found}"
    assert podman("logs", "talker").stdout == f"{mark}\n"
