"""Is this machine still well? Reads its logs since a mark and lets ``kola.checks`` judge them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola import checks, units
from kola.errors import CommandFailed, CommandTimeout, MachineLost
from kola.logs import last_cursor, without_own

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


@dataclass(frozen=True)
class Examination:
    """What a look at a machine gave.

    Attributes:
        findings: what it shows since the mark.
        mark: where this look ended and the next one is to begin. Nothing falls between two looks: what happens while
            nobody uses the machine is found by the next.
    """

    findings: list[checks.Finding]
    mark: Mark


def examine(machine: Machine, since: Mark = BOOT) -> Examination:
    """Look at what the machine shows since the mark, in one round trip; of one that is lost, what reached this host."""
    console = machine.console(since.console)
    logs, token = machine.logs, secrets.token_hex(8)
    failed, audit, audit_size = since.failed_units, list[str](), since.audit
    commands = [units.FAILED, logs.audit_command(since.audit), logs.sync_command(token)]
    try:
        listed, audited, *synced = machine.run_many([c for c in commands if c], check=False, sudo=True)
        failed = units.names(logs.checked(listed))
        audit, audit_size = logs.audit_after(since.audit, audited)
        for result in synced:
            logs.checked(result)
        entries = logs.after_sync(token, since.journal)
    except (MachineLost, CommandFailed, CommandTimeout):
        entries = machine.journal_on_host(since=since.journal)
    findings = checks.check_machine(
        console=console,
        journal=[entry.fields for entry in without_own(entries)],
        audit=audit,
        failed=failed - since.failed_units,
    )
    mark = Mark(since.console + len(console), last_cursor(entries, since.journal), audit_size, failed)
    return Examination(findings, mark)
