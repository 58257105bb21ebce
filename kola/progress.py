"""What a run is waiting for, told while it waits: workers write events, the controller prints them.

xdist's workers have no terminal, so every process appends JSON lines to one file of the run and a thread of the
controller follows it. Without xdist the way is the same.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

CLONED = "cloned"
"""What is said of a clone that is up."""
REPEAT = 10.0
"""Seconds after which a wait that goes on is mentioned again."""


@dataclass(frozen=True)
class Event:
    """One thing that happened to a machine. ``time`` in unix seconds, ``elapsed`` in seconds since its launch."""

    time: float
    worker: str
    machine: str
    state: str
    elapsed: float

    def __str__(self) -> str:
        """One line for a person."""
        after = f" ({self.elapsed:.0f} s)" if self.elapsed >= 1 else ""
        return f"[{self.worker}] {self.machine}: {self.state}{after}"


class Progress:
    """Appends events; one write a line, so that processes do not mix theirs."""

    def __init__(self, path: Path, worker: str) -> None:
        self.path = path
        self.worker = worker
        self._said: dict[str, tuple[str, float]] = {}

    def say(self, machine: str, state: str, elapsed: float = 0.0) -> None:
        """Tell a new state at once, the same state again only every ``REPEAT`` seconds.

        What stands in parentheses is a detail: another detail is no other state.
        """
        kind = state.partition(" (")[0]
        before, at = self._said.get(machine, ("", 0.0))
        if before == kind and elapsed - at < REPEAT:
            return
        self._said[machine] = (kind, elapsed)
        event = Event(round(time.time(), 3), self.worker, machine, state, round(elapsed, 1))
        line = json.dumps(asdict(event)) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


class Follower:
    """A thread that calls ``show`` for every event; a context manager."""

    def __init__(self, path: Path, show: Callable[[Event], None], interval: float = 0.2) -> None:
        self.path = path
        self.show = show
        self.interval = interval
        self._offset = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="kola-progress", daemon=True)

    def __enter__(self) -> Follower:  # noqa: PYI034 - final in practice
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(timeout=5)

    def _follow(self) -> None:
        while not self._end.wait(self.interval):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            self.show(Event(**json.loads(line)))
