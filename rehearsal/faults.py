"""What goes wrong at a provider on purpose: which calls it befalls, and how often."""

from __future__ import annotations

import enum
import threading
import time
from dataclasses import dataclass
from fnmatch import fnmatchcase

from kola.errors import ConfigError


class Trouble(enum.StrEnum):
    """What a call meets with; how it is worded is the front end's."""

    THROTTLE = "throttle"
    ERROR = "error"
    """An error of the server (5xx)."""
    CAPACITY = "capacity"
    QUOTA = "quota"
    EXPIRED = "expired"
    """The token is no longer good."""
    DENIED = "denied"
    """Not allowed."""
    MISSING = "missing"
    """What was made a moment ago is not known yet."""
    CUT = "cut"
    """The connection breaks before anything is done."""
    GARBLED = "garbled"
    """Something before the provider answers, with a page of HTML."""
    LOST = "lost"
    """It is done, but the connection breaks before the answer."""


@dataclass
class Injection:
    """One fault.

    Attributes:
        trouble: what happens.
        call: pattern of the calls' names.
        after: of these, how many pass before.
        times: how many it befalls then.
    """

    trouble: Trouble
    call: str = "*"
    after: int = 0
    times: int = 1

    def befalls(self, call: str) -> bool:
        """Count a call, and tell whether it befalls that."""
        if not fnmatchcase(call, self.call) or self.times <= 0:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return True


def parse(text: str) -> Injection:
    """Return an injection from ``TROUBLE[:CALL[:AFTER[:TIMES]]]``.

    Raises:
        ConfigError: anything else.
    """
    trouble, _, rest = text.partition(":")
    call, *numbers = rest.split(":")
    if trouble not in set(Trouble) or len(numbers) > 2 or not all(number.isdecimal() for number in numbers):  # noqa: PLR2004
        raise ConfigError(
            f"--fault '{text}': expected TROUBLE[:CALL[:AFTER[:TIMES]]], TROUBLE one of {', '.join(Trouble)}"
        )
    after, times = [*map(int, numbers), *(0, 1)[len(numbers) :]]
    return Injection(Trouble(trouble), call or "*", after, times)


class Faults:
    """All faults of an endpoint, for any number of threads; also the log of its calls.

    Attributes:
        log: names of the calls so far.
    """

    def __init__(self) -> None:
        self.log: list[str] = []
        self._injections: list[Injection] = []
        self._lock = threading.Lock()
        self._per_second = 0.0
        self._tokens = 0.0
        self._filled = time.monotonic()

    def inject(self, trouble: Trouble, call: str = "*", *, after: int = 0, times: int = 1) -> None:
        """Add one."""
        self.add(Injection(trouble, call, after, times))

    def add(self, injection: Injection) -> None:
        """Add one."""
        with self._lock:
            self._injections.append(injection)

    def limit(self, per_second: float) -> None:
        """Throttle calls beyond so many a second; 0 none."""
        with self._lock:
            self._per_second = self._tokens = per_second
            self._filled = time.monotonic()

    def clear(self) -> None:
        """Let everything work again, and forget the calls so far."""
        with self._lock:
            self._injections.clear()
            self.log.clear()
            self._per_second = 0.0

    def befall(self, call: str) -> Trouble | None:
        """Write down a call and return what it meets with."""
        with self._lock:
            self.log.append(call)
            if self._per_second and not self._take():
                return Trouble.THROTTLE
            hits = [injection.trouble for injection in self._injections if injection.befalls(call)]
            return hits[0] if hits else None

    def _take(self) -> bool:
        now = time.monotonic()
        self._tokens = min(self._per_second, self._tokens + (now - self._filled) * self._per_second)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
