"""The SSH connection of a machine over its whole life: made, lost, explained, made anew after a reboot."""

from __future__ import annotations

import contextlib
import shlex
import threading
from dataclasses import dataclass, field, fields, replace
from typing import IO, TYPE_CHECKING, TypeVar

from kola.command import CommandResult, Line, TimedOutCommand
from kola.doorbell import Doorbell
from kola.errors import CommandTimeout, Loss, MachineLost, WaitTimeout, machine_lost
from kola.journal import JournalFile, render, telling
from kola.keys import add_known_host
from kola.ssh import Connection, ConnectionLost
from kola.text import block, last_lines
from kola.transport import LoginRefused
from kola.wait import Deadline, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from kola.keys import KeyPair
    from kola.platform import Instance

T = TypeVar("T")
_LOOK_INTERVAL = 0.25
"""Seconds between two looks at whether a machine that does not answer yet is still alive."""
_REFUSED_INTERVAL = 5.0
"""Seconds between two logins that are refused, from the second on: as long as the penalty of OpenSSH 9.8 for one
(``PerSourcePenalties``), so that they do not add up until sshd hangs up on us for minutes."""
_STILL_UP = " (it has not gone down yet)"
_BELL_INTERVAL = 0.01
"""Seconds between two waits for it to answer."""
LAST_LINES = 20
"""Lines of console and journal in a failure message."""


@dataclass(frozen=True)
class Limits:
    """Default time limits in seconds on a fast machine; see ``scaled``."""

    command: float = 60.0
    transfer: float = 600.0
    boot: float = 120.0
    unit: float = 60.0
    handshake: float = 10.0
    """One attempt to log in."""
    reconnect: float = 15.0
    """Finding a machine again whose connection broke between two commands."""
    explain: float = 3.0
    """How long to wait for the platform to say why a connection broke."""
    journal: float = 5.0
    """Until what the machine has logged is on this host."""
    diagnosis: float = 5.0
    """A command that only adds to a failure message."""

    def scaled(self, slowness: float) -> Limits:
        """Return them for a machine that is so many times slower."""
        return Limits(**{limit.name: getattr(self, limit.name) * slowness for limit in fields(self)})


@dataclass(frozen=True)
class Access:
    """How to log in to a machine.

    Attributes:
        user: who logs in; has sudo without a password.
        client_key: the run's.
        host_key: public line of the machine's own host key.
        key_file: ``client_key``'s private half, for a person's ``ssh -i``.
        known_hosts: for a person's ``ssh``; the machine's line is added when it is needed.
    """

    user: str
    client_key: KeyPair = field(repr=False)
    host_key: str
    key_file: Path
    known_hosts: Path

    def command(self, address: str, port: int) -> str:
        """Return the command by which a person logs in, ready to be pasted; the host's key is known then."""
        add_known_host(self.known_hosts, address, port, self.host_key)
        return shlex.join(
            [
                *("ssh", "-i", str(self.key_file), "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes"),
                *("-o", f"UserKnownHostsFile={self.known_hosts}", "-p", str(port), f"{self.user}@{address}"),
            ]
        )


def ignore_progress(what: str, elapsed: float) -> None:
    """Tell nobody what is being waited for."""


