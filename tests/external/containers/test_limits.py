"""Limits of cgroups v2 that hold, not only ones that are accepted."""

from __future__ import annotations

import pytest

from tests.external.containers.podman import Podman

pytestmark = pytest.mark.kola(
    isolation="shared",
    needs=["podman"],
    tags=["containers"],
    covers="resource-limits",
    timeout=900,
    # systemd may tell of it only after the test.
    skip_checks={"oom": "a container is killed at its limit on purpose"},
)

# Doubles a string of 1 KiB until it is much larger than any limit here.
_EAT = "x=$(printf %1024s); for i in {1..19}; do x=$x$x; done; echo survived"


@pytest.mark.smoke
# systemd tells of it when it comes to it: on a shared machine, in the time of another test.
@pytest.mark.kola(isolation="fresh")
def test_memory(podman: Podman) -> None:
    """A container that takes more memory than it may is killed, is said to be, and nothing else is."""
    bystander = podman.start("--memory", "64m", name="bystander")
    podman(
        "run",
        "--name",
        "eater",
        "--memory",
        "64m",
        "--memory-swap",
        "64m",
        podman.image,
        "bash",
        "-c",
        _EAT,
        check=False,
    )
    state = podman.inspect("eater")["State"]
    assert state["OOMKilled"] is True, f"not killed for its memory: {state}"
    assert state["ExitCode"] == 137
    assert podman.running(bystander), "a bystander was killed"


def test_processor(podman: Podman) -> None:
    """A container with a fifth of a processor gets about that much: its group is throttled, and uses no more."""
    script = (
        "read _ before </sys/fs/cgroup/cpu.stat; end=$((SECONDS + 6)); while ((SECONDS < end)); do :; done; "
        "cat /sys/fs/cgroup/cpu.stat"
    )
    lines = podman.output("--cpus", "0.2", podman.image, "bash", "-c", script).splitlines()
    stat = {key: int(value) for key, value in (line.split() for line in lines)}
    assert stat["nr_throttled"] > 0, "never throttled"
    # At least five seconds of spinning: without the limit they would be five seconds of processor time.
    assert stat["usage_usec"] < 2_500_000, (
        f"{stat['usage_usec'] / 1e6:.1f} s of processor time in about 6 s, limit 20 %"
    )


def test_processes(podman: Podman) -> None:
    """A container cannot have more processes than it may: the next fork fails."""
    script = "for i in {1..60}; do sleep 30 & done; echo started all"
    done = podman("run", "--rm", "--pids-limit", "20", podman.image, "bash", "-c", script, check=False)
    assert "started all" not in done.stdout, "60 processes with a limit of 20"
    assert "fork" in done.stderr, f"no word about a fork that failed: {done.stderr}"


def test_update_of_a_limit(podman: Podman) -> None:
    """A limit can be changed while the container runs, and the kernel has the new one."""
    name = podman.start("--memory", "64m", name="changing")
    podman("update", "--memory", "96m", name)
    assert podman("exec", name, "cat", "/sys/fs/cgroup/memory.max").stdout == f"{96 * 1024 * 1024}\n"
