"""What a machine has written: its serial console, its journal and its audit log."""

from __future__ import annotations

import io
import secrets
import shlex
from typing import TYPE_CHECKING

from kola import journal
from kola.command import FailedCommand, Line
from kola.errors import WaitTimeout
from kola.link import LAST_LINES, Link
from kola.text import block, last_lines
from kola.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kola.command import CommandResult
    from kola.journal import JournalEntry

AUDIT_LOG = "/var/log/audit/audit.log"
SYNC = "kola-sync"
"""Identifier of the entries by which kola finds out how far the journal has reached this host."""
SYNC_INTERVAL = 0.015
"""Seconds between two looks at whether such an entry has arrived."""


class Logs:
    """The logs of one machine; ``Machine`` has the same methods.

    Args:
        link: to the machine.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._journal_arrives = link.journal_file is not None

    def console(self, since: int = 0) -> str:
        """Return the serial console's output from that character on."""
        return self._link.instance.console()[since:]

    def describe(self, lines: int = LAST_LINES) -> str:
        """Return the end of console and journal for a failure message; works for a machine that is gone."""
        parts = [block("last lines of the console", "\n".join(last_lines(self.console(), lines)))]
        if self._link.journal_file is not None:
            last = journal.telling(self.journal_on_host(), lines)
            parts.append(block("last lines of the journal", journal.render(last)))
        return "\n".join(parts)

    # -- journal -----------------------------------------------------------------------------------------------------

    def journal(self, unit: str | None = None, since: str | None = None) -> list[JournalEntry]:
        """Return journal entries, oldest first; everything that was logged before the call is there."""
        return _select(self._all(since), unit, since)

    def journal_on_host(self, unit: str | None = None, since: str | None = None) -> list[JournalEntry]:
        """Like ``journal``, of what has reached this host; for a machine that is gone."""
        file = self._link.journal_file
        return _select([] if file is None else file.entries(), unit, since)

    def cursor(self) -> str | None:
        """Return the cursor of the newest journal entry, for ``journal(since=...)``."""
        return last_cursor(self._all(None))

    def sync_command(self, token: str) -> list[str]:
        """Return the command behind whose entry everything is there that was logged before; nothing if none helps."""
        # By a stream: journald takes it up no sooner than what already waits for it, the kernel's messages too.
        return ["systemd-cat", "-t", SYNC, "echo", token] if self._journal_arrives else []

    def after_sync(self, token: str, since: str | None) -> list[JournalEntry]:
        """Return all entries behind a cursor (own ones too), once the entry of ``sync_command`` has arrived."""
        file = self._link.journal_file
        if file is not None and self._journal_arrives:

            def arrived() -> bool:
                return any(entry.message == token for entry in reversed(journal.after(file.entries(), since)))

            try:
                wait_until(arrived, self._link.limits.journal, interval=SYNC_INTERVAL)
            except WaitTimeout:
                self._journal_arrives = False  # a machine without the channel: do not wait for it again
            else:
                return journal.after(file.entries(), since)
        seek = f" --after-cursor={shlex.quote(since)}" if since else ""
        output = self._read(f"journalctl --sync; exec journalctl --no-pager --quiet --all -o json{seek}")
        return journal.parse(output.decode(errors="replace"))

    def _all(self, since: str | None) -> list[JournalEntry]:
        token = secrets.token_hex(8)
        if command := self.sync_command(token):
            self._run(command)
        return self.after_sync(token, since)

    # -- audit log ---------------------------------------------------------------------------------------------------

    def audit_size(self) -> int:
        """Return the size of the audit log in bytes, for ``audit_log(since=...)``; 0 if there is none."""
        return int(self._run(f"stat -c %s {AUDIT_LOG} 2>/dev/null || echo 0").stdout)

    def audit_log(self, since: int = 0) -> list[str]:
        """Return the lines of the audit log from that byte on; none if there is no log.

        A log that is shorter than ``since`` has been rotated (auditd: ``max_log_file``): the rest of the old one is
        read too.
        """
        return _lines(
            self._read(["bash", "--norc", "-c", _AUDIT, "kola", AUDIT_LOG, str(since)]).decode(errors="replace")
        )

    @staticmethod
    def audit_command(since: int) -> list[str]:
        """Return the command whose result ``audit_after`` takes."""
        return ["tail", "-c", f"+{max(since, 1)}", AUDIT_LOG]  # from the line break before it, to know it again

    def audit_after(self, since: int, result: CommandResult) -> tuple[list[str], int]:
        """Return the lines of the audit log from a byte on, and its size; asks once more if it has been rotated.

        Args:
            since: as for ``audit_command``.
            result: of ``audit_command`` as root.
        """
        text = result.stdout
        if result.exit_code != 0 and not text:
            return [], 0
        if "\ufffd" in text or (since and not text.startswith("\n")):
            return self.audit_log(since), self.audit_size()
        return _lines(text.removeprefix("\n") if since else text), max(since - 1, 0) + len(text.encode())

    # -- commands ----------------------------------------------------------------------------------------------------

    def _line(self, command: str | Sequence[str]) -> Line:
        return Line.of(command, login=self._link.access.user, user="root")

    def _run(self, command: str | Sequence[str]) -> CommandResult:
        line = self._line(command)
        return self.checked(self._link.execute(line, shown=line.login, timeout=self._link.limits.command))

    def checked(self, result: CommandResult) -> CommandResult:
        """Return the result of a command that must not fail.

        Raises:
            FailedCommand: it did.
        """
        if result.exit_code != 0:
            raise FailedCommand(self._link.instance.name, result)
        return result

    def _read(self, command: str | Sequence[str]) -> bytes:
        """Run something whose output may be long."""
        output, line = io.BytesIO(), self._line(command)
        self.checked(self._link.execute(line, shown=line.login, output=output, timeout=self._link.limits.transfer))
        return output.getvalue()


def last_cursor(entries: Sequence[JournalEntry], default: str | None = None) -> str | None:
    """Return the cursor of the last entry, or the default if there is none."""
    return entries[-1].cursor if entries else default


def without_own(entries: Sequence[JournalEntry]) -> list[JournalEntry]:
    """Leave out kola's own entries."""
    return [entry for entry in entries if entry.identifier != SYNC]


def _select(entries: list[JournalEntry], unit: str | None, since: str | None) -> list[JournalEntry]:
    found = without_own(journal.after(entries, since))
    return found if unit is None else journal.of_unit(found, unit)


def _lines(text: str) -> list[str]:
    # Not splitlines(): the enriched format has \x1d, which that takes for the end of a line.
    return text.removesuffix("\n").split("\n") if text else []


_AUDIT = """\
[ -e "$1" ] || exit 0
if [ "$(stat -c %s "$1")" -lt "$2" ]; then
    [ ! -e "$1.1" ] || tail -c +$(($2 + 1)) "$1.1"
    exec cat "$1"
fi
exec tail -c +$(($2 + 1)) "$1"
"""
