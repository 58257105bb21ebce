"""The reaper with real processes: whatever is killed, nothing is left but what was kept on purpose."""

import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from kola.arch import host_arch
from kola.errors import ConfigError, PlatformError
from kola.platform import RunContext
from kola.process import ProcessId
from kola.reaper import attach, start_reaper
from kola.runs import RunRecord, RunState, collect_run, list_runs
from kola.wait import wait_until
from tests.integration.conftest import heed_signals
from tests.integration.process_platform import machines

ROOT = Path(__file__).parents[2]
SOON = 20.0


def identify(pid: int) -> ProcessId:
    found = ProcessId.of(pid)
    assert found is not None
    return found


class Run:
    """A run in processes of its own (``reaper_run.py``)."""

    def __init__(self, base: Path, workers: tuple[str, ...] = (), *, grace: float = 0.5, **options: str) -> None:
        self.id = secrets.token_hex(4)
        self.scratch = Path(tempfile.mkdtemp(prefix=f"kola-{self.id}-"))
        self.cache = base / "cache"
        self.artifacts = base / "output"
        folders = {"artifacts": self.artifacts, "scratch": self.scratch, "cache": self.cache}
        order = {name: str(folder) for name, folder in folders.items()}
        order_text = json.dumps(
            {**order, "run_id": self.id, "owner": "tester", "workers": workers, "grace": grace, "options": options}
        )
        self.controller = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.reaper_run", "controller", order_text],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            preexec_fn=heed_signals,  # noqa: PLW1509 - no threads here
        )
        hello = self.hear()
        self.reaper = identify(hello["reaper"])
        self.workers = {name: identify(pid) for name, pid in hello["workers"].items()}

    def hear(self) -> Any:
        assert self.controller.stdout is not None
        assert select.select([self.controller.stdout], [], [], 20)[0], "the controller says nothing"
        return json.loads(self.controller.stdout.readline())

    def tell(self, command: str) -> Any:
        assert self.controller.stdin is not None
        self.controller.stdin.write(f"{command}\n".encode())
        return self.hear()

    def name(self, machine: str) -> str:
        return f"kola-{self.id}-{machine}"

    def machines(self) -> set[str]:
        """Return which machines of this run exist, without their common prefix."""
        return {tag.name.removeprefix(self.name("")) for tag in machines() if tag.run_id == self.id}

    def nothing_left(self) -> bool:
        """No machine, no process, no scratch folder, no record."""
        return (
            not self.machines()
            and not self.scratch.exists()
            and not list((self.cache / "runs").iterdir())
            and not any(process.alive() for process in (self.reaper, *self.workers.values()))
        )

    @property
    def record(self) -> RunRecord:
        (record,) = list_runs(self.cache)
        return record

    @property
    def log(self) -> str:
        return (self.artifacts / "reaper.log").read_text()

    def remove(self) -> None:
        """Whatever a failed test left."""
        self.controller.kill()
        self.controller.communicate()
        for process in psutil.process_iter(["cmdline"]):
            if any(self.id in word for word in process.info["cmdline"] or []):
                process.kill()
        self.reaper.kill()
        shutil.rmtree(self.scratch, ignore_errors=True)


Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def run(*workers: str, grace: float = 0.5, base: Path = tmp_path, **options: str) -> Run:
            found = Run(base, workers, grace=grace, **options)
            stack.callback(found.remove)
            return found

        yield run


def test_kill_9_of_the_controller_leaves_nothing(start: Start, tmp_path: Path) -> None:
    bystander = start(base=tmp_path / "bystander")
    run = start("gw0", "stubborn1")
    assert run.machines() == {"main", "gw0", "stubborn1"}
    assert run.record.state is RunState.RUNNING
    run.controller.kill()
    wait_until(run.nothing_left, SOON, what="the reaper")
    assert bystander.machines() == {"main"}, "what another run has is not touched"
    assert "stubborn1 (pid" in run.log


def test_kill_9_of_controller_and_workers_at_once_leaves_nothing(start: Start) -> None:
    run = start("gw0", "gw1", grace=30)
    for process in (identify(run.controller.pid), *run.workers.values()):
        process.kill()
    wait_until(run.nothing_left, SOON, what="the reaper")


