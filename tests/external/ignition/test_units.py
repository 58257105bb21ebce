"""The systemd units of the config: what the first boot made of them."""

from __future__ import annotations

import pytest

from kola.machine import Machine
from tests.external.ignition.config import CONFIG, STATE

pytestmark = pytest.mark.kola(
    isolation="shared",
    ignition=CONFIG,
    disks=[{"size_gib": 2, "serial": "data"}],
    tags=["ignition", "systemd"],
    covers="services",
)


def show(machine: Machine, unit: str, what: str) -> str:
    return machine.run(["systemctl", "show", "--property", what, "--value", unit]).stdout.strip()


@pytest.mark.smoke
def test_enabled_units_ran_and_others_did_not(machine: Machine) -> None:
    """What is enabled ran, once; what is disabled, masked, or not said to be enabled did not."""
    for name, expected in (("ran", "enabled"), ("off", "disabled"), ("unsaid", "disabled"), ("masked", "masked")):
        state = machine.run(["systemctl", "is-enabled", f"kola-{name}.service"], check=False).stdout.strip()
        assert state == expected, f"kola-{name}.service is {state}"
    machine.wait_for_unit("kola-ran.service")
    traces = f"cd {STATE} && for name in ran off unsaid masked; do echo $name: $(cat $name 2>/dev/null); done"
    ran = machine.run(traces, sudo=True).stdout.split("\n")[:-1]
    assert ran == ["ran: ran", "off:", "unsaid:", "masked:"], f"what the units left behind: {ran}"


def test_instances(machine: Machine) -> None:
    """Instances of a template are enabled each by its own name, and each ran with it."""
    for name in ("one", "two"):
        machine.wait_for_unit(f"kola-each@{name}.service")
    written = machine.run(f"cd {STATE} && grep -H . each-*", sudo=True).stdout.split()
    assert written == ["each-one:one", "each-two:two"], f"instances: {written}"


def test_drop_ins(machine: Machine) -> None:
    """Drop-ins change units of the config and of the image, the later name wins, and the rest stays as it was."""
    machine.wait_for_unit("kola-drop-in.service")
    written = machine.read_file(f"{STATE}/drop-in", sudo=True)
    assert written == "blue round\n", f"the unit ran with {written!r}"
    machine.wait_for_unit("systemd-logind.service")
    pid = show(machine, "systemd-logind.service", "MainPID")
    environment = machine.read_bytes(f"/proc/{pid}/environ", sudo=True).split(b"\0")
    assert b"KOLA=effective" in environment, f"systemd-logind runs without the drop-in: {environment}"


def test_units_of_the_image(machine: Machine) -> None:
    """A unit of the image that the config masks cannot be started, and one that it enables runs."""
    masked = "systemd-tmpfiles-clean.timer"
    refused = machine.run(["systemctl", "start", masked], sudo=True, check=False)
    assert "masked" in refused.stderr, f"{masked} can be started: {refused.stderr}"
    state = [show(machine, "fstrim.timer", what) for what in ("UnitFileState", "ActiveState")]
    assert state == ["enabled", "active"], f"fstrim.timer is {state}"
