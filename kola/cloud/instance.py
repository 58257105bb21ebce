"""A running machine of a cloud: its console, its death, its power."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

from kola.cloud.states import Phase
from kola.diagnose import diagnose
from kola.errors import Loss

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kola.cloud.jump import Way
    from kola.cloud.states import State
    from kola.platform import Usage

CONSOLE_SECONDS = 15.0
"""How old a console may be that is searched for signs of death; every look is a call to the provider."""
_OVERLAP = 256


class Provider(Protocol):
    """What a machine asks its driver for; retried there."""

    def state_of(self, machine: str) -> State:
        """Return its state."""
        ...

    def console_of(self, machine: str) -> str:
        """Return what the provider has of its serial console: all of it, or the end."""
        ...

    def power_cycle(self, machine: str, name: str) -> str:
        """Cut its power and switch it on again; return its address, which may be another one."""
        ...


def joined(old: str, new: str) -> str:
    """Return a console so far and what the provider has of it now as one text. Pure.

    Providers keep the last part only (64 KiB on EC2): what is known already and what they have overlap.
    """
    if new.startswith(old):
        return new
    if len(old) > len(new) and new in old:
        return old
    head = new[:_OVERLAP]
    at = old.rfind(head) if head else -1
    if at >= 0 and new.startswith(old[at:]):
        return old[:at] + new
    return old + new


class CloudInstance:
    """One machine (``kola.platform.Instance``).

    Args:
        machine: the provider's id.
        name: kola's.
        address: the provider's word for where it is.
        way: leads there from this host.
        provider: the driver.
    """

    transcript: Path | None = None
    """File of the run that the console is written to."""
    macs: Sequence[str] = ()
    journal_path: Path | None = None

    def __init__(self, machine: str, name: str, address: str, way: Way, provider: Provider) -> None:
        self.id = machine
        self.name = name
        self.address, self.port = way.to(address)
        self.kept = False
        self._way = way
        self._provider = provider
        self._console = ""
        self._forgotten = 0  # what was there when the power was cut
        self._looked = 0.0
        self._loss: Loss | None = None
        self._lock = threading.Lock()

    def console(self) -> str:
        """Return everything that the machine wrote to its serial console, as far as the provider kept it."""
        with self._lock:
            self._console = joined(self._console, self._provider.console_of(self.id))
            self._looked = time.monotonic()
            if self.transcript is not None:
                self.transcript.write_text(self._console, encoding="utf-8", errors="replace")
            return self._console

    def ready_signals(self) -> int:
        """Return 0: there is no such channel."""
        return 0

    def lost(self) -> Loss | None:
        """Say why the machine is of no more use, or None. Asks the provider now and then only."""
        if self._loss is None:
            self._loss = self._gone() or self._died()
        return self._loss

    def usage(self) -> Usage | None:
        """Return None: it takes nothing of this host."""
        return None

    def reset(self) -> None:
        """Cut the power and switch it on again.

        Raises:
            PlatformError: the provider does not.
        """
        self._forgotten = len(self.console())
        self.address, self.port = self._way.to(self._provider.power_cycle(self.id, self.name))
        self._loss = None

    def keep(self) -> None:
        """Leave the machine running when its context ends."""
        self.kept = True

    def _gone(self) -> Loss | None:
        state = self._provider.state_of(self.id)
        if state.phase in {Phase.PENDING, Phase.RUNNING}:
            return None
        why = f": {state.reason}" if state.reason else ""
        kind = "provider" if state.by_provider or state.no_room else "exit"
        return Loss(kind, f"the instance is {state.phase.value}{why}")

    def _died(self) -> Loss | None:
        if time.monotonic() - self._looked < CONSOLE_SECONDS:
            return None
        return diagnose(self.console()[self._forgotten :])
