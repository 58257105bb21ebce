"""Waiting for something with a deadline: the only ``sleep`` in the tree."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from kola.errors import WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Deadline:
    """A point in monotonic time, made from a number of seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the deadline was made."""
        return time.monotonic() - self._began

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.seconds - self.elapsed)

    @property
    def expired(self) -> bool:
        """True once no time is left."""
        return self.remaining == 0.0


def wait_until(
    predicate: Callable[[], T],
    deadline: Deadline | float,
    *,
    what: str = "condition",
    interval: float = 0.1,
    progress: Callable[[float], None] | None = None,
) -> T:
    """Call ``predicate`` until it returns something true, and return that.

    Args:
        predicate: called at least once, also with an expired deadline; what it raises goes to the caller.
        deadline: a ``Deadline`` or a number of seconds from now.
        what: names the condition in the error.
        interval: seconds between two calls.
        progress: called with the seconds elapsed after every unsuccessful call.

    Raises:
        WaitTimeout: the deadline passed.
    """
    limit = deadline if isinstance(deadline, Deadline) else Deadline(deadline)
    while True:
        if value := predicate():
            return value
        if limit.expired:
            raise WaitTimeout(f"timed out after {limit.seconds:.0f} s waiting for {what}")
        if progress is not None:
            progress(limit.elapsed)
        pause(min(interval, max(limit.remaining, 0.001)))


def pause(seconds: float) -> None:
    """Do nothing for so many seconds: between two attempts, where there is nothing to look at meanwhile."""
    time.sleep(seconds)
