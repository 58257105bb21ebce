"""One persistent SSH connection to a machine, and commands over it.

A command runs in a shell that stays (``kola.shell``), one for the user who logs in and one for root, or, when that is
busy or has too much input to take, on a channel of its own.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import socket
import threading
from typing import IO, TYPE_CHECKING

from kola.channel import Channel, ConnectionLost
from kola.command import CommandResult, Line, TimedOutCommand
from kola.errors import KolaError, WaitTimeout
from kola.killing import kill_line, marked
from kola.shell import FRAMES, Greeting, Shell, with_input
from kola.transport import HostKeyMismatch, open_transport
from kola.wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kola.channel import Sink
    from kola.keys import KeyPair
    from kola.wire import Transport

__all__ = ["CHANNELS", "Connection", "ConnectionLost", "HostKeyMismatch"]

CHANNELS = 7
"""Channels at once for commands that no shell takes: sshd's default ``MaxSessions`` is 10, two shells stay, and one
channel is needed to end a command."""
SMALL_INPUT = 4 << 10
"""Bytes of standard input that still go to a shell, inside the command."""


class _Place:
    """Where a shell is kept.

    Attributes:
        lock: held by who uses it.
        shell: None before the first use.
        refused: there is none to be had on this connection.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.shell: Shell | None = None
        self.refused = False


