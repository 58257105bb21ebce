"""What each test of the simulated suite does, by its number, and how it has to end."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from kola.results import Outcome
from tests.simulation.platform import Fate, config

GROUPS = 4
"""Different shared machines."""


class Kind(enum.StrEnum):
    """What a test does beside a little work."""

    SHARED = "shared"
    FRESH = "fresh"
    TWO = "two"
    REBOOTS = "reboots"
    SLOW_CONSOLE = "slow-console"
    SKIPPED = "skipped"
    FAILS = "fails"
    WARNED = "warned"
    UNKNOWN_PROGRAM = "unknown-program"
    UNKNOWN_VERB = "unknown-verb"
    TIMES_OUT = "times-out"
    DIES = "dies"
    SHARED_DIES = "shared-dies"
    NO_BOOT = "no-boot"
    REFUSED = "refused"
    KILLS_WORKER = "kills-worker"


OUTCOMES = {
    **dict.fromkeys((Kind.SHARED, Kind.FRESH, Kind.TWO, Kind.REBOOTS, Kind.SLOW_CONSOLE), Outcome.PASSED),
    Kind.SKIPPED: Outcome.SKIPPED,
    Kind.REFUSED: Outcome.PROVIDER_ERROR,
}
"""Everything else fails."""

_FATES = {
    Kind.NO_BOOT: Fate.NO_BOOT,
    Kind.WARNED: Fate.WARNING,
    Kind.REFUSED: Fate.REFUSED,
    Kind.SLOW_CONSOLE: Fate.SLOW_CONSOLE,
}
_ODD = {
    3: Kind.REBOOTS, 7: Kind.DIES, 13: Kind.SHARED_DIES, 17: Kind.NO_BOOT, 23: Kind.UNKNOWN_PROGRAM, 27: Kind.REFUSED,
    33: Kind.SKIPPED, 37: Kind.WARNED, 43: Kind.TIMES_OUT, 47: Kind.FAILS, 53: Kind.UNKNOWN_VERB, 57: Kind.SLOW_CONSOLE,
}  # fmt: skip
"""Of every hundred."""
_KILLERS = (19, 519)


@dataclass(frozen=True)
class Scenario:
    """One test."""

    number: int

    @property
    def kind(self) -> Kind:
        if self.number in _KILLERS:
            return Kind.KILLS_WORKER
        if odd := _ODD.get(self.number % 100):
            return odd
        if self.number % 2 == 0:
            return Kind.SHARED
        return Kind.TWO if self.number % 10 == 5 else Kind.FRESH

    @property
    def name(self) -> str:
        return f"{self.number:04}-{self.kind}"

    @property
    def seconds(self) -> float:
        """How long its command takes."""
        return self.number % 7 / 5

    @property
    def marker(self) -> dict[str, Any]:
        """Arguments of the kola marker."""
        shared = self.kind in {Kind.SHARED, Kind.SHARED_DIES}
        given: dict[str, Any] = {"isolation": "shared" if shared else "fresh", "memory_mib": 256}
        if shared:
            given["memory_mib"] += self.number // 2 % GROUPS
        if self.kind is Kind.TWO:
            given["machines"] = 2
        if self.kind is Kind.SKIPPED:
            given["platforms"] = ["qemu"]
        if self.kind in _FATES:
            given["ignition"] = config(_FATES[self.kind])
        return given

    @property
    def outcome(self) -> Outcome:
        return OUTCOMES.get(self.kind, Outcome.FAILED)