class Link:
    """Runs commands on a machine; what breaks comes out as ``MachineLost`` with a reason.

    Args:
        instance: the machine.
        access: how to log in.
        limits: scaled already.
        artifacts: folder named in errors.
        progress: called with what is being waited for and the seconds since the waiting began, several times a second.
    """

    def __init__(
        self,
        instance: Instance,
        access: Access,
        *,
        limits: Limits,
        artifacts: Path | None = None,
        progress: Callable[[str, float], None] = ignore_progress,
    ) -> None:
        self.instance = instance
        self.access = access
        self.limits = limits
        self.artifacts = artifacts
        self.journal_file = JournalFile(instance.journal_path) if instance.journal_path else None
        self.boot_id = ""
        self._progress = progress
        self._age = Deadline(0)
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    @property
    def alive(self) -> bool:
        """Whether there is a connection that is not known to be broken."""
        return self._connection is not None and self._connection.alive

    def close(self) -> None:
        """Disconnect. Idempotent."""
        if self._connection is not None:
            self._connection.close()

    def raise_if_lost(self) -> None:
        """Ask the platform whether the machine is still of use.

        Raises:
            MachineLost: it is not; says why.
        """
        loss = self.instance.lost()
        if loss is not None:
            raise self.lost(loss)

    def lost(self, loss: Loss) -> MachineLost:
        """Return the error for a loss of this machine."""
        return machine_lost(self.instance.name, loss, elapsed=self._age.elapsed, artifacts=self.artifacts)

    def connect(self, deadline: Deadline, *, what: str = "SSH", unlike: str = "") -> None:
        """Wait until SSH answers, and keep the connection.

        Args:
            deadline: how long to wait.
            what: is being waited for.
            unlike: a boot_id; a machine that still shows it has not rebooted yet, and is asked again.

        Raises:
            MachineLost: the platform says that the machine died (at once), or the deadline passed.
            HostKeyMismatch: another machine answers there.
        """
        self.close()
        bell = Doorbell(self.instance.address, self.instance.port, signals=self.instance.ready_signals)
        why = ""
        rest, refused = Deadline(0), 0

        def attempt() -> bool:
            nonlocal why, rest, refused
            if not rest.expired:
                return False
            self.raise_if_lost()
            sock = bell.answered(min(_LOOK_INTERVAL, deadline.remaining))
            if sock is None:
                why = why if why != _STILL_UP else ""
                return False
            rest = Deadline(_LOOK_INTERVAL)  # until the next attempt, if this one comes to nothing
            limit, access = self.limits.handshake, self.access
            try:
                connection = Connection.over(sock, access.user, access.client_key, access.host_key, timeout=limit)
            except ConnectionLost as e:
                why = f" ({e})"
                refused += isinstance(e, LoginRefused)
                if isinstance(e, LoginRefused) and refused > 1:
                    rest = Deadline(_REFUSED_INTERVAL)
                return False
            try:
                boot_id = connection.boot_id(timeout=limit, watch=self.raise_if_lost).strip()
            except (ConnectionLost, CommandTimeout) as e:
                why = f" ({str(e).splitlines()[0]})"
                boot_id = ""
            except BaseException:
                connection.close()
                raise
            if boot_id in {"", unlike}:
                why = _STILL_UP if boot_id else why
                connection.close()
                return False
            self._connection, self.boot_id = connection, boot_id
            return True

        try:
            wait_until(
                attempt, deadline, what=what, interval=_BELL_INTERVAL,
                progress=lambda elapsed: self._progress(f"waiting for {what}{why}", elapsed),
            )  # fmt: skip
        except WaitTimeout:
            summary = f"no {what} within {deadline.seconds:.0f} s{why}"
            raise self.lost(Loss("timeout", summary, self.last_words())) from None
        finally:
            bell.close()

    def usable(self) -> Connection:
        """Return the connection; a broken one is made anew, if the machine is still in the same boot.

        Raises:
            MachineLost: there is none any more, or the machine has rebooted without being told to.
        """
        with self._lock:
            if self._connection is None:
                self.connect(Deadline(self.limits.boot))
            elif not self._connection.alive:
                before = self.boot_id
                self.connect(Deadline(self.limits.reconnect))
                if self.boot_id != before:
                    summary = f"it rebooted on its own (boot_id was {before}, is {self.boot_id})"
                    raise self.lost(Loss("ssh", summary, self.last_words()))
            assert self._connection is not None  # noqa: S101 - for the type checker
            return self._connection

    def execute(
        self,
        line: str | Line,
        *,
        shown: str,
        timeout: float,
        input: bytes | IO[bytes] = b"",  # noqa: A002 - as in subprocess.run
        output: IO[bytes] | None = None,
    ) -> CommandResult:
        """Run a line in the login shell; ``shown`` is the command in results and errors.

        Raises:
            TimedOutCommand: it did not end in time; shows console, journal and queued jobs.
            MachineLost: the machine died or the connection broke.
        """
        watch = self.raise_if_lost
        with self._explained([_login(line)], [shown]):
            result = self._twice(lambda c: c.run(line, input=input, output=output, timeout=timeout, watch=watch))
        return replace(result, command=shown)

    def execute_many(
        self, lines: Sequence[Line], *, shown: Sequence[str], stop: bool, timeout: float
    ) -> list[CommandResult]:
        """Run lines one after the other; ``Connection.run_many`` with the errors of ``execute``."""
        with self._explained([line.login for line in lines], shown):
            results = self._twice(lambda c: c.run_many(lines, stop=stop, timeout=timeout, watch=self.raise_if_lost))
        return [replace(result, command=name) for result, name in zip(results, shown, strict=False)]

    def _twice(self, work: Callable[[Connection], T]) -> T:
        """Do something over the connection; once more if it broke before, which nobody had noticed yet."""
        try:
            return work(self.usable())
        except ConnectionLost as e:
            if e.sent or self.alive:
                raise
            return work(self.usable())

    @contextlib.contextmanager
    def _explained(self, lines: Sequence[str], shown: Sequence[str]) -> Iterator[None]:
        """Turn errors of the connection into those of the machine, with the commands as they are shown."""
        try:
            yield
        except ConnectionLost as e:
            raise self._explain("; ".join(shown)) from e
        except TimedOutCommand as e:
            notes = (*e.notes, *self._circumstances())
            names = dict(zip(lines, shown, strict=True))
            result = replace(e.result, command=names.get(e.result.command, e.result.command))
            raise TimedOutCommand(self.instance.name, result, notes) from None

    def _explain(self, shown: str) -> MachineLost:
        """Find out why the connection broke: the platform knows it a moment later."""
        with contextlib.suppress(WaitTimeout):
            wait_until(self.instance.lost, self.limits.explain)
        loss = self.instance.lost()
        return self.lost(loss or Loss("ssh", f"SSH connection lost during: {shown}", self.last_words()))

    def last_words(self, lines: int = LAST_LINES) -> tuple[str, ...]:
        """Return the end of console and journal as far as it is on this host."""
        console = last_lines(self.instance.console(), lines)
        entries = [] if self.journal_file is None else telling(self.journal_file.entries(), lines)
        return (
            *(["last lines of the console:", *console] if console else []),
            *(["last lines of the journal:", *(entry.short() for entry in entries)] if entries else []),
        )

    def _circumstances(self) -> tuple[str, ...]:
        console = "\n".join(last_lines(self.instance.console(), LAST_LINES))
        journal = "" if self.journal_file is None else render(telling(self.journal_file.entries(), LAST_LINES))
        if not journal:
            journal = self._ask(f"journalctl --no-pager -o short-precise -n {LAST_LINES}")
        return (
            block("last lines of the console", console),
            block("last lines of the journal", journal),
            block("queued jobs", self._ask("systemctl list-jobs --no-pager")),
        )

    def _ask(self, command: str) -> str:
        """Return the output of a command that only adds to a failure message."""
        try:
            result = self.usable().run(f"exec {command}", timeout=self.limits.diagnosis, watch=self.raise_if_lost)
        except (ConnectionLost, CommandTimeout, MachineLost) as e:
            return f"not available: {str(e).splitlines()[0]}"
        return result.stdout + result.stderr


def _login(line: str | Line) -> str:
    return line if isinstance(line, str) else line.login
