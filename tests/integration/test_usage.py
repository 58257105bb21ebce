"""What a user who gets it wrong is told: one clear line, exit code 4, nothing started, nothing left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import TESTOS, InnerRun, left_behind, needs_testos

PASSING = "def test_nothing(machine): pass\n"
MARKED = "import pytest\n@pytest.mark.kola({})\ndef test_marked(machine): pass\n"

Start = Callable[..., InnerRun]


def refused(run: InnerRun) -> str:
    """Return the one line of a usage error."""
    assert run.wait(60) == 4, run.output
    assert "Traceback" not in run.output
    lines = [line for line in run.output.splitlines() if line.startswith("ERROR: ")]
    assert len(lines) == 1, run.output
    return lines[0].removeprefix("ERROR: ")


def test_without_a_platform_machine_tests_are_skipped_with_one_reason(kola_pytest: Start) -> None:
    run = kola_pytest("-p", "no:xdist", "-rs", files={"test_it.py": PASSING}, platform="")
    assert run.wait(60) == 0, run.output
    assert "SKIPPED" in run.output
    assert "needs a machine: give --platform=NAME (aws, azure, gcp, qemu)" in run.output


def test_unknown_platform(kola_pytest: Start) -> None:
    run = kola_pytest(files={"test_it.py": PASSING}, platform="qemmu")
    assert refused(run) == "unknown platform 'qemmu'; known: aws, azure, gcp, qemu, or package.module:Class"


def test_unknown_platform_option(kola_pytest: Start) -> None:
    line = refused(kola_pytest("-P", "urii=qemu:///session", files={"test_it.py": PASSING}))
    assert line.startswith("-P urii: unknown option of platform 'qemu'; valid: accelerator")


def test_remote_uri(kola_pytest: Start) -> None:
    line = refused(kola_pytest("-P", "uri=qemu+ssh://host/system", files={"test_it.py": PASSING}))
    assert "qemu+ssh://host/system" in line
    assert "qemu:///embed" in line


def test_missing_image(kola_pytest: Start) -> None:
    line = refused(kola_pytest("--image=nowhere.qcow2", files={"test_it.py": PASSING}))
    assert "nowhere.qcow2" in line


def test_no_image_at_all(kola_pytest: Start, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    line = refused(kola_pytest(files={"test_it.py": PASSING}))
    assert line.startswith(f"no image: give --image (pytest: or kola_image in {tmp_path / 'pytest.ini'}): testos")
    assert "testos" in line


def test_unknown_architecture(kola_pytest: Start) -> None:
    assert refused(kola_pytest("--arch=vax", files={"test_it.py": PASSING})).startswith("unknown architecture 'vax'")


@needs_testos
def test_truncated_image(kola_pytest: Start, tmp_path: Path) -> None:
    whole = TESTOS.with_name(json.loads(TESTOS.read_text())["file"])
    shutil.copy(whole, tmp_path / "cut.qcow2")
    with (tmp_path / "cut.qcow2").open("r+b") as file:
        file.truncate(whole.stat().st_size * 2 // 3)
    line = refused(kola_pytest("--image=cut.qcow2", files={"test_it.py": PASSING}))
    assert "cut.qcow2" in line
    assert "truncated" in line or "cut short" in line


@needs_testos
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("isolation='none'", "isolation='none': allowed: shared, fresh, first_boot"),
        ("ignition='{\"ignition\":'", "test_it.py::test_marked: @pytest.mark.kola: ignition="),
        (
            "memory_mib=4000",
            "needs 4192 MiB for 1 machine(s), more than the whole budget of 2000 MiB (--memory-budget)",
        ),
    ],
    ids=["bad value", "invalid Ignition", "too little memory"],
)
def test_bad_marker(kola_pytest: Start, marker: str, message: str, workers: tuple[str, ...]) -> None:
    run = kola_pytest("--memory-budget=2000", *workers, files={"test_it.py": MARKED.format(marker)})
    line = refused(run)
    assert line.startswith("test_it.py::test_marked: @pytest.mark.kola: ")
    assert message in line
    assert run.results["complete"] is False
    assert left_behind(run.run_id) == []


@pytest.mark.parametrize("value", ["0", "lots", "120%"])
def test_bad_memory_budget(kola_pytest: Start, value: str) -> None:
    line = refused(kola_pytest(f"--memory-budget={value}", files={"test_it.py": PASSING}))
    assert line == f"--memory-budget '{value}': expected MiB such as 4096, or 1% to 100%"
