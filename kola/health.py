"""Is this machine still well? Reads its logs since a mark and lets ``kola.checks`` judge them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola import checks
from kola.errors import CommandFailed, CommandTimeout, MachineLost

if TYPE_CHECKING:
    from kola.machine import Machine


@dataclass(frozen=True)
class Mark:
    """A point in the life of a machine: what came before is not the current test's business.

    Attributes:
        console: number of characters of the console.
        journal: cursor of the last journal entry, or None for everything.
        audit: number of bytes of the audit log.
        failed_units: those that had failed already.
    """

    console: int = 0
    journal: str | None = None
    audit: int = 0
    failed_units: frozenset[str] = frozenset()


BOOT = Mark()
"""The first boot: everything counts."""


def mark(machine: Machine) -> Mark:
    """Take the mark of a machine that other tests have used before."""
    return Mark(
        console=len(machine.console()),
        journal=machine.cursor(),
        audit=machine.audit_size(),
        failed_units=frozenset(machine.failed_units()),
    )


def examine(machine: Machine, since: Mark = BOOT) -> list[checks.Finding]:
    """Return what the machine shows since the mark; of a machine that is lost, what reached this host."""
    console = machine.console(since.console)
    failed: set[str] = set()
    audit: list[str] = []
    try:
        failed = set(machine.failed_units()) - since.failed_units
        audit = machine.audit_log(since.audit)
        entries = machine.journal(since=since.journal)
    except (MachineLost, CommandFailed, CommandTimeout):
        entries = machine.journal_on_host(since=since.journal)
    journal = [entry.fields for entry in entries]
    return checks.check_machine(console=console, journal=journal, audit=audit, failed=failed)
