"""Things that are broken in a guest, each really provoked: found, named, and shown to the user in time."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import InnerRun, needs_testos

pytestmark = needs_testos

BROKEN = Path(__file__).parent / "broken"
Start = Callable[..., InnerRun]


def test_what_goes_wrong_on_a_shared_machine(kola_pytest: Start) -> None:
    """One machine; every test breaks something else and only what it broke itself is held against it."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc and readelf to build a crashing program and a kernel module")
    run = kola_pytest(BROKEN / "shared.py")
    assert run.wait(900) == 1, run.output
    print(run.output)
    tests = run.tests
    healthy = {"test_healthy_before", "test_healthy_after"}
    assert {name for name, test in tests.items() if test["outcome"] == "passed"} == healthy
    assert {name for name, test in tests.items() if test["outcome"] == "failed"} == tests.keys() - healthy
    assert len({machine for test in tests.values() for machine in test["machines"]}) == 1

    failed = run.section("test_command_fails")
    assert "exit code 3" in failed
    assert "to-stdout" in failed
    assert "to-stderr" in failed
    hung = run.section("test_command_hangs")
    assert "timed out" in hung
    assert "not a failure" in hung
    assert "begun" in hung
    assert "queued jobs" in hung
    assert "Timeout" in run.section("test_test_hangs")
    expected = {
        "test_unit_fails": ("failed-unit: broken.service", "the-reason"),
        "test_oom": ("oom: ",),
        "test_segfault": ("segfault: ", "crash"),
        "test_kernel_warning": ("kernel-warning: ", "kolawarn.c:42"),
        "test_avc_with_auditd": ("avc-denial: ", "ping_t"),
        "test_avc_without_auditd": ("avc-denial: ", "ping_t"),
    }
    for name, words in expected.items():
        section = run.section(name)
        for word in words:
            assert word in section, section


@pytest.mark.slow
def test_machines_that_die_or_never_come_up(kola_pytest: Start) -> None:
    run = kola_pytest(BROKEN / "fresh.py", "-n", "2")
    assert run.wait(900) == 1, run.output
    print(run.output)
    assert {test["outcome"] for test in run.tests.values()} == {"failed"}
    assert "kernel panic: sysrq triggered crash" in run.section("test_panic")
    ignition = run.section("test_ignition_fails")
    assert "lost after" in ignition
    assert "Ignition failed: " in ignition
    assert "nobody-of-that-name" in ignition
    assert "lost after" in run.section("test_no_init")


def test_an_image_that_does_not_boot(kola_pytest: Start, tmp_path: Path) -> None:
    image = tmp_path / "empty.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)
    run = kola_pytest(f"--image={image}", files={"test_it.py": "def test_boots(machine): pass\n"})
    assert run.wait(300) == 1, run.output
    print(run.output)
    assert "no bootable system" in run.output
    assert run.tests["test_boots"]["duration"] < 60