class Connection:
    """One SSH connection; several threads may run commands at once. Use ``open`` to make one, and ``close`` it."""

    def __init__(self, transport: Transport, peer: str, user: str) -> None:
        self.peer = peer
        self.user = user
        self._transport = transport
        self._free = threading.BoundedSemaphore(CHANNELS)
        self._shells = {False: _Place(), True: _Place()}  # by whether it is root's

    @classmethod
    def open(cls, address: str, port: int, user: str, key: KeyPair, host_key: str, *, timeout: float) -> Connection:
        """Connect and authenticate.

        Args:
            address: name or IP address.
            port: TCP port.
            user: who logs in.
            key: the client's key.
            host_key: public line of the only host key that is accepted.
            timeout: seconds for each step: connecting, banner, key exchange, authentication.

        Raises:
            HostKeyMismatch: another host key.
            ConnectionLost: nobody there, no answer in time, or the login was refused.
        """
        try:
            sock = socket.create_connection((address, port), timeout)
        except OSError as e:
            raise ConnectionLost(f"{address} port {port}: {e}") from e
        return cls.over(sock, user, key, host_key, timeout=timeout)

    @classmethod
    def over(cls, sock: socket.socket, user: str, key: KeyPair, host_key: str, *, timeout: float) -> Connection:
        """Like ``open``, on a connected TCP socket, which is closed with the connection."""
        peer = "{} port {}".format(*sock.getpeername()[:2])
        return cls(open_transport(sock, peer, user, key, host_key, timeout=timeout), peer, user)

    @property
    def alive(self) -> bool:
        """False once the connection is known to be gone; True says little about a machine that hangs."""
        return self._transport.is_active()

    def close(self) -> None:
        """End the connection and every command that still runs over it. Idempotent."""
        self._transport.close()

    def boot_id(self, *, timeout: float, watch: Callable[[], None] | None = None) -> str:
        """Return the machine's boot_id; also starts the login user's shell, which says it by the way.

        Raises:
            TimedOutCommand: no answer in time.
            ConnectionLost: the connection broke.
        """
        deadline = Deadline(timeout)
        place = self._shells[False]
        with place.lock:
            try:
                greeting = self._greeting(place, deadline, watch, root=False)
            except WaitTimeout:
                raise TimedOutCommand(self.peer, CommandResult("bash", "", "", -1, deadline.elapsed)) from None
        return greeting.boot_id if greeting else self.run(_BOOT_ID, timeout=deadline.remaining, watch=watch).stdout

    def run(
        self,
        command: str | Line,
        *,
        input: bytes | IO[bytes] = b"",  # noqa: A002 - as in subprocess.run
        output: IO[bytes] | None = None,
        timeout: float,
        watch: Callable[[], None] | None = None,
    ) -> CommandResult:
        """Run a command in a shell of the user's and wait until it has ended and its output is closed.

        It starts with the environment, working folder and so on that this connection's first command had. When it does
        not end in time its processes are killed on the machine too: what it started, and all process groups and
        sessions (setsid) that hold a process with this command's token in its environment, so also what ``sudo``
        started. Out of reach are services and containers that it asked others to start, what dropped both its process
        group and its environment, and everything when the machine hangs.

        Args:
            command: what the shell gets. In a line that does not replace the shell (``exec ...``) ``$$`` is not the
                command's own process.
            input: its standard input, closed after that; what it does not read is dropped.
            output: takes standard output as it comes; the result's ``stdout`` is empty then.
            timeout: seconds.
            watch: called every half second while waiting; what it raises ends the waiting and goes to the caller.

        Raises:
            TimedOutCommand: it did not end in time.
            ConnectionLost: the connection broke.
        """
        job = _Job(command if isinstance(command, Line) else Line(command), output)
        deadline = Deadline(timeout)
        if isinstance(input, bytes) and job.fits(input):
            with self._shell([job], deadline, watch, stop=False, source=input) as shell:
                if shell is not None:
                    return self._result(shell, job, deadline, watch)
        return self._run_alone(job, input, deadline, watch)

    def run_many(
        self, commands: Sequence[Line], *, stop: bool, timeout: float, watch: Callable[[], None] | None = None
    ) -> list[CommandResult]:
        """Run commands one after the other, all by the same user: in one round trip if the shell is free.

        Args:
            commands: what the shell gets.
            stop: at the first whose exit code is not 0; the results end with that one's.
            timeout: seconds for each.
            watch: as for ``run``.

        Raises:
            TimedOutCommand: one did not end in time; those behind it do not run.
            ConnectionLost: the connection broke.
        """
        results: list[CommandResult] = []

        def stopped() -> bool:
            return stop and bool(results) and results[-1].exit_code != 0

        while len(results) < len(commands) and not stopped():
            jobs = _fitting(commands[len(results) :])
            if not jobs:
                results.append(self._run_alone(_Job(commands[len(results)], None), b"", Deadline(timeout), watch))
                continue
            with self._shell(jobs, Deadline(timeout), watch, stop=stop) as shell:
                for job in jobs:
                    if shell is None:
                        results.append(self._run_alone(job, b"", Deadline(timeout), watch))
                    elif not shell.over:
                        result = self._result(shell, job, Deadline(timeout), watch)
                        results += [] if stopped() else [result]
                    if shell is None and stopped():
                        break
        return results

    # -- in a shell that stays ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _shell(
        self,
        jobs: Sequence[_Job],
        deadline: Deadline,
        watch: Callable[[], None] | None,
        *,
        stop: bool,
        source: bytes = b"",
    ) -> Iterator[Shell | None]:
        """Give commands to the shell, whose replies are to be fetched; None if it is busy or there is none.

        Whoever leaves by an error leaves no shell behind.
        """
        root = bool(jobs[0].line.root)
        place = self._shells[root]
        if not place.lock.acquire(blocking=False):
            yield None
            return
        try:
            try:
                self._greeting(place, deadline, watch, root=root)
            except WaitTimeout:
                raise TimedOutCommand(self.peer, jobs[0].result(-1, deadline), (_NEVER_BEGAN,)) from None
            shell = place.shell
            if shell is not None:
                try:
                    shell.send([with_input(job.shell_line, source) for job in jobs], stop=stop)
                except ConnectionLost:  # it died when nobody looked
                    shell.close()
                    shell = None
            try:
                yield shell
            except BaseException:
                if shell is not None:
                    shell.close()
                raise
        finally:
            place.lock.release()

    def _greeting(
        self, place: _Place, deadline: Deadline, watch: Callable[[], None] | None, *, root: bool
    ) -> Greeting | None:
        """Start the shell unless it is there, and return what it says of itself."""
        if place.refused:
            return None
        if place.shell is None or not place.shell.alive:
            place.shell = Shell(self._transport, self.peer, deadline.remaining, root=root)
        try:
            greeting = place.shell.greet(deadline, watch)
        except BaseException:
            place.shell.close()
            place.shell = None
            raise
        if greeting is None:
            place.shell.close()
            place.shell, place.refused = None, True
        return greeting

    def _result(self, shell: Shell, job: _Job, deadline: Deadline, watch: Callable[[], None] | None) -> CommandResult:
        """Return what came of the next command that the shell was given, or left out after one that failed."""
        try:
            exit_code = shell.reply(job.out, job.err, deadline, watch)
        except WaitTimeout:
            notes = self._end(job.token, shell.left_code, *shell.to_kill)
            raise TimedOutCommand(self.peer, job.result(shell.left_code, deadline), notes) from None
        if exit_code < 0:
            raise self._broke(job)
        return job.result(exit_code, deadline)

    # -- on a channel of its own -------------------------------------------------------------------------------------

    def _run_alone(
        self, job: _Job, source: bytes | IO[bytes], deadline: Deadline, watch: Callable[[], None] | None
    ) -> CommandResult:
        if not self._free.acquire(timeout=deadline.remaining):
            note = f"{_NEVER_BEGAN}: {CHANNELS} other commands are running on this connection"
            raise TimedOutCommand(self.peer, job.result(-1, deadline), (note,))
        line = marked(job.line.login, job.token)
        channel = Channel(self._transport, self.peer, line, source, deadline.remaining)
        try:
            channel.finish(job.out, job.err, deadline, watch)
        except WaitTimeout:
            channel.close()
            notes = self._end(job.token, channel.exit_code)
            raise TimedOutCommand(self.peer, job.result(channel.exit_code, deadline), notes) from None
        finally:
            channel.close()
            self._free.release()
        if channel.exit_code < 0:
            raise self._broke(job)
        return job.result(channel.exit_code, deadline)

    def _broke(self, job: _Job) -> ConnectionLost:
        return ConnectionLost(f"{self.peer}: the connection broke before the command ended: {job.line.login}")

    def _end(self, token: str, exit_code: int, shell: str = "", spared: str = "") -> tuple[str, ...]:
        """Kill what is left of a command, and say what is known of it."""
        notes = []
        if exit_code >= 0:
            notes.append(f"  it ended with exit code {exit_code}, but a child of it holds its output open")
        line = kill_line(token, shell=shell, spared=spared)
        killer = Channel(self._transport, self.peer, line, b"", _KILL_SECONDS)
        try:
            killer.finish(io.BytesIO(), io.BytesIO(), Deadline(_KILL_SECONDS), None)
        except KolaError:
            pass  # said below
        finally:
            killer.close()
        notes.append("  its processes were killed" if killer.exit_code == 0 else "  its processes may still be running")
        return tuple(notes)


