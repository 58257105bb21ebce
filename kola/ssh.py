"""One persistent SSH connection to a machine, and commands over it.

Every command is a channel of one transport. Its way out (open, exec, stdin) runs in a thread of its own, because
paramiko can block there for ever when the machine hangs; the caller's thread only reads, and watches the deadline.
"""

from __future__ import annotations

import base64
import io
import logging
import secrets
import shlex
import signal
import socket
import threading
from typing import IO, TYPE_CHECKING, ClassVar

import paramiko
from paramiko.common import MSG_CHANNEL_REQUEST

from kola.command import CommandResult, TimedOutCommand
from kola.errors import ConfigError, KolaError, WaitTimeout
from kola.wait import Deadline, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from kola.keys import KeyPair

KEEPALIVE = 15.0
"""Seconds of silence after which something is sent, so that a dead network is noticed."""
DEAD_PEER = 60.0
"""Seconds after which the host's kernel gives up on a peer that acknowledges nothing."""
WATCH_INTERVAL = 0.5
"""Seconds between two looks at whether the machine is still alive, during a command."""
CHANNELS = 9
"""Commands at once on one connection: sshd's default ``MaxSessions`` is 10, and one is needed to end a command."""
WINDOW = 8 << 20
"""Bytes that the machine may send ahead on a channel."""
PLACE = 10.0
"""Seconds that a command may wait for sshd to take it."""
CHUNK = 64 << 10
"""Bytes of standard input sent at once."""
CIPHERS = ("aes128-gcm@openssh.com", "aes128-ctr", "aes256-ctr")
"""AES-GCM authenticates by itself: one call into the crypto library a packet instead of two."""
TOKEN = "KOLA_COMMAND"  # noqa: S105 - the name of an environment variable
"""Names the environment variable by which a command's processes are found when they have to be ended."""

# Failed connections are normal while a machine boots; paramiko would print a traceback for each.
_LOG = "kola.ssh.transport"
logging.getLogger(_LOG).setLevel(logging.CRITICAL)


