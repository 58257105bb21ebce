"""Measures what the machines of running tests use of this host: corrects what they are charged, and remembers it.

Charges rise as soon as more is used than was expected and fall only when a test has ended: what it used once it will
use again. What was measured is there for later runs (``kola.usage``), not for this one: the first test with a machine
may well be the smallest.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kola.usage import CpuTime, Kind, Peak, Report, UsageStore, with_margin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kola.budget import Token
    from kola.platform import Instance, Usage

INTERVAL_S = 2.0
STEP_MIB = 16
"""Charges are multiples of this: not every page that is touched has to be written down."""
_LOG = logging.getLogger(__name__)


@dataclass
class _Watched:
    """A test that runs, and what was measured of it so far."""

    token: Token
    key: str
    declared_mib: int
    instances: Callable[[], Iterable[Instance]]
    since: float
    demand: dict[str, float] = field(default_factory=dict)  # machine -> seconds of CPU that were counted
    peak_mib: float = 0.0


class Meter:
    """A thread that measures; a context manager, at whose end the findings are recorded.

    Args:
        store: of this host.
        kind: of all machines.
        image: digest of the image that they boot from.
        run_id: of the run.
        interval: seconds between two measurements.

    Attributes:
        cpu: what all tests used so far; None if it cannot be measured.
    """

    def __init__(self, store: UsageStore, kind: Kind, image: str, run_id: str, interval: float = INTERVAL_S) -> None:
        self.kind = kind
        self.image = image
        self.run_id = run_id
        self.interval = interval
        self._store = store
        self._known = store.read()
        self._watched: dict[str, _Watched] = {}  # by the token's id
        self._peaks: dict[str, Peak] = {}
        self._by_machine: dict[str, float] = {}
        self.cpu: CpuTime | None = None
        self._used = False
        self._failed = False
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kola-meter", daemon=True)

    def __enter__(self) -> Meter:  # noqa: PYI034 - not made to be inherited from
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._end.set()
        self._thread.join()
        if self._used:
            self._store.add(Report(self.run_id, self.kind, self.image, self._peaks, self.cpu))

    def expected_mib(self, key: str, declared_mib: int) -> int:
        """Return what a machine with that key (``Needs.machine_key``) will use according to earlier runs, in MiB.

        Without knowledge the declaration, and never more than that.
        """
        return self._known.expected_mib(self.kind, self.image, key, declared_mib)

    def peak_mib(self, name: str) -> float | None:
        """Return the most that a machine was seen to use, in MiB; None if it was not measured."""
        with self._lock:
            return self._by_machine.get(name)

    def register(self, token: Token, key: str, declared_mib: int, instances: Callable[[], Iterable[Instance]]) -> None:
        """Measure the machines of a test that begins.

        Args:
            token: what the test is charged by.
            key: of its machines, which are all alike.
            declared_mib: what each of them declares, in MiB.
            instances: returns those that run at the moment; called in a thread. What they have used before now counts
                for nobody: a shared machine may have served other tests.
        """
        with self._lock:
            watched = _Watched(token, key, declared_mib, instances, time.monotonic())
            with self._harmless():
                watched.demand = {name: _demand(usage) for name, usage in _measure(watched).items()}
            self._watched[token.id] = watched
            self._used = True

    def unregister(self, token: Token) -> None:
        """Stop, before the machines end; one that stays is charged what it was found to use, and a margin.

        Nothing happens if the token is not registered.
        """
        with self._lock:
            watched = self._watched.pop(token.id, None)
            if watched is None:
                return
            self._sample(watched)
            if watched.peak_mib:
                with self._harmless():
                    token.resize(with_margin(watched.peak_mib, token.most))

    def _run(self) -> None:
        while not self._end.wait(self.interval):
            with self._lock:
                due = tuple(self._watched)
            for token_id in due:  # one by one: nobody who begins or ends a test waits for all of them
                with self._lock:
                    watched = self._watched.get(token_id)
                    if watched is not None:
                        self._sample(watched)

    def _sample(self, watched: _Watched) -> None:
        with self._harmless():
            usages = _measure(watched)
            now = time.monotonic()
            if usages:
                self._count(watched, usages, now - watched.since)
            watched.since = now

    @contextlib.contextmanager
    def _harmless(self) -> Iterator[None]:
        """Whatever goes wrong with a measurement is no reason for a test to fail; it is logged once."""
        try:
            yield
        except Exception as e:  # noqa: BLE001 - see above
            if not self._failed:
                _LOG.warning("what machines use cannot be measured: %s", e, exc_info=e)
            self._failed = True

    def _count(self, watched: _Watched, usages: dict[str, Usage], seconds: float) -> None:
        peak = Peak(max(usage.memory_mib for usage in usages.values()), watched.declared_mib)
        for name, usage in usages.items():
            self._by_machine[name] = max(self._by_machine.get(name, 0.0), usage.memory_mib)
        self._peaks[watched.key] = max(self._peaks.get(watched.key, peak), peak, key=lambda p: p.mib)
        watched.peak_mib = max(watched.peak_mib, sum(usage.memory_mib for usage in usages.values()))
        if watched.peak_mib > watched.token.mib:
            watched.token.resize(math.ceil(watched.peak_mib / STEP_MIB) * STEP_MIB)
        used = sum(_demand(usage) - watched.demand.get(name, 0.0) for name, usage in usages.items())
        watched.demand.update({name: _demand(usage) for name, usage in usages.items()})
        self.cpu = (self.cpu or CpuTime()) + CpuTime(max(0.0, used), seconds)


def _measure(watched: _Watched) -> dict[str, Usage]:
    found = {instance.name: instance.usage() for instance in watched.instances()}
    return {name: usage for name, usage in found.items() if usage is not None}


def _demand(usage: Usage) -> float:
    return usage.cpu_seconds + usage.waited_seconds
