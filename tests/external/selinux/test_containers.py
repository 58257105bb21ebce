"""Containers are confined, from the system and from each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kola.machine import Machine
from tests.external.containers.podman import Podman
from tests.external.selinux.contexts import Context, types

pytestmark = pytest.mark.kola(
    isolation="shared",
    needs=["selinux", "podman"],
    tags=["selinux", "containers", "security"],
    covers="confinement",
    skip_checks={"avc-denial": "containers try what they must not"},
    timeout=900,
)

VOLUME = "/var/lib/kola-volume"


@pytest.fixture
def podman(machine: Machine) -> Iterator[Podman]:
    """Podman as root: what SELinux holds back here, nothing else does. With an empty folder for a volume."""
    podman = Podman(machine, "root")
    machine.run(["mkdir", VOLUME], sudo=True)
    machine.write_file(f"{VOLUME}/secret", "secret\n", sudo=True)
    yield podman
    podman.remove_all()
    machine.run(["rm", "-r", VOLUME], sudo=True)


def context(podman: Podman, name: str) -> Context:
    """Return the label of a container's first process, as the machine sees it."""
    pid = podman.inspect(name)["State"]["Pid"]
    return Context.of(podman.machine.read_file(f"/proc/{pid}/attr/current", sudo=True))


@pytest.mark.smoke
def test_containers_are_confined_and_separate(podman: Podman) -> None:
    """Two containers run in container_t with different categories, and their files have those same categories."""
    first, second = (context(podman, podman.start(name=name)) for name in ("first", "second"))
    assert {first.type, second.type} == {"container_t"}
    assert len(first.categories.split(",")) == len(second.categories.split(",")) == 2, (first, second)
    assert first.categories != second.categories, f"both containers have {first.level}"
    own = Context.of(podman("exec", "first", "stat", "--format=%C", "/etc/passwd").stdout)
    assert (own.type, own.level) == ("container_file_t", first.level)
    assert podman.inspect("first")["MountLabel"].endswith(f":container_file_t:{first.level}")


def test_private_volume(podman: Podman) -> None:
    """What one container mounts with :Z another, root as well, cannot read, write or remove; the first one can."""
    podman.start("--volume", f"{VOLUME}:/data:Z", name="first")
    assert podman("exec", "first", "cat", "/data/secret").stdout == "secret\n"
    own = Context.of(podman.machine.run(["stat", "--format=%C", f"{VOLUME}/secret"], sudo=True).stdout)
    assert (own.type, own.categories) == ("container_file_t", context(podman, "first").categories)
    podman.start("--volume", f"{VOLUME}:/data", name="second")
    assert podman("exec", "second", "id", "-u").stdout == "0\n"
    for command in ("cat /data/secret", "echo x >>/data/secret", "rm -f /data/secret", "ls /data", "touch /data/new"):
        result = podman("exec", "second", "bash", "-c", command, check=False)
        assert result.exit_code != 0, f"another container could: {command}"
        assert "Permission denied" in result.stderr, result.stderr
    assert podman("exec", "first", "cat", "/data/secret").stdout == "secret\n"
    # The same folder given to the second one with :Z changes hands.
    podman("rm", "--force", "second")
    podman.start("--volume", f"{VOLUME}:/data:Z", name="second")
    assert podman("exec", "second", "cat", "/data/secret").stdout == "secret\n"
    assert podman("exec", "first", "cat", "/data/secret", check=False).exit_code != 0


def test_shared_volume(podman: Podman) -> None:
    """What is mounted with :z both containers can read and write."""
    for name in ("first", "second"):
        podman.start("--volume", f"{VOLUME}:/data:z", name=name)
    podman("exec", "first", "bash", "-c", "echo from the first >/data/message")
    assert podman("exec", "second", "cat", "/data/message").stdout == "from the first\n"
    label = Context.of(podman.machine.run(["stat", "--format=%C", f"{VOLUME}/message"], sudo=True).stdout)
    assert (label.type, label.categories) == ("container_file_t", ""), label


def test_files_of_the_system(podman: Podman) -> None:
    """A container that is given folders of the system without a label for containers cannot read or write in them.

    It is root with all capabilities: only the label is in its way. With the separation turned off it gets through.
    """
    mounts = ("--cap-add=all", "--volume", f"{VOLUME}:/data", "--volume", "/etc:/host:ro", "--volume", "/var/log:/log")
    tries = ("cat /data/secret", "cat /host/shadow", "echo x >/log/kola-container", "echo x >/data/new")
    podman.start(*mounts, name="confined")
    for command in tries:
        result = podman("exec", "confined", "bash", "-c", command, check=False)
        assert result.exit_code != 0, f"a confined container could: {command}"
        assert "Permission denied" in result.stderr, result.stderr
    podman.start("--security-opt", "label=disable", *mounts, name="free")
    assert context(podman, "free").type != "container_t"
    assert podman("exec", "free", "cat", "/data/secret").stdout == "secret\n"
    assert types(podman.machine, [VOLUME]) == {VOLUME: "var_lib_t"}, "a volume without :z or :Z was relabelled"


def test_chosen_label(podman: Podman) -> None:
    """A container gets the level that it is started with, and a container of the same level shares its files."""
    level = ("--security-opt", "label=level:s0:c100,c200")
    for name in ("first", "second"):
        podman.start(*level, "--volume", f"{VOLUME}:/data:Z", name=name)
        assert context(podman, name).level == "s0:c100,c200"
    assert podman("exec", "first", "cat", "/data/secret").stdout == "secret\n"
    assert podman("exec", "second", "cat", "/data/secret").stdout == "secret\n"


def test_tmpfs(podman: Podman) -> None:
    """A tmpfs that a container mounts has the label of containers' files."""
    found = podman.output("--tmpfs", "/scratch", podman.image, "stat", "--format=%C", "/scratch")
    assert Context.of(found).type == "container_file_t", found
