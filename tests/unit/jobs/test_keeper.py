"""A job's command ends when whoever asked for it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kola.filelock import FileLock
from kola.jobs.process import Interrupts, JobProcess
from kola.wait import wait_until

INTERRUPTED = """
import os, pathlib, select, sys
path = pathlib.Path(sys.argv[1])
try:
    os.close(os.open(path, os.O_CREAT))
    for _ in range(600):
        select.select([], [], [], 0.1)
except KeyboardInterrupt:
    path.write_text("interrupted")
"""
"""Waits in short parts: Python sees a signal that comes just before a system call only when that is over."""
FAST = "from kola.jobs import keeper; keeper.LENIENCE = ((2, 0.3), (15, 0.3)); import sys; keeper.keep(sys.argv[1:], 0)"


def keeper(*command: str, code: str = "") -> subprocess.Popen[bytes]:
    module = ["-c", code] if code else ["-m", "kola.jobs.keeper"]
    words = [sys.executable, *module, *command]
    return subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)


def close(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def group_is_empty(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 75", 75), ("kill -9 $$", 137)])
def test_its_exit_code_is_the_commands(script: str, code: int) -> None:
    process = keeper("sh", "-c", script)
    assert process.wait(30) == code
    close(process)


def test_the_command_reads_nothing(tmp_path: Path) -> None:
    process = keeper("sh", "-c", f"cat >{tmp_path / 'read'}")
    assert process.wait(30) == 0
    close(process)
    assert (tmp_path / "read").read_bytes() == b""


def test_sigint_comes_first_and_is_enough_for_a_program_of_good_manners(tmp_path: Path) -> None:
    up, log = tmp_path / "up", tmp_path / "log"
    process = keeper("sh", "-c", f"trap 'echo SIGINT >{log}; exit' INT; touch {up}; while :; do sleep 0.05; done")
    wait_until(up.exists, 30)
    close(process)
    assert process.wait(30) == -signal.SIGKILL, "with its group"
    assert log.read_text() == "SIGINT\n"


def test_python_gets_its_keyboard_interrupt(tmp_path: Path) -> None:
    """Ignoring the signal instead of catching it would be inherited."""
    up = tmp_path / "up"
    process = keeper(sys.executable, "-c", INTERRUPTED, str(up))
    wait_until(up.exists, 30)
    close(process)
    process.wait(30)
    assert up.read_text() == "interrupted"


def test_what_ignores_all_signals_is_killed_with_its_children(tmp_path: Path) -> None:
    up = tmp_path / "up"
    script = f"trap '' INT TERM; sleep 600 & touch {up}; sleep 600; sleep 600"
    process = keeper("sh", "-c", script, code=FAST)
    wait_until(up.exists, 30)
    close(process)
    assert process.wait(30) == -signal.SIGKILL
    wait_until(lambda: group_is_empty(process.pid), 10, what="the end of the group")


def test_it_holds_the_lock_until_the_command_has_ended(tmp_path: Path) -> None:
    """Whoever is killed meanwhile is followed by nobody before that."""
    up, path = tmp_path / "up", tmp_path / "lock"
    first, other = FileLock(path), FileLock(path)
    assert first.try_take()
    script = f"trap '' INT; touch {up}; while [ ! -e {tmp_path / 'go'} ]; do sleep 0.05; done"
    job = JobProcess(["sh", "-c", script], tmp_path / "log", 60, os.environ, first.fileno())
    wait_until(up.exists, 30)
    first.leave()
    job.end()
    assert not other.try_take(), "the command is still there"
    (tmp_path / "go").touch()
    wait_until(other.try_take, 30, what="the lock")
    wait_until(lambda: job.poll() is not None, 30)
    other.release()


def test_a_job_over_its_time_is_ended(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock") as lock:
        job = JobProcess(["sleep", "600"], tmp_path / "log", 0.2, os.environ, lock.fileno())
        wait_until(lambda: job.poll() is not None, 30, what="the end of the job")
    assert job.timed_out


def test_a_job_in_time_is_not(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock") as lock:
        job = JobProcess(["sh", "-c", "echo hello; exit 3"], tmp_path / "log", 60, os.environ, lock.fileno())
        assert wait_until(job.poll, 30) == 3
    assert not job.timed_out
    assert (tmp_path / "log").read_text() == "hello\n"


def test_interrupts_are_counted_and_the_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: interrupts.count == 2, 5)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
