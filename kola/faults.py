"""What can go wrong with an HTTP server on purpose: which requests it befalls, and what it does to a reply."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Outage:
    """No service: an error status, or (None) the connection is closed without a word."""

    status: int | None = None

    def __post_init__(self) -> None:
        if self.status is not None and not 400 <= self.status <= 599:  # noqa: PLR2004 - RFC 9110, section 15
            raise ConfigError(f"Outage: status {self.status}; allowed: 400 to 599, or None")


@dataclass(frozen=True)
class Slow:
    """Bodies trickle."""

    bytes_per_second: int

    def __post_init__(self) -> None:
        if self.bytes_per_second < 1:
            raise ConfigError(f"Slow: at least 1 byte per second, not {self.bytes_per_second}")


@dataclass(frozen=True)
class Truncated:
    """The whole length is declared, but the connection is closed after so many bytes of the body (None: after half)."""

    after: int | None = None

    def __post_init__(self) -> None:
        if self.after is not None and self.after < 0:
            raise ConfigError(f"Truncated: after at least 0 bytes, not {self.after}")

    def limit(self, length: int) -> int:
        """Return how many of ``length`` bytes are sent."""
        return length // 2 if self.after is None else min(self.after, length)


@dataclass(frozen=True)
class Corrupted:
    """All bits of ``count`` bytes are flipped, from ``offset`` in the whole content on (None: from its middle)."""

    offset: int | None = None
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or (self.offset is not None and self.offset < 0):
            raise ConfigError(f"Corrupted: count at least 1 and offset at least 0, not {self.count} and {self.offset}")

    def spoil(self, piece: bytes, start: int, size: int) -> bytes:
        """Return the piece, which begins at ``start`` of ``size`` bytes, as it arrives."""
        first = size // 2 if self.offset is None else self.offset
        spoilt = range(max(first, start) - start, min(first + self.count, start + len(piece)) - start)
        changed = bytearray(piece)
        for index in spoilt:
            changed[index] ^= 0xFF
        return bytes(changed)


Kind = Outage | Slow | Truncated | Corrupted
K = TypeVar("K", Outage, Slow, Truncated, Corrupted)


def newest(kinds: Iterable[Kind], kind: type[K]) -> K | None:
    """Return the fault of that kind that was added last, or None."""
    return next((fault for fault in reversed(list(kinds)) if isinstance(fault, kind)), None)


class Fault:
    """A fault that is switched on; off after ``clear``, at the end of a ``with`` or when its requests are used up.

    Attributes:
        hits: how many requests it befell so far.
    """

    def __init__(self, kind: Kind, path: str, first: int | None) -> None:
        if first is not None and first < 1:
            raise ConfigError(f"a fault of the first {first} requests: at least 1")
        self.kind = kind
        self.path = path
        self.first = first
        self.hits = 0
        self._cleared = False

    def clear(self) -> None:
        """Switch it off; requests that it befell already keep it."""
        self._cleared = True

    def befalls(self, path: str) -> bool:
        """Tell whether it befalls a request of that path now."""
        used_up = self.first is not None and self.hits >= self.first
        return not self._cleared and not used_up and fnmatchcase(path, self.path)

    def __enter__(self) -> Fault:  # noqa: PYI034 - final in practice
        return self

    def __exit__(self, *exc: object) -> None:
        self.clear()


class Faults:
    """All faults of a server, for any number of threads."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Switch one on."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def hit(self, path: str) -> list[Kind]:
        """Return what befalls this request, oldest first, and count it."""
        with self._lock:
            found = [fault for fault in self._faults if fault.befalls(path)]
            for fault in found:
                fault.hits += 1
        return [fault.kind for fault in found]
