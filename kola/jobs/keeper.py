"""``python -m kola.jobs.keeper COMMAND...``: one job's command, which ends when whoever asked for it closes the pipe.

A process that is killed closes its pipes as well: so the command never outlives ``kola matrix run``, however that ends.
The keeper leads the process group of the command. Ending it is SIGINT for all of the group, on which pytest ends its
machines and writes the record; what is still there later gets SIGTERM, then SIGKILL.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LENIENCE = ((signal.SIGINT, 60.0), (signal.SIGTERM, 15.0))
"""Signals, and the seconds that the command has after each."""
MOST_SECONDS = sum(seconds for _, seconds in LENIENCE)


def keep(command: Sequence[str], pipe: int) -> int:
    """Run a command to its end; if the pipe is closed before, end it and everything in this process's group.

    Args:
        command: its words.
        pipe: to be read from.

    Returns:
        The command's exit code, 128 and the number if a signal ended it. Does not return if the pipe was closed.
    """
    for sig, _ in LENIENCE:
        # Not SIG_IGN, which the command would inherit.
        signal.signal(sig, lambda *_: None)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    ended = os.pidfd_open(child.pid)
    readable, _, _ = select.select([ended, pipe], [], [])
    if ended in readable:
        code = child.wait()
        return code if code >= 0 else 128 - code
    for sig, seconds in LENIENCE:
        os.killpg(0, sig)
        if select.select([ended], [], [], seconds)[0]:
            break
    os.killpg(0, signal.SIGKILL)  # nothing of the group is left, this process neither
    return 128 + signal.SIGKILL


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1:], sys.stdin.fileno()))