@pytest.mark.parametrize("worker", ["gw0", "forking"])
def test_kill_9_of_a_worker_removes_its_machines_and_the_run_goes_on(start: Start, worker: str) -> None:
    run = start(worker, "gw1")
    began = time.monotonic()
    child = psutil.Process(run.workers[worker].pid).children()
    run.workers[worker].kill()
    wait_until(lambda: run.machines() == {"main", "gw1"}, SOON, interval=0.02, what="the reaper")
    assert time.monotonic() - began < 2, "promptly"
    for process in child:  # its machine is gone, but not the one that holds its connection
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert run.scratch.exists()
    assert run.controller.poll() is None
    assert run.tell("end")["removed"] == [run.name(worker)]
    assert run.nothing_left()


def test_an_orderly_end_finds_nothing_to_remove_and_is_quick(start: Start) -> None:
    run = start("gw0", "gw1", grace=30)
    answer = run.tell("end")
    assert answer["removed"] == []
    assert answer["seconds"] < 2
    assert run.nothing_left(), "already when close() returns"
    assert "without goodbye" not in run.log


def test_what_an_orderly_end_forgot_is_removed_and_named(start: Start) -> None:
    run = start("gw0")
    run.tell("leak forgotten")
    assert run.machines() == {"main", "gw0", "forgotten"}
    assert run.tell("end")["removed"] == [run.name("forgotten")]
    assert run.nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_the_reaper_survives_signals_while_the_run_goes_on(start: Start, number: signal.Signals) -> None:
    run = start("gw0")
    run.reaper.kill(number)
    run.controller.kill()
    wait_until(run.nothing_left, SOON, what="the reaper")


GROUP_SIGNALS = [signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL]


@pytest.mark.parametrize("number", GROUP_SIGNALS)
def test_signals_to_the_process_group_do_not_reach_the_reaper(start: Start, number: signal.Signals) -> None:
    run = start("gw0")
    os.killpg(run.controller.pid, number)
    wait_until(run.nothing_left, SOON, what="the reaper")


def test_a_killed_reaper_is_replaced_by_the_controller_at_the_end(start: Start) -> None:
    run = start("gw0")
    run.tell("leak forgotten")
    run.reaper.kill()
    wait_until(lambda: not run.reaper.alive(), SOON)
    assert run.record.state is RunState.RUNNING, "the controller lives"
    assert run.tell("end")["removed"] == [run.name("forgotten")]
    assert run.nothing_left()


def test_kept_machines_live_as_long_as_they_were_given(start: Start) -> None:
    run = start("gw0")
    run.tell("leak forgotten")
    run.tell(f"keep {run.name('main')} 2.5")
    began = time.time()
    assert run.tell("end")["removed"] == [run.name("forgotten")]
    assert run.controller.wait(5) == 0
    assert run.controller.stdout is not None
    assert run.controller.stdout.read() == b"", "the reaper, still there, does not hold the pipes of the run"
    assert run.reaper.alive()
    assert run.machines() == {"main"}
    assert [file.name for file in run.scratch.glob("*.disk")] == [f"{run.name('main')}.disk"]
    assert run.record.state is RunState.KEPT
    assert run.record.kept == (run.name("main"),)
    assert run.record.expires_at == pytest.approx(began + 2.5, abs=0.5)
    wait_until(run.nothing_left, SOON, what="the reaper")
    assert time.time() - began > 2


def test_what_a_worker_keeps_survives_its_death_and_nothing_else_of_it_does(start: Start) -> None:
    run = start("gw0")
    run.tell("worker gw0 leak other")
    run.tell(f"worker gw0 keep {run.name('gw0')} 60")
    assert run.machines() == {"main", "gw0", "other"}
    run.workers["gw0"].kill()
    wait_until(lambda: run.machines() == {"main", "gw0"}, SOON, what="the reaper")
    run.controller.kill()
    wait_until(lambda: run.machines() == {"gw0"}, SOON, what="the reaper")
    wait_until(lambda: run.record.state is RunState.KEPT, SOON)
    assert collect_run(run.record) == []
    assert run.nothing_left()


