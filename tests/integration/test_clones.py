"""Clones on real guests: the second run boots nothing; whatever goes wrong with a saved machine costs only a boot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from kola.wait import wait_until
from tests.integration.conftest import InnerRun, left_behind, needs_testos

pytestmark = needs_testos

SUITE = """
import time
import pytest

@pytest.mark.kola(isolation="fresh")
@pytest.mark.parametrize("number", range(2))
def test_nobody_was_here_before(machine, number):
    machine.run("! test -e /var/here && touch /var/here", sudo=True)
    before = time.time()
    theirs = float(machine.run(["date", "+%s.%N"]).stdout)
    assert before - 0.5 < theirs < time.time() + 0.5, "the clock is wrong"
    assert any("Ignition" in entry.message for entry in machine.journal()), "the history of its boot is missing"

@pytest.mark.kola(machines=2)
def test_two_machines_are_two(machines):
    look = "cat /etc/machine-id /etc/ssh/*ed25519_key.pub /sys/class/net/e*/address; od -An -tx1 -N16 /dev/urandom"
    seen = [set(machine.run(look).stdout.splitlines()) for machine in machines]
    assert not seen[0] & seen[1]
"""
ONE = """
import pytest

@pytest.mark.kola(memory_mib=640)
def test_it_runs(machine):
    machine.run("true")
"""
FIRST_BOOT = """
import pytest

@pytest.mark.kola(isolation="first_boot", memory_mib=640)
def test_first_boot(machine):
    machine.run("true")
"""


def events(run: InnerRun, state: str) -> list[str]:
    log = run.folder / "kola-runs/latest/progress.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return [event["machine"] for event in map(json.loads, lines) if event["state"].startswith(state)]


def entries(cache: Path) -> list[Path]:
    return [path.parent for path in sorted((cache / "clones").glob("*/manifest.json"))]


@pytest.mark.slow
def test_the_second_run_boots_nothing(kola_pytest: Callable[..., InnerRun], cache: Path) -> None:
    first = kola_pytest(f"--kola-cache={cache}", files={"test_it.py": SUITE})
    assert first.wait(900) == 0, first.output
    assert len(events(first, "booting")) == 2, "one for each number of a machine in its test"
    assert len(events(first, "cloned")) == 2
    for entry in entries(cache):
        assert entry.stat().st_mode & 0o077 == 0
        assert (entry / "client_key").stat().st_mode & 0o077 == 0

    second = kola_pytest(f"--kola-cache={cache}", "-n", "2")
    assert second.wait(600) == 0, second.output
    assert "kola: clones: 2 saved machines" in second.output
    assert events(second, "booting") == []
    assert len(events(second, "cloned")) >= 4
    assert left_behind(first.run_id) == left_behind(second.run_id) == []


@pytest.mark.slow
def test_a_test_that_needs_a_first_boot_gets_one(kola_pytest: Callable[..., InnerRun], cache: Path) -> None:
    run = kola_pytest(f"--kola-cache={cache}", files={"test_it.py": FIRST_BOOT})
    assert run.wait(600) == 0, run.output
    assert len(events(run, "booting")) == 1
    assert entries(cache) == []


@pytest.mark.slow
def test_a_killed_golden_boot_then_two_runs_at_once(
    kola_pytest: Callable[..., InnerRun], cache: Path, tmp_path: Path
) -> None:
    killed = kola_pytest(f"--kola-cache={cache}", files={"test_it.py": ONE})
    wait_until(lambda: (cache / "clones").is_dir() and list((cache / "clones").glob("*.draft")), 120)
    wait_until(lambda: events(killed, "booting"), 60)
    killed.process.send_signal(signal.SIGKILL)
    killed.wait()
    run_id = (killed.folder / "kola-runs/latest").resolve().name.rpartition("-")[2]

    both = [kola_pytest(f"--kola-cache={cache}", f"--kola-output={tmp_path / name}", "-s") for name in ("a", "b")]
    # Both write into one log: what counts is in their own folders.
    assert [run.wait(900) for run in both] == [0, 0], both[0].output
    states: list[str] = []
    for name in ("a", "b"):
        lines = (tmp_path / name / "latest/progress.jsonl").read_text().splitlines()
        states += [json.loads(line)["state"] for line in lines]
    assert states.count("booting") == 1, states
    assert states.count("cloned") == 1, states
    assert any(state.startswith("waiting for the process that boots it") for state in states)
    assert len(entries(cache)) == 1
    assert left_behind(run_id) == []


@pytest.mark.slow
def test_a_saved_machine_that_cannot_be_restored_is_made_anew(
    kola_pytest: Callable[..., InnerRun], cache: Path
) -> None:
    first = kola_pytest(f"--kola-cache={cache}", files={"test_it.py": ONE})
    assert first.wait(600) == 0, first.output
    (entry,) = entries(cache)
    # Damage that the checksums do not show: QEMU itself has to refuse it.
    state, manifest = entry / "machine" / "state", entry / "manifest.json"
    content = bytearray(state.read_bytes())
    content[:4096] = bytes(4096)
    state.write_bytes(content)
    known = json.loads(manifest.read_text())
    known["files"]["machine/state"] = [len(content), zlib.crc32(content)]
    manifest.write_text(json.dumps(known))

    second = kola_pytest(f"--kola-cache={cache}")
    assert second.wait(600) == 0, second.output
    assert len(events(second, "clone dropped: ")) == 1
    assert len(events(second, "booting")) == 1
    assert [path.name for path in entries(cache)] == [entry.name]
    assert json.loads(manifest.read_text())["made"] != known["made"]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_without_space_for_saved_machines_tests_boot(kola_pytest: Callable[..., InnerRun], cache: Path) -> None:
    clones = cache / "clones"
    clones.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "none", str(clones)], check=True)
    try:
        run = kola_pytest(f"--kola-cache={cache}", files={"test_it.py": ONE})
        assert run.wait(600) == 0, run.output
        assert len(events(run, "not saved for later tests: 100 MiB free in ")) == 1, run.output
        assert entries(cache) == []
    finally:
        subprocess.run(["umount", str(clones)], check=True)


@pytest.mark.slow
def test_no_clone_boots_every_machine(kola_pytest: Callable[..., InnerRun], cache: Path) -> None:
    run = kola_pytest(
        f"--kola-cache={cache}", "--no-clone", files={"test_it.py": FIRST_BOOT.replace("first_boot", "fresh")}
    )
    assert run.wait(600) == 0, run.output
    assert "kola: clones: off (--no-clone)" in run.output
    assert len(events(run, "booting")) == 1
    assert not (cache / "clones").exists()