_KILL_SECONDS = 15.0
_BOOT_ID = "exec cat /proc/sys/kernel/random/boot_id"
_NEVER_BEGAN = "  it never began"


class _Job:
    """One command on its way: its token, and where its output goes."""

    def __init__(self, line: Line, output: IO[bytes] | None) -> None:
        self.line = line
        self.token = secrets.token_hex(8)
        self._kept = io.BytesIO()
        self.out: Sink = self._kept if output is None else output
        self.err = io.BytesIO()

    @property
    def shell_line(self) -> str:
        """What a shell that stays gets."""
        return marked(self.line.root or self.line.login, self.token)

    def fits(self, source: bytes = b"") -> bool:
        """Whether a shell takes it: not too long, no null byte, and little input or none."""
        if source and not (self.line.replaces and len(source) <= SMALL_INPUT):
            return False
        return self.size < FRAMES and "\0" not in self.shell_line

    @property
    def size(self) -> int:
        """Characters that it takes at most, with what frames it."""
        return 4 * len(self.shell_line.encode()) + 32

    def result(self, exit_code: int, deadline: Deadline) -> CommandResult:
        stdout, stderr = (stream.getvalue().decode(errors="replace") for stream in (self._kept, self.err))
        return CommandResult(self.line.login, stdout, stderr, exit_code, deadline.elapsed)


def _fitting(lines: Sequence[Line]) -> list[_Job]:
    """Return the first of these commands, as many as a shell takes at once."""
    jobs: list[_Job] = []
    room = FRAMES
    for line in lines:
        job = _Job(line, None)
        room -= job.size
        if not job.fits() or room < 0:
            break
        jobs.append(job)
    return jobs
