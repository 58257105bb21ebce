"""Machines of one process that no test uses at the moment: shared ones between two tests, clones made in advance."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kola.budget import Token
    from kola.launcher import Running


@dataclass(frozen=True)
class Parked:
    """Machines, and the token that pays for them: whoever needs its memory more gets it.

    Attributes:
        key: ``Needs.machine_key`` of the tests that they can serve.
        running: as many as such a test declares.
        token: idle.
        used: tests have used it: it can serve only tests that share it.
    """

    key: str
    running: tuple[Running, ...]
    token: Token
    used: bool

    def end(self) -> None:
        """End the machines and give their memory back."""
        end_all(self.running)
        self.token.release()


def end_all(machines: Sequence[Running]) -> None:
    """End machines, each of them whatever becomes of the others.

    Raises:
        KolaError: one of them could not be ended, and may still be there.
    """
    with contextlib.ExitStack() as stack:
        for running in reversed(machines):
            stack.callback(running.end)


class Park:
    """Safe for several threads."""

    def __init__(self) -> None:
        self._parked: dict[str, Parked] = {}  # by the token's id
        self._lock = threading.Lock()

    def put(self, parked: Parked) -> None:
        """Leave machines here; from now on they may be evicted."""
        with self._lock:
            self._parked[parked.token.id] = parked
            parked.token.set_idle()

    def holds(self, key: str, count: int, *, shared: bool) -> bool:
        """Tell whether there are machines that ``claim`` could give."""
        with self._lock:
            return bool(self._fitting(key, count, shared=shared))

    def claim(self, key: str, count: int, *, shared: bool) -> Parked | None:
        """Take machines for a test, or None; those that somebody else needs more are left to be evicted.

        Args:
            key: of the test.
            count: how many machines it declares.
            shared: it does not mind that others have used it.
        """
        with self._lock:
            # Of two that would do, the used one: the other serves also who minds.
            for parked in sorted(self._fitting(key, count, shared=shared), key=lambda parked: not parked.used):
                if parked.token.claim():
                    return self._parked.pop(parked.token.id)
        return None

    def _fitting(self, key: str, count: int, *, shared: bool) -> list[Parked]:
        return [
            parked
            for parked in self._parked.values()
            if parked.key == key and len(parked.running) == count and (shared or not parked.used)
        ]

    def take(self, token_id: str) -> Parked | None:
        """Take away the machines that a token pays for, to end them."""
        with self._lock:
            return self._parked.pop(token_id, None)

    def clear(self) -> list[Parked]:
        """Take away all of them."""
        with self._lock:
            parked, self._parked = list(self._parked.values()), {}
        return parked
