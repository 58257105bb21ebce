"""podman auto-update: a moved tag is followed, a broken image is left again."""

from __future__ import annotations

import pytest

from kola.machine import Machine
from kola.registry import Registry
from tests.external.containers.podman import Podman
from tests.external.containers.test_quadlet import expect_answer

pytestmark = pytest.mark.kola(needs=["podman"], tags=["containers"], covers="auto-update", timeout=900)


def publish(podman: Podman, reference: str, *instructions: str) -> None:
    """Build an image and push it, which moves the tag."""
    lines = "\n".join((f"FROM {podman.image}", *instructions))
    folder = podman.machine.run("mktemp -d /var/tmp/kola-build.XXXXXX", sudo=True).stdout.strip()
    podman.machine.write_file(f"{folder}/Containerfile", f"{lines}\n", sudo=True)
    podman("build", "--pull=never", "--tag", reference, folder)
    podman("push", reference)
    # What runs must come from the registry.
    podman("untag", reference)


def test_moved_tag_and_rollback(machine: Machine, registry: Registry) -> None:
    """A unit is restarted with the image that its tag moved to, and with the old one if that does not start."""
    podman = Podman(machine, "root")
    reference = registry.reference("app:stable")
    machine.write_file(
        "/etc/containers/registries.conf.d/50-kola.conf",
        f'[[registry]]\nlocation = "{reference.partition("/")[0]}"\ninsecure = true\n',
        sudo=True,
    )
    publish(podman, reference, 'CMD ["serve", "8080", "one"]')
    machine.run("mkdir --parents /etc/containers/systemd", sudo=True)
    machine.write_file(
        "/etc/containers/systemd/app.container",
        f"[Container]\nImage={reference}\nAutoUpdate=registry\nPublishPort=18095:8080\nNotify=healthy\n"
        "HealthCmd=fetch 127.0.0.1 8080\nHealthInterval=2s\n[Service]\nTimeoutStartSec=300\n",
        sudo=True,
    )
    machine.run("systemctl daemon-reload && systemctl start app.service", sudo=True, timeout=120 * machine.slowness)
    expect_answer(machine, 18095, "one")

    publish(podman, reference, 'CMD ["serve", "8080", "two"]')
    podman("auto-update")
    expect_answer(machine, 18095, "two")

    publish(podman, reference, 'CMD ["false"]')
    report = podman("auto-update", "--format", "{{.Unit}} {{.Updated}}", check=False).stdout
    assert "rolled back" in report, f"the broken image was not given up: {report!r}"
    expect_answer(machine, 18095, "two")
