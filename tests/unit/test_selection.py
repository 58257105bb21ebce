from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kola.images import Image
from kola.needs import parse_needs
from kola.selection import skip_reason
from kola.spec import Capability

IMAGE = Image(
    Path("x.qcow2"), "qcow2", "0" * 64, "testos", "testos", ignition_max="3.3.0", capabilities=frozenset({"podman"})
)
NEWER = {"ignition": {"version": "3.4.0"}, "storage": {"files": []}}


def reason(image: Image = IMAGE, **kwargs: Any) -> str | None:
    needs = parse_needs(kwargs, folder=Path(), rules=frozenset())
    return skip_reason(needs, platform="qemu", arch="x86_64", capabilities={Capability.EXTRA_DISKS}, image=image)


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({}, None),
        ({"platforms": ["qemu"], "architectures": ["!s390x"], "needs": ["podman"], "disks": [{"size_gib": 1}]}, None),
        ({"platforms": ["aws"]}, "not for platform qemu (platforms: aws)"),
        ({"architectures": ["!x86_64"]}, "not for architecture x86_64 (architectures: !x86_64)"),
        ({"nics": [{}], "kernel_args": ["x"]}, "platform qemu lacks extra-nics, kernel-args"),
        ({"needs": ["selinux", "podman", "docker"]}, "image testos lacks docker, selinux"),
    ],
)
def test_why_a_test_cannot_run(kwargs: dict[str, Any], expected: str | None) -> None:
    assert reason(**kwargs) == expected


def test_a_config_that_is_too_new_for_the_image() -> None:
    text = reason(ignition=NEWER)
    assert text is not None
    assert "3.4.0" in text
    assert "3.3.0" in text


def test_of_an_unknown_image_everything_is_assumed() -> None:
    unknown = Image(Path("x.qcow2"), "qcow2", "0" * 64, "x.qcow2")
    assert reason(unknown, needs=["docker"], ignition=NEWER) is None


def test_what_a_fixture_needs_of_the_platform() -> None:
    needs = parse_needs({}, folder=Path(), rules=frozenset())
    target: Any = {"platform": "aws", "arch": "x86_64", "image": IMAGE}
    services = {Capability.HOST_SERVICES}
    assert skip_reason(needs, **target, capabilities={Capability.HOST_SERVICES}, fixtures=services) is None
    assert skip_reason(needs, **target, capabilities={Capability.CONSOLE}) is None
    lacks = {"host-services": "not today"}
    lacking = skip_reason(needs, **target, capabilities={Capability.HOST_SERVICES}, fixtures=services, lacks=lacks)
    assert lacking == "platform aws lacks host-services (not today)"
    assert skip_reason(needs, **target, capabilities={Capability.HOST_SERVICES}, lacks=lacks) is None
    lacking = skip_reason(needs, **target, capabilities={Capability.CONSOLE}, fixtures=services)
    assert lacking == "platform aws lacks host-services"


def test_what_is_independent_of_the_platform_runs_on_qemu_unless_forced() -> None:
    needs = parse_needs({"tags": ["platform-independent"]}, folder=Path(), rules=frozenset())
    target: Any = {"arch": "x86_64", "capabilities": (), "image": IMAGE}
    assert skip_reason(needs, platform="qemu", **target) is None
    assert skip_reason(needs, platform="aws", **target) == "tag platform-independent: run on qemu only"
    assert skip_reason(needs, platform="aws", platform_independent=True, **target) is None