def test_kept_machines_can_be_ended_early(start: Start) -> None:
    run = start()
    run.tell(f"keep {run.name('main')} 3600")
    record = run.record
    with pytest.raises(ConfigError, match=f"^run {run.id} is still running"):
        collect_run(record)
    run.tell("end")
    kept = run.record
    assert collect_run(kept) == []
    assert run.nothing_left()
    assert collect_run(kept) == [], "again does nothing"


def test_what_is_left_when_the_reaper_is_gone_too_can_be_collected(start: Start) -> None:
    run = start()
    run.reaper.kill()
    run.controller.kill()
    run.controller.wait()
    wait_until(lambda: run.record.state is RunState.ORPHANED, SOON)
    assert run.machines() == {"main"}
    assert collect_run(run.record) == [run.name("main")]
    assert run.nothing_left()


def test_kept_machines_outlive_their_reaper_and_can_be_collected(start: Start) -> None:
    run = start()
    run.tell(f"keep {run.name('main')} 3600")
    run.tell("end")
    run.reaper.kill()
    wait_until(lambda: run.record.state is RunState.ORPHANED, SOON)
    assert run.record.kept == (run.name("main"),)
    assert collect_run(run.record) == [run.name("main")]
    assert run.nothing_left()


def test_keeping_still_works_at_the_end_of_a_run_whose_reaper_was_killed(start: Start) -> None:
    run = start()
    run.tell("leak forgotten")
    run.tell(f"keep {run.name('main')} 3600")
    wait_until(lambda: run.record.kept, SOON)
    run.reaper.kill()
    assert run.tell("end")["removed"] == [run.name("forgotten")]
    assert run.machines() == {"main"}
    assert run.scratch.exists()
    assert run.record.state is RunState.ORPHANED
    assert collect_run(run.record) == [run.name("main")]
    assert run.nothing_left()


def test_a_sweep_that_fails_is_said_and_can_be_repeated(start: Start, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    run = start(broken=str(broken))
    run.tell("leak forgotten")
    broken.touch()
    answer = run.tell("end")
    assert answer["kind"] == "PlatformError"
    assert answer["error"] == "sweep of the run failed: the provider is down; 'kola gc' can try again"
    wait_until(lambda: run.record.state is RunState.ORPHANED, SOON)
    assert run.scratch.exists()
    with pytest.raises(PlatformError, match="the provider is down"):
        collect_run(run.record)
    broken.unlink()
    assert collect_run(run.record) == [run.name("forgotten")]
    assert run.nothing_left()


def test_a_sweep_that_fails_for_a_worker_is_made_up_for_at_the_end(start: Start, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    run = start("gw0", broken=str(broken))
    broken.touch()
    run.workers["gw0"].kill()
    wait_until(lambda: "sweep of gw0 failed" in run.log, SOON)
    broken.unlink()
    assert run.tell("end")["removed"] == [run.name("gw0")]
    assert run.nothing_left()


def test_options_are_seen_by_nobody(start: Start) -> None:
    run = start("gw0", secret="hush-hush")
    assert "hush" not in " ".join(psutil.Process(run.reaper.pid).cmdline())
    assert stat.S_IMODE(run.record.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(run.record.path.parent.stat().st_mode) == 0o700
    assert run.record.options == {"secret": "hush-hush", "broken": ""}, "for kola gc"
    run.tell("end")
    assert "hush" not in run.log


def context(tmp_path: Path, scratch: Path) -> RunContext:
    return RunContext(secrets.token_hex(4), "tester", "main", tmp_path / "output", scratch, tmp_path / "cache")


def test_a_reaper_that_cannot_start_says_why(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(ConfigError, match=r"^unknown platform 'nowhere'; known: "):
            start_reaper("nowhere", {}, host_arch().name, context(tmp_path, Path(folder)))
        with pytest.raises(PlatformError, match=r"did not start: .*Address already in use"):
            start_reaper("nowhere", {}, host_arch().name, context(tmp_path, Path(folder)))
    long = tmp_path / ("x" * 100)
    with pytest.raises(ConfigError, match="more than the 107 bytes of a unix socket"):
        start_reaper("nowhere", {}, host_arch().name, context(tmp_path, long))
    assert list_runs(tmp_path / "cache") == []


def test_attaching_without_a_reaper(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="does not answer"):
        attach(tmp_path / "reaper.sock", "gw0")
