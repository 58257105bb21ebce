"""The samples in kola's external format, run on machines: each ends as it must. What they do is in ``tests/sample``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from platforms.qemu import virtiofs
from tests.integration.conftest import ROOT, TESTOS, InnerRun, needs_testos
from tests.integration.oci_archive import write_oci_archive

pytestmark = needs_testos

Start = Callable[..., InnerRun]


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """The samples outside of this repository, whose conftest.py is for its own tests."""
    return Path(shutil.copytree(ROOT / "tests" / "sample", tmp_path / "sample", symlinks=True))


SHARED = {
    "chosen.awake": ("passed", ""),
    "chosen.denied": ("skipped", "skipped by the denylist: ext.sample.chosen.denied (https://example.com/issues/4)"),
    "chosen.grace": ("warned", "only warns until 2999-01-31, 30 days after its creation"),
    "chosen.needs-internet": ("skipped", "tag needs-internet, and --no-net is given"),
    "chosen.other-architecture": ("skipped", "not for architecture x86_64"),
    "chosen.other-distro": ("skipped", "not for distro testos (distros: fcos)"),
    "chosen.other-platform": ("skipped", "not for platform qemu (platforms: aws gcp)"),
    "chosen.snoozed": ("skipped", "snoozed until 2999-01-01 by the denylist: ext.sample.chosen.snoozed"),
    "chosen.warns": ("warned", "only warns by the denylist: ext.sample.chosen.warns (https://example.com/issues/1)"),
    "folder": ("passed", ""),
    "folder.nested.own": ("passed", ""),
    "machine.httpd": ("passed", ""),
    "runs.environment": ("passed", ""),
    "runs.exit-code": ("failed", "ext.sample.runs.exit-code failed with exit code 3"),
    "runs.failed-unit": ("failed", "shows what must not be there"),
    "runs.has-data": ("passed", ""),
    "runs.no-reboot": ("passed", ""),
    "runs.sigkill": ("failed", "ext.sample.runs.sigkill was killed by signal 9"),
    "runs.sigterm": ("passed", ""),
    "runs.unchecked": ("passed", ""),
    "runs.with space": ("passed", ""),
    "stanzas.inline": ("passed", ""),
    "stanzas.yaml": ("passed", ""),
}
CONFIGURED = {
    "butane": ("passed", ""),
    "contradiction": ("passed", ""),
    "ignition": ("passed", ""),
    "machine.size": ("passed", ""),
    "reboots.fails-later": ("failed", "ext.sample.reboots.fails-later failed with exit code 1"),
    "reboots.prepare": ("passed", ""),
    "reboots.reboot": ("passed", ""),
    "reboots.soft": ("passed", ""),
}

HARDWARE = {
    "machine.container": ("skipped", "injectContainer: the image comes without a container image of its release"),
    "machine.binds": ("passed", "") if virtiofs.find() else ("skipped", "(virtiofsd is not installed)"),
    "machine.disks": ("passed", ""),
    "machine.numa": ("passed", ""),
    "machine.nvme": ("passed", ""),
    "machine.ports-a": ("passed", ""),
    "machine.ports-b": ("passed", ""),
}


def check(run: InnerRun, expected: dict[str, tuple[str, str]]) -> None:
    print(run.output)
    tests = {name.removeprefix("ext.sample."): test for name, test in run.tests.items()}
    assert {name: test["outcome"] for name, test in tests.items()} == {
        name: outcome for name, (outcome, _) in expected.items()
    }
    for name, (_, reason) in expected.items():
        assert reason in tests[name]["reason"], (name, tests[name]["reason"])


def chosen(names: dict[str, tuple[str, str]]) -> list[str]:
    return [argument for name in names for argument in ("--test", f"ext.sample.{name}")]


def test_on_shared_machines(kola_pytest: Start, sample: Path) -> None:
    """One boot: the two with a machine of their own get clones."""
    run = kola_pytest("-E", sample, "--no-net", *chosen(SHARED))
    assert run.wait(900) == 1
    check(run, SHARED)
    together = [test["machines"] for test in run.tests.values() if test["isolation"] == "shared" and test["machines"]]
    assert len({machine for machines in together for machine in machines}) == 1
    assert "these are the last words" in run.section("ext.sample.runs.exit-code")
    assert "failed-unit: left-behind.service" in run.section("ext.sample.runs.failed-unit")
    assert "denylist: ext.sample.chosen.awake counts again: its snooze ended on 2020-01-01" in run.output


@pytest.mark.slow
def test_with_configs_and_reboots(kola_pytest: Start, sample: Path) -> None:
    run = kola_pytest("-E", sample, "-n", "2", *chosen(CONFIGURED))
    assert run.wait(1800) == 1
    check(run, CONFIGURED)


@pytest.fixture
def image_with_container(tmp_path: Path) -> Path:
    """The test OS, said to be in a container image, too; that has one file in it."""
    folder = tmp_path / "image"
    folder.mkdir()
    known = json.loads(TESTOS.read_text())
    for name in (known["file"], known["updates"]["repo"]):
        (folder / name).symlink_to(TESTOS.resolve().parent / name)
    write_oci_archive(folder / "testos.ociarchive", "release", "etc/os-release", b"ID=testos\n")
    known["updates"]["releases"][0]["image"] = "testos.ociarchive"
    (folder / "image.json").write_text(json.dumps(known))
    return folder


@pytest.mark.slow
def test_a_container_image_of_the_release(kola_pytest: Start, sample: Path, image_with_container: Path) -> None:
    run = kola_pytest("-E", sample, "--image", image_with_container, "--test", "ext.sample.machine.container")
    assert run.wait(900) == 0
    check(run, {"machine.container": ("passed", "")})


@pytest.mark.slow
def test_hardware(kola_pytest: Start, sample: Path) -> None:
    run = kola_pytest("-E", sample, *chosen(HARDWARE))
    assert run.wait(1800) == 0
    check(run, HARDWARE)


@pytest.mark.slow
def test_time_is_up(kola_pytest: Start, sample: Path) -> None:
    run = kola_pytest("-E", sample, "--tag", "slow")
    assert run.wait(1800) == 1
    check(run, {"runs.too-long": ("failed", "ext.sample.runs.too-long did not end within")})


@pytest.mark.slow
def test_a_shared_machine_that_does_not_come_up(kola_pytest: Start, tmp_path: Path) -> None:
    """One config breaks the boot: the others run apart, and the cause is shown once."""
    project = tmp_path / "broken"
    for name in ("good", "bad", "other"):
        folder = project / "tests" / "kola" / name
        folder.mkdir(parents=True)
        (folder / "test.sh").write_text('#!/bin/bash\n# kola: { "exclusive": false }\ntrue\n')
        (folder / "test.sh").chmod(0o755)
    owner = (
        '{"ignition":{"version":"3.2.0"},"storage":{"files":[{"path":"/etc/x","user":{"name":"nobody-of-that-name"}}]}}'
    )
    (project / "tests" / "kola" / "bad" / "config.ign").write_text(owner)
    run = kola_pytest("-E", project)
    assert run.wait(900) == 1
    print(run.output)
    assert {name: test["outcome"] for name, test in run.tests.items()} == {
        "ext.broken.bad": "failed",
        "ext.broken.good": "passed",
        "ext.broken.other": "passed",
    }
    assert run.output.count("the shared machine did not come up: its tests run apart") == 1
    assert "nobody-of-that-name" in run.section("ext.broken.bad")
