"""The wake port: how a restored machine gets the time of day, before and without SSH.

A machine that was saved goes on with the clock of that moment. A unit in the guest (``kola/guest/kola-wake.service``)
reads lines of unix seconds from the virtio-serial port ``kola.wake``, sets the clock and repeats the line.

The port is a pair of pipes and not a socket: QEMU holds both their ends, so the guest always finds the port connected
(it would read an endless end of file otherwise) and never blocks when nobody on the host listens.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING

from kola.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kola.wait import Deadline

ACCURACY = 0.2
"""Seconds by which the guest's clock may be behind this host's."""
_ROUNDS = 4


def pipes(base: Path) -> tuple[Path, Path]:
    """Return the pipes into the guest and out of it, as QEMU names them."""
    return base.with_name(f"{base.name}.in"), base.with_name(f"{base.name}.out")


def make_pipes(base: Path) -> None:
    """Make both pipes, readable by their owner alone."""
    for path in pipes(base):
        os.mkfifo(path, 0o600)


def tell_time(base: Path, name: str) -> None:
    """Tell a guest the time without waiting for its answer: it wakes up what it needs for that.

    Args:
        base: what the pipes' names begin with.
        name: of the machine, for the error.

    Raises:
        PlatformError: QEMU is gone.
    """
    with _errors(name), _end(pipes(base)[0], os.O_WRONLY) as sender:
        os.write(sender, _line(time.time()))


def set_clock(base: Path, name: str, deadline: Deadline) -> None:
    """Set a running guest's clock to this host's; its answer proves it.

    The guest takes the time that the line says when it comes to read it: as long as that took more than ``ACCURACY``
    it is told anew.

    Args:
        base: what the pipes' names begin with.
        name: of the machine, for the error.
        deadline: for the answers.

    Raises:
        PlatformError: no answer in time: no such unit in the guest, or it hangs; or QEMU is gone.
    """
    into, out = pipes(base)
    with _errors(name), _end(into, os.O_WRONLY) as sender, _end(out, os.O_RDONLY) as receiver:
        for _ in range(_ROUNDS):
            now = time.time()
            os.write(sender, _line(now))
            _await(receiver, _line(now), deadline)
            if time.time() - now <= ACCURACY:
                return


def _line(now: float) -> bytes:
    return f"{now:.6f}\n".encode()


@contextlib.contextmanager
def _end(pipe: Path, mode: int) -> Iterator[int]:
    # QEMU holds the other end, so this does not block; without QEMU it fails.
    descriptor = os.open(pipe, mode | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as e:  # a TimeoutError too
        raise PlatformError(f"machine {name} does not set its clock (kola-wake.service): {e}") from e


def _await(receiver: int, line: bytes, deadline: Deadline) -> None:
    """Read until the line comes back; what was said to others before is passed over."""
    heard = b""
    while line not in heard:
        if deadline.expired or not select.select([receiver], [], [], deadline.remaining)[0]:
            raise TimeoutError(f"no answer within {deadline.seconds:.0f} s")
        if not (more := os.read(receiver, 4096)):  # its end of the pipe is closed
            raise OSError("QEMU is gone")
        heard += more
