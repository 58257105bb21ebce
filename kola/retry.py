"""Calls to a provider that may fail for a while: the one place that tries again, waits and gives up.

A driver says what an error of its SDK means (``Classify``); here is decided what follows from that. The SDKs' own
retries are switched off, so that nothing is tried again inside of what is tried again.
"""

from __future__ import annotations

import enum
import random
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from kola.errors import PlatformError
from kola.wait import Deadline, pause

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class Fault(enum.Enum):
    """What an error means."""

    TRANSIENT = "transient"
    """Throttling, a broken connection, an error of the server: the same call may work later."""
    CAPACITY = "capacity"
    """Not here or not of this type: no room, or a quota that is used up. Elsewhere it may work."""
    MISSING = "missing"
    """What the call names is not there; where it was made a moment ago, not there yet."""
    FATAL = "fatal"
    """Anything else: refused, not allowed, malformed."""


@dataclass(frozen=True)
class Verdict:
    """What a driver makes of an error.

    Attributes:
        fault: what follows from it.
        message: one line for a person, without secrets.
        retry_after: seconds that the provider wants to be left alone, 0 if it does not say.
        throttled: it was called too often.
    """

    fault: Fault
    message: str
    retry_after: float = 0.0
    throttled: bool = False


class CapacityError(PlatformError):
    """There is no room for it here, or a quota is used up."""


class MissingError(PlatformError):
    """What was named is not there."""


_ERRORS = {Fault.CAPACITY: CapacityError, Fault.MISSING: MissingError}


@dataclass(frozen=True)
class Backoff:
    """How long to wait before the next attempt: random, up to a limit that doubles ("full jitter").

    Attributes:
        first: seconds that the first pause takes at most.
        most: seconds that any takes at most, unless the provider asks for more.
        seconds: after how long no other attempt is begun.
        patience: the same where the provider itself says how long to wait: it may want to be left alone for longer.
    """

    first: float = 0.5
    most: float = 20.0
    seconds: float = 180.0
    patience: float = 600.0

    def pause(self, attempt: int, verdict: Verdict, rng: random.Random) -> float:
        """Return the seconds to wait after the attempt of that number, from 0 on."""
        limit = min(self.most, self.first * 2.0 ** min(attempt, 32))
        return verdict.retry_after + rng.uniform(0, limit)


class Pace:
    """How often a provider may be called, by all threads together: found out by being turned away.

    Until that happens nobody waits. Then calls are so far apart that few are turned away, and come a little closer with
    each one that is not. Without it, many threads would ask again and again for what few can have at a time.

    Args:
        sleep: waits so many seconds.
        clock: returns seconds that only grow.
    """

    _FIRST, _MOST, _GROWTH, _DECAY = 0.02, 5.0, 1.5, 0.98
    _REACTION = 0.2  # seconds: those turned away together are one sign
    _LONGEST = 60.0  # seconds: all wait for what one was told; it may have been meant for calls of one sort

    def __init__(self, sleep: Callable[[float], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._sleep = sleep
        self._clock = clock
        self._turn = threading.Lock()
        self._gap = 0.0  # seconds between two calls
        self._next = 0.0
        self._changed = -self._REACTION

    def take_turn(self) -> None:
        """Wait, behind those who wait already, until the next call may be made."""
        with self._turn:
            if (wait := self._next - self._clock()) > 0:
                self._sleep(wait)
            self._next = max(self._next, self._clock() + self._gap)

    def turned_away(self, retry_after: float = 0.0) -> None:
        """Take note that a call was one too many, and that no other may be made for so many seconds."""
        now = self._clock()
        self._next = max(self._next, now + min(retry_after, self._LONGEST))
        if now - self._changed >= self._REACTION:
            self._gap = min(max(self._gap * self._GROWTH, self._FIRST), self._MOST)
            self._changed = now

    def answered(self) -> None:
        """Take note that a call was not."""
        self._gap = self._gap * self._DECAY if self._gap > self._FIRST / 10 else 0.0


class Caller:
    """Makes calls, any number of threads at once.

    Args:
        classify: tells what an error means; None for one that is not the provider's and goes to the caller as it is.
        backoff: how to wait.
        sleep: waits so many seconds.
        rng: of the jitter.
    """

    def __init__(
        self,
        classify: Callable[[Exception], Verdict | None],
        backoff: Backoff | None = None,
        *,
        sleep: Callable[[float], None] = pause,
        rng: random.Random | None = None,
    ) -> None:
        self._classify = classify
        self._backoff = backoff or Backoff()
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - jitter, nothing secret
        self._pace = Pace(sleep)
        self._turn = threading.local()  # .taken: this thread has it, and has not asked the provider anything since

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function of an SDK that may be called again: it reads, or says what it makes by a token of its own.

        Raises:
            CapacityError: no room.
            MissingError: it names something that is not there.
            PlatformError: it failed for good, or until no time was left.
        """
        return self._attempt(lambda: function(*args, **kwargs), _name(function), {Fault.TRANSIENT})

    def fresh(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that names what was made a moment ago and that not every server may know yet."""
        return self._attempt(lambda: function(*args, **kwargs), _name(function), {Fault.TRANSIENT, Fault.MISSING})

    def request(self) -> None:
        """Wait until a request may be made: an SDK whose functions make several is to call this before each of them.

        The first one within a call has the turn that the call waited for.
        """
        if not getattr(self._turn, "taken", False):
            self._pace.take_turn()
        self._turn.taken = False

    def around(self, seconds: float) -> Caller:
        """Return a caller for what itself calls by this one, and has to be done anew as a whole.

        Args:
            seconds: after how long that is not begun again.
        """
        backoff = replace(self._backoff, seconds=seconds)
        return Caller(self._classify, backoff, sleep=self._sleep, rng=self._rng)

    def _attempt(self, call: Callable[[], T], name: str, again: set[Fault]) -> T:
        limit, attempt = Deadline(self._backoff.patience), 0
        while True:
            self._pace.take_turn()
            self._turn.taken = True
            try:
                answer = call()
            except Exception as e:
                verdict = self._classify(e)
                if verdict is None:
                    raise
                if verdict.throttled:
                    self._pace.turned_away(verdict.retry_after)
                wait = self._backoff.pause(attempt, verdict, self._rng)
                attempt += 1
                last = self._backoff.patience if verdict.retry_after else self._backoff.seconds
                if verdict.fault not in again or limit.elapsed + wait > last:
                    tried = f" ({attempt} attempts in {limit.elapsed:.0f} s)" if verdict.fault in again else ""
                    raise _ERRORS.get(verdict.fault, PlatformError)(f"{name}: {verdict.message}{tried}") from e
            else:
                self._pace.answered()
                return answer
            self._sleep(wait)


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__name__", type(function).__name__).lstrip("_")
