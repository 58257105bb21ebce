"""Containers that come with the machine: quadlets from the Ignition config, and what a reboot leaves of the others."""

from __future__ import annotations

import base64

import pytest

from kola.machine import Machine
from kola.wait import wait_until
from tests.external.containers.podman import Podman
from tests.external.images import IMAGE, SCRIPT, SCRIPT_PATH

_USER_ID = 1000  # of core


def _data(text: str) -> dict[str, str]:
    return {"source": "data:;base64," + base64.b64encode(text.encode()).decode()}


def _file(path: str, text: str, mode: int = 0o644) -> dict[str, object]:
    return {"path": path, "mode": mode, "contents": _data(text)}


_IMAGE_SERVICE = f"""\
[Unit]
Description=An image of this machine's own programs
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/bash -c 'podman image exists {IMAGE} || exec {SCRIPT_PATH} podman {IMAGE}'
"""


def _container(text: str, port: int, target: str, more: str = "") -> str:
    return (
        "[Unit]\nRequires=kola-image.service\nAfter=kola-image.service\n"
        f"[Container]\nImage={IMAGE}\nPull=never\nExec=serve 8080 {text}\n"
        f"{f'PublishPort={port}:8080' if port else ''}\n{more}\n"
        f"[Install]\nWantedBy={target}\n"
    )


_ROOT, _USERS = "/etc/containers/systemd", f"/etc/containers/systemd/users/{_USER_ID}"
CONFIG = {
    "ignition": {"version": "3.0.0"},
    "storage": {
        "files": [
            _file(SCRIPT_PATH, SCRIPT, 0o755),
            _file("/var/lib/systemd/linger/core", ""),
            _file("/etc/systemd/user/kola-image.service", _IMAGE_SERVICE),
            _file(f"{_ROOT}/kola.network", "[Network]\nNetworkName=kola\n"),
            _file(f"{_ROOT}/kola.volume", "[Volume]\nVolumeName=kola\n"),
            _file(
                f"{_ROOT}/web.container",
                _container("root", 18090, "multi-user.target", "Network=kola.network\nVolume=kola.volume:/data\n"),
            ),
            _file(f"{_ROOT}/pair.pod", "[Pod]\nPodName=pair\nPublishPort=18091:8080\n"),
            _file(f"{_ROOT}/member.container", _container("pod", 0, "multi-user.target", "Pod=pair.pod\n")),
            _file(f"{_USERS}/own.container", _container("rootless", 18092, "default.target")),
        ]
    },
    "systemd": {"units": [{"name": "kola-image.service", "enabled": False, "contents": _IMAGE_SERVICE}]},
}

pytestmark = pytest.mark.kola(
    ignition=CONFIG, needs=["podman"], tags=["containers"], covers="quadlet", timeout=900, memory_mib=2048
)


def expect_answer(machine: Machine, port: int, text: str) -> None:
    """The machine answers on a port of its own, perhaps after a while."""
    ask = f"exec 3<>/dev/tcp/127.0.0.1/{port} && timeout 10 cat <&3"
    limit = 60 * machine.slowness

    def answered() -> bool:
        return machine.run(["bash", "-c", ask], check=False).stdout == text

    wait_until(answered, limit, what=f"the answer {text!r} on port {port}", interval=1)


def expect_quadlets(machine: Machine) -> None:
    """All of them run, for root and for the user."""
    for unit in ("web", "pair-pod", "member"):
        machine.wait_for_unit(f"{unit}.service", timeout=120 * machine.slowness)
    for port, text in ((18090, "root"), (18091, "pod"), (18092, "rootless")):
        expect_answer(machine, port, text)


def expect_confined(machine: Machine, podman: Podman) -> None:
    """The container that systemd started is confined as any other."""
    pid = podman.inspect("systemd-web")["State"]["Pid"]
    label = machine.run(["ps", "-o", "label=", "-p", str(pid)], sudo=True).stdout.strip()
    assert ":container_t:" in label, f"a container that systemd started is not confined: {label}"


@pytest.mark.smoke
def test_at_the_first_boot(machine: Machine) -> None:
    """Quadlets (container, pod, volume, network; root and rootless) start at the first boot, confined."""
    expect_quadlets(machine)
    expect_confined(machine, Podman(machine, "root"))


def test_over_a_reboot(machine: Machine) -> None:
    """Quadlets start again after a reboot, with what they stored; of other containers those that have to restart."""
    expect_quadlets(machine)
    podman = Podman(machine, "root")
    podman("exec", "systemd-web", "bash", "-c", "echo kept >/data/file")
    podman("run", "--detach", "--name", "always", "--restart", "always", IMAGE)
    podman("run", "--detach", "--name", "never", IMAGE)
    machine.run("systemctl enable --quiet podman-restart.service", sudo=True)

    machine.reboot()

    expect_quadlets(machine)
    assert podman("exec", "systemd-web", "cat", "/data/file").stdout == "kept\n", "the volume lost its content"
    wait_until(lambda: podman.running("always"), 60 * machine.slowness, what="the container with restart=always")
    assert not podman.running("never"), "a container without a restart policy came back"
    expect_confined(machine, podman)


def test_written_later(machine: Machine) -> None:
    """A quadlet that is written to a running machine is a unit after a reload, works, and is none without its file."""
    path, unit = f"{_ROOT}/kola-later.volume", "kola-later-volume.service"
    machine.write_file(path, "[Volume]\nVolumeName=kola-later\n", sudo=True)
    machine.run("systemctl daemon-reload", sudo=True)
    assert _load_state(machine, unit) == "loaded", "the quadlet generator made no unit of a file in /etc"
    machine.run(["systemctl", "start", unit], sudo=True)
    machine.run(["podman", "volume", "exists", "kola-later"], sudo=True)

    machine.run(["rm", path], sudo=True)
    machine.run(f"systemctl stop {unit} && systemctl daemon-reload", sudo=True)
    assert _load_state(machine, unit) == "not-found", "the unit of a quadlet that is gone is still there"


def _load_state(machine: Machine, unit: str) -> str:
    return machine.run(["systemctl", "show", "--value", "--property=LoadState", unit]).stdout.strip()