class ConnectionLost(KolaError):
    """The connection broke, or there is none.

    Attributes:
        sent: whether the command may have run.
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        self.sent = sent
        super().__init__(message)


class HostKeyMismatch(KolaError):
    """Something else than the expected machine answered."""


class Connection:
    """One SSH connection; several threads may run commands at once. Use ``open`` to make one, and ``close`` it."""

    def __init__(self, transport: paramiko.Transport, peer: str, user: str) -> None:
        self.peer = peer
        self.user = user
        self._transport = transport
        self._free = threading.BoundedSemaphore(CHANNELS)

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
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else every channel stalls for 40 ms
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(DEAD_PEER * 1000))
        transport = _Transport(sock, default_window_size=WINDOW)
        transport.set_log_channel(_LOG)
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = timeout
        options = transport.get_security_options()
        options.ciphers = CIPHERS
        options.key_types = ("ssh-ed25519",)
        try:
            transport.start_client(timeout=timeout)
            _check_host_key(transport.get_remote_server_key(), host_key, peer)
            transport.auth_publickey(user, paramiko.Ed25519Key.from_private_key(io.StringIO(key.private)))
            transport.set_keepalive(KEEPALIVE)
        except paramiko.AuthenticationException as e:
            transport.close()
            raise ConnectionLost(f"{peer}: {user} may not log in (yet): {e}") from e
        except (paramiko.SSHException, OSError, EOFError) as e:
            transport.close()
            raise ConnectionLost(f"{peer}: {_words(e)}") from e
        except BaseException:
            transport.close()
            raise
        return cls(transport, peer, user)

    @property
    def alive(self) -> bool:
        """False once the connection is known to be gone; True says little about a machine that hangs."""
        return self._transport.is_active()

    def close(self) -> None:
        """End the connection and every command that still runs over it. Idempotent."""
        self._transport.close()

    def run(
        self,
        command: str,
        *,
        input: bytes | IO[bytes] = b"",  # noqa: A002 - as in subprocess.run
        output: IO[bytes] | None = None,
        timeout: float,
        watch: Callable[[], None] | None = None,
    ) -> CommandResult:
        """Run a command in the user's login shell and wait until it has ended and its output is closed.

        When it does not end in time its processes are killed on the machine too: all sessions (setsid) that hold a
        process with this command's token in its environment, so also what ``sudo`` started without a terminal. Out of
        reach are services and containers that it asked others to start, what dropped both its session and its
        environment, and everything when the machine hangs.

        Args:
            command: what the login shell gets.
            input: its standard input, closed after that; what it does not read is dropped.
            output: takes standard output as it comes; the result's ``stdout`` is empty then.
            timeout: seconds.
            watch: called every half second while waiting; what it raises ends the waiting and goes to the caller.

        Raises:
            TimedOutCommand: it did not end in time.
            ConnectionLost: the connection broke.
        """
        deadline = Deadline(timeout)
        token = secrets.token_hex(8)
        out, err = io.BytesIO(), io.BytesIO()

        def result(exit_code: int) -> CommandResult:
            stdout, stderr = (stream.getvalue().decode(errors="replace") for stream in (out, err))
            return CommandResult(command, stdout, stderr, exit_code, deadline.elapsed)

        if not self._free.acquire(timeout=timeout):
            note = f"  it never began: {CHANNELS} other commands are running on this connection"
            raise TimedOutCommand(self.peer, result(-1), (note,))
        exchange = _Exchange(self._transport, self.peer, f"export {TOKEN}={token}; {command}", input, timeout)
        try:
            exchange.finish(out if output is None else output, err, deadline, watch)
        except WaitTimeout:
            exchange.close()
            raise TimedOutCommand(self.peer, result(exchange.exit_code), self._end(token, exchange)) from None
        finally:
            exchange.close()
            self._free.release()
        if exchange.exit_code < 0:
            raise ConnectionLost(f"{self.peer}: the connection broke before the command ended: {command}")
        return result(exchange.exit_code)

    def _end(self, token: str, exchange: _Exchange) -> tuple[str, ...]:
        """Kill what is left of a command, and say what is known of it."""
        notes = []
        if exchange.exit_code >= 0:
            notes.append(f"  it ended with exit code {exchange.exit_code}, but a child of it holds its output open")
        line = f"exec bash -c {shlex.quote(_KILL)} kola {token}"
        killer = _Exchange(self._transport, self.peer, line, b"", _KILL_SECONDS)
        try:
            killer.finish(io.BytesIO(), io.BytesIO(), Deadline(_KILL_SECONDS), None)
        except KolaError:
            pass  # said below
        finally:
            killer.close()
        notes.append("  its processes were killed" if killer.exit_code == 0 else "  its processes may still be running")
        return tuple(notes)


_KILL_SECONDS = 15.0

_KILL = r"""
if [ "$(id -u)" != 0 ] && sudo -n true 2>/dev/null; then exec sudo -n bash -c "$BASH_EXECUTION_STRING" kola "$1"; fi
session() { local s; { read -r s <"/proc/$1/stat"; } 2>/dev/null && set -- ${s##*) } && REPLY=$4; }
for attempt in 1 2 3 4 5; do
    doomed=' '
    for file in $(grep -lszFf - /proc/[0-9]*/{environ,cmdline} <<<"KOLA_COMMAND=$1"); do
        pid=${file#/proc/}
        session "${pid%/*}" && doomed+="$REPLY "
    done
    [ "$doomed" = ' ' ] && exit 0
    for dir in /proc/[0-9]*; do
        session "${dir#/proc/}" && [[ $doomed == *" $REPLY "* ]] && kill -KILL "${dir#/proc/}"
    done
done 2>/dev/null
exit 1
"""
"""Kills every session that holds a process with the token in its environment, or in its command line (login shell).

$1 is the token; only grep's input spells out what is looked for, so that this script does not find itself.
"""


class _Transport(paramiko.Transport):
    """paramiko drops the message by which sshd says that a signal ended the command (RFC 4254, 6.10)."""

    @staticmethod
    def _on_request(channel: paramiko.Channel, message: paramiko.Message) -> None:
        start = message.packet.tell()
        if message.get_text() == "exit-signal":
            message.get_boolean()  # wants no reply
            number = getattr(signal, f"SIG{message.get_text()}", 0)
            channel.exit_status = 128 + number
            channel.status_event.set()
            return
        message.packet.seek(start)
        channel._handle_request(message)  # type: ignore[attr-defined]  # noqa: SLF001 - there is no public way

    _channel_handler_table: ClassVar = {
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]  # noqa: SLF001 - as above
        MSG_CHANNEL_REQUEST: _on_request,
    }


def _check_host_key(found: paramiko.PKey, wanted: str, peer: str) -> None:
    parts = wanted.split()
    if len(parts) < 2 or parts[0] != "ssh-ed25519":  # noqa: PLR2004 - type and key
        raise ConfigError(f"host key of {peer}: expected a line 'ssh-ed25519 AAAA...', got {wanted[:40]!r}")
    if found.asbytes() != base64.b64decode(parts[1]):
        raise HostKeyMismatch(
            f"{peer} shows another host key than the machine was given: {found.get_name()} {found.get_base64()}, "
            f"expected {parts[1]}"
        )


def _words(error: Exception) -> str:
    return "closed by the other end" if isinstance(error, EOFError) else str(error) or type(error).__name__


class _Wake(threading.Event):
    """Set by paramiko when a stream of a channel has data or ends.

    It is shared by both streams, so neither may clear it: paramiko does so when one of them is empty.
    """

    def clear(self) -> None:
        pass

    def rearm(self) -> None:
        super().clear()


class _Exchange:
    """One command: sends it and its input from a thread, receives in the caller's."""

    def __init__(
        self, transport: paramiko.Transport, peer: str, line: str, source: bytes | IO[bytes], timeout: float
    ) -> None:
        self._transport = transport
        self._peer = peer
        self._line = line
        self._source = io.BytesIO(source) if isinstance(source, bytes) else source
        self._timeout = timeout
        self._wake = _Wake()
        self._channel: paramiko.Channel | None = None
        self._error: Exception | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._send, name="kola-ssh-send", daemon=True).start()

    @property
    def exit_code(self) -> int:
        """-1 as long as there is none."""
        return -1 if self._channel is None else self._channel.exit_status

    def close(self) -> None:
        self._closed.set()
        if self._channel is not None:
            self._channel.close()

    def _send(self) -> None:
        try:
            channel = self._open()
            while chunk := self._source.read(CHUNK):
                try:
                    channel.sendall(chunk)
                except OSError:  # it ended, or closed its input, without reading everything
                    break
            channel.shutdown_write()
        except Exception as e:  # noqa: BLE001 - raised again in the caller's thread
            self._error = e
        finally:
            self._wake.set()

    def _open(self) -> paramiko.Channel:
        sent = False
        try:
            # More than one attempt: sshd frees the place of a command that has ended only a moment later.
            channel = wait_until(self._session, min(self._timeout, PLACE), what="a free channel", interval=0.05)
            assert channel is not None  # noqa: S101 - for the type checker
            channel.in_buffer.set_event(self._wake)
            channel.in_stderr_buffer.set_event(self._wake)
            self._channel = channel
            if self._closed.is_set():  # the caller gave up meanwhile and did not see the channel
                channel.close()
            sent = True
            channel.exec_command(self._line)
        except (paramiko.SSHException, OSError, EOFError, WaitTimeout) as e:
            message = f"{self._peer}: the command could not be sent: {_words(e)}"
            raise ConnectionLost(message, sent=sent) from e
        return channel

    def _session(self) -> paramiko.Channel | None:
        try:
            return self._transport.open_session(timeout=self._timeout)
        except paramiko.SSHException:
            if self._closed.is_set() or not self._transport.is_active():
                raise
            return None  # refused

    def finish(self, out: IO[bytes], err: IO[bytes], deadline: Deadline, watch: Callable[[], None] | None) -> None:
        """Receive until both streams and the command have ended.

        Raises:
            WaitTimeout: the deadline passed.
            ConnectionLost: the command could not be sent.
            OSError: the input could not be read, or the output not be written.
        """

        def ended() -> bool:
            self._wake.rearm()
            return self._receive(out, err)

        while not ended():
            if deadline.expired:
                raise WaitTimeout("command")
            finished = self._channel is not None and (self._channel.eof_received or self._channel.closed)
            waiter = self._channel.status_event if finished and self._channel is not None else self._wake
            if not waiter.wait(min(WATCH_INTERVAL, deadline.remaining)) and watch is not None:
                watch()

    def _receive(self, out: IO[bytes], err: IO[bytes]) -> bool:
        """Take what has arrived; return whether that was all."""
        if self._error is not None:
            raise self._error
        channel = self._channel
        if channel is None:
            return False
        finished = channel.eof_received or channel.closed
        while channel.recv_ready():
            out.write(channel.recv(WINDOW))
        while channel.recv_stderr_ready():
            err.write(channel.recv_stderr(WINDOW))
        return bool(finished) and channel.status_event.is_set()
