"""Containers, as far as that goes without any image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(
    isolation="shared", ignition="basic.ign", needs=["podman"], tags=["containers"], covers="container-run"
)


@pytest.mark.parametrize("rootless", [False, True], ids=["root", "rootless"])
def test_podman_info(machine: Machine, rootless: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """podman finds its OCI runtime, cgroups v2 and overlay storage, for root and for an ordinary user."""
    info = json.loads(machine.run("podman info --format json", sudo=not rootless, timeout=180).stdout)
    runtime = info["host"]["ociRuntime"]
    assert runtime, "podman finds no OCI runtime"
    assert runtime["name"] in {"crun", "runc"}
    machine.run(["test", "-x", runtime["path"]])
    assert info["host"]["cgroupVersion"] == "v2"
    assert info["store"]["graphDriverName"] == "overlay"
    assert info["host"]["security"]["rootless"] is rootless
