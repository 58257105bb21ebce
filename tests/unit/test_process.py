import os
import signal
import subprocess
import sys
from dataclasses import replace

from kola.process import ProcessId
from kola.wait import wait_until


def test_a_living_process_is_told_from_a_dead_one_a_zombie_and_a_namesake() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        found = ProcessId.of(child.pid)
        assert found is not None
        assert found.alive()
        namesake = replace(found, started=found.started + "1")
        assert not namesake.alive()
        assert not namesake.kill(), "a later process of the same pid must not be hit"
        assert child.poll() is None

        assert found.kill(signal.SIGTERM)
        wait_until(lambda: not found.alive(), 5, what="the zombie")  # nobody has reaped it yet
        assert not found.kill()
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == -signal.SIGTERM
    assert ProcessId.of(child.pid) is None


def test_another_boot_makes_everything_dead() -> None:
    here = ProcessId.current()
    assert here.pid == os.getpid()
    assert here.alive()
    assert not replace(here, started="another-boot:" + here.started.partition(":")[2]).alive()


def test_a_name_with_parentheses_and_spaces_does_not_shift_the_fields() -> None:
    code = "import ctypes; ctypes.CDLL(None).prctl(15, b'a) Z (b', 0, 0, 0); print(flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        before = ProcessId.of(child.pid)
        child.stdout.readline()
        assert ProcessId.of(child.pid) == before is not None
    finally:
        child.kill()
        child.communicate()
