"""The wake port when QEMU dies, or says other things, while a machine's clock is set."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kola.errors import PlatformError
from kola.wait import Deadline
from platforms.qemu.wake import make_pipes, pipes, set_clock

Qemu = Callable[[int, int], object]
"""What it does with the ends of the pipes that it holds: reads from one, writes to the other."""


@pytest.fixture
def port(tmp_path: Path) -> Path:
    base = tmp_path / "wake"
    make_pipes(base)
    return base


@contextlib.contextmanager
def qemu(base: Path, does: Qemu) -> Iterator[None]:
    """It holds both ends of both pipes, until it is done."""
    ends = [os.open(pipe, os.O_RDWR) for pipe in pipes(base)]

    def live() -> None:
        try:
            does(*ends)
        finally:
            for end in ends:
                os.close(end)

    thread = threading.Thread(target=live)
    thread.start()
    yield
    thread.join()


def echo(reads: int, writes: int) -> None:
    os.write(writes, b"said before\n" + os.read(reads, 100))


def die(reads: int, writes: int) -> None:  # noqa: ARG001 - it says nothing
    os.read(reads, 100)


@pytest.mark.timeout(20)
def test_a_guest_that_answers_has_set_its_clock(port: Path) -> None:
    with qemu(port, echo):
        set_clock(port, "m", Deadline(10))


@pytest.mark.timeout(20)
def test_a_qemu_that_dies_meanwhile_is_not_waited_for(port: Path) -> None:
    limit = Deadline(10)
    with qemu(port, die), pytest.raises(PlatformError, match=r"^machine m does not set its clock .*: QEMU is gone$"):
        set_clock(port, "m", limit)
    assert not limit.expired


@pytest.mark.timeout(20)
def test_one_that_goes_on_about_something_else_is_not_listened_to_for_ever(port: Path) -> None:
    over = threading.Event()

    def chatter(reads: int, writes: int) -> None:
        with subprocess.Popen(["yes", "something else"], stdout=writes) as talk:
            over.wait()
            talk.kill()
        os.read(reads, 100)

    with qemu(port, chatter):
        try:
            with pytest.raises(PlatformError, match=r"no answer within 1 s"):
                set_clock(port, "m", Deadline(0.6))
        finally:
            over.set()
