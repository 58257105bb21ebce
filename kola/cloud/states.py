"""What state machines are in: one call for all of them, so that a hundred that are waited for ask no more than one."""

from __future__ import annotations

import enum
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

UNKNOWN_SECONDS = 120.0
"""How long a machine that was made may be unknown to the provider's lists."""


class Phase(enum.Enum):
    """What a machine does; it goes on from one to the next."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"
    """Also on its way there."""
    GONE = "gone"
    """Deleted, also on its way there."""


@dataclass(frozen=True)
class State:
    """What a provider says of a machine.

    Attributes:
        phase: what it does.
        public: its address on the internet; empty for none (yet).
        private: its address in its own network; empty for none (yet).
        reason: why it is stopped or gone, in the provider's words.
        no_room: that reason is a lack of capacity: elsewhere it may work.
        by_provider: it is known that neither the machine nor its owner did it.
    """

    phase: Phase
    public: str = ""
    private: str = ""
    reason: str = ""
    no_room: bool = False
    by_provider: bool = False


class States:
    """The states of all machines that a process made; any number of threads may ask.

    Args:
        read: asks the provider: id -> state of every machine of this process.
        interval: seconds for which an answer is good.
    """

    def __init__(self, read: Callable[[], Mapping[str, State]], interval: float) -> None:
        self._read = read
        self._interval = interval
        self._lock = threading.Lock()
        self._states: Mapping[str, State] = {}
        self._begun = float("-inf")  # when it was asked last, monotonic
        self._next = 0.0  # when to ask again, monotonic
        self._made: dict[str, float] = {}

    def expect(self, machine: str) -> None:
        """Take note that a machine was made just now."""
        self._made[machine] = time.monotonic()
        self._next = 0.0

    def of(self, machine: str) -> State:
        """Return the state of a machine.

        Raises:
            PlatformError: the provider does not say.
        """
        asked = time.monotonic()
        with self._lock:
            # Who waited for another's call that began later than this one takes its answer, however old it is by now:
            # a slow provider would otherwise be called by all of them in turn.
            if self._begun < asked and time.monotonic() >= self._next:
                began = time.monotonic()
                self._states = self._read()
                self._begun = began
                self._next = time.monotonic() + self._interval
            found = self._states.get(machine)
        if found is not None:
            return found
        if time.monotonic() - self._made.get(machine, 0.0) < UNKNOWN_SECONDS:
            return State(Phase.PENDING)
        return State(Phase.GONE, reason="the provider does not know it any more")
