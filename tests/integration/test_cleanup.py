"""Whatever ends a run, nothing of it is left but its output folder: real machines, real signals."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest

from kola.wait import wait_until
from tests.integration.conftest import InnerRun, left_behind, needs_testos

pytestmark = needs_testos

Start = Callable[..., InnerRun]

BOOTING = """
import pytest

@pytest.mark.parametrize("number", range(2))
@pytest.mark.kola(memory_mib=768, vcpus=1)  # two boot at once on two cores
def test_boots(machine, number):
    machine.run("sleep 600", timeout=600)
"""


def guests(run: InnerRun) -> list[psutil.Process]:
    """Return the run's QEMU processes."""
    prefix = f"guest=kola-{run.run_id}-"
    return [p for p in psutil.process_iter(["cmdline"]) if any(prefix in word for word in p.info["cmdline"] or ())]


def wait_for_guests(run: InnerRun, number: int) -> None:
    def there() -> bool:
        assert run.process.poll() is None, run.output
        return (run.folder / "kola-runs/latest/results.json").exists() and len(guests(run)) == number

    wait_until(there, 60, what=f"{number} guests")


def wait_until_clean(run: InnerRun, seconds: float) -> float:
    began = time.monotonic()
    wait_until(lambda: not left_behind(run.run_id), seconds, what=f"a clean host; left: {left_behind(run.run_id)}")
    return time.monotonic() - began


def kept_files(run: InnerRun) -> set[str]:
    """Return the endings of what is left in the output folder."""
    return {path.name for path in (run.folder / "kola-runs/latest/machines").rglob("*") if path.is_file()}


def test_kill_of_the_controller(kola_pytest: Start) -> None:
    run = kola_pytest("--no-clone", "-n", "2", files={"test_it.py": BOOTING})
    wait_for_guests(run, 2)
    run.process.kill()
    run.wait()
    seconds = wait_until_clean(run, 30)
    print(f"clean after {seconds:.1f} s")
    assert run.results["complete"] is False
    assert run.results["counts"]["not-run"] == 2
    assert kept_files(run) <= {"console.txt", "journal.jsonl", "ignition.json", "ignition.jsonl", "qemu.log"}


@pytest.mark.slow
def test_kill_of_a_worker(kola_pytest: Start) -> None:
    run = kola_pytest("--no-clone", "-n", "2", "--max-worker-restart=0", files={"test_it.py": BOOTING})
    wait_for_guests(run, 2)
    victim = next(
        p for p in psutil.Process(run.process.pid).children() if "sys.stdin.readline" in " ".join(p.cmdline())
    )
    victim.kill()
    wait_until(lambda: len(guests(run)) < 2, 15, what="the end of the killed worker's guest")
    run.process.send_signal(signal.SIGINT)
    run.wait(90)
    wait_until_clean(run, 10)


@pytest.mark.parametrize("workers", [pytest.param((), marks=pytest.mark.slow), ("-n", "2")], ids=["alone", "xdist"])
def test_interrupt_during_boot(kola_pytest: Start, workers: tuple[str, ...]) -> None:
    run = kola_pytest("--no-clone", *workers, files={"test_it.py": BOOTING})
    wait_for_guests(run, 2 if workers else 1)
    began = time.monotonic()
    os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does
    assert run.wait(30) == 2, run.output
    print(f"ended {time.monotonic() - began:.1f} s after Ctrl-C")
    assert left_behind(run.run_id) == []
    assert run.results["complete"] is False
    assert run.results["exit_code"] == 2
    assert "Traceback" not in run.output
