"""One SSH channel with a command on it: opened, fed and read without ever blocking for longer than wanted.

Its way out (open, exec, input) runs in a thread of its own, because paramiko can block there for ever when the machine
hangs; the caller's thread only reads, and watches the deadline.
"""

from __future__ import annotations

import io
import threading
from typing import IO, TYPE_CHECKING, Protocol

import paramiko

from kola.errors import KolaError, WaitTimeout
from kola.wait import Deadline, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from kola.wire import Transport

WATCH_INTERVAL = 0.5
"""Seconds between two looks at whether the machine is still alive, during a command."""
WINDOW = 8 << 20
"""Bytes that the machine may send ahead on a channel."""
PLACE = 10.0
"""Seconds that a command may wait for sshd to take it."""
CHUNK = 64 << 10
"""Bytes of standard input sent at once."""


class ConnectionLost(KolaError):
    """The connection broke, or there is none.

    Attributes:
        sent: whether the command may have run.
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        self.sent = sent
        super().__init__(message)


class Sink(Protocol):
    """What takes a stream as it comes."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""


def words(error: Exception) -> str:
    """Return what an error of paramiko or of a socket says, for a person."""
    return "closed by the other end" if isinstance(error, EOFError) else str(error) or type(error).__name__


class _Wake(threading.Event):
    """Set by paramiko when a stream of a channel has data or ends.

    It is shared by both streams, so neither may clear it: paramiko does so when one of them is empty.
    """

    def clear(self) -> None:
        pass

    def rearm(self) -> None:
        super().clear()


class Channel:
    """A command line on a channel of its own.

    Args:
        transport: of the connection.
        peer: names the machine in errors.
        line: what the login shell gets.
        source: its standard input; what it does not read is dropped.
        timeout: seconds until the machine has taken the command.
        keep_input: leave the input open behind ``source``, for ``send``.
    """

    def __init__(
        self,
        transport: Transport,
        peer: str,
        line: str,
        source: bytes | IO[bytes],
        timeout: float,
        *,
        keep_input: bool = False,
    ) -> None:
        self._transport = transport
        self._peer = peer
        self._line = line
        self._source = io.BytesIO(source) if isinstance(source, bytes) else source
        self._timeout = timeout
        self._keep_input = keep_input
        self._wake = _Wake()
        self._channel: paramiko.Channel | None = None
        self._error: Exception | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._begin, name="kola-ssh-send", daemon=True).start()

    @property
    def exit_code(self) -> int:
        """-1 as long as there is none."""
        return -1 if self._channel is None else self._channel.exit_status

    @property
    def streams_ended(self) -> bool:
        """Whether nothing more arrives; what has arrived may still wait to be received."""
        return self._channel is not None and bool(self._channel.eof_received or self._channel.closed)

    def close(self) -> None:
        """End it as far as this host is concerned. Idempotent."""
        self._closed.set()
        if self._channel is not None:
            self._channel.close()

    def send(self, data: bytes) -> None:
        """Send more standard input, little enough for the window of a server that reads it.

        Raises:
            ConnectionLost: it cannot be sent (completely).
        """
        assert self._channel is not None  # noqa: S101 - for the type checker: it has answered before
        try:
            with self._transport.sending(self._channel):
                self._channel.sendall(data)
        except (paramiko.SSHException, OSError, EOFError) as e:
            raise ConnectionLost(f"{self._peer}: the command could not be sent: {words(e)}", sent=False) from e

    def _begin(self) -> None:
        try:
            channel = self._open()
            while chunk := self._source.read(CHUNK):
                try:
                    with self._transport.sending(channel):
                        channel.sendall(chunk)
                except OSError:  # it ended, or closed its input, without reading everything
                    break
            if not self._keep_input:
                with self._transport.sending(channel):
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
            message = f"{self._peer}: the command could not be sent: {words(e)}"
            raise ConnectionLost(message, sent=sent) from e
        return channel

    def _session(self) -> paramiko.Channel | None:
        try:
            return self._transport.open_session(timeout=self._timeout)
        except paramiko.SSHException:
            if self._closed.is_set() or not self._transport.is_active():
                raise
            return None  # refused

    def finish(self, out: Sink, err: Sink, deadline: Deadline, watch: Callable[[], None] | None) -> None:
        """Receive until both streams and the command have ended.

        Raises:
            WaitTimeout: the deadline passed.
            ConnectionLost: the command could not be sent.
            OSError: the input could not be read, or the output not be written.
        """
        self.wait(lambda: self.receive(out, err), deadline, watch)

    def wait(self, done: Callable[[], bool], deadline: Deadline, watch: Callable[[], None] | None) -> None:
        """Call ``done``, which receives, whenever something has arrived, until it returns True.

        Args:
            done: what it raises goes to the caller.
            deadline: of the waiting.
            watch: called every half second; what it raises goes to the caller.

        Raises:
            WaitTimeout: the deadline passed.
        """
        while True:
            self._wake.rearm()
            if done():
                return
            if deadline.expired:
                raise WaitTimeout("command")
            only_status = self._channel is not None and self.streams_ended
            waiter = self._channel.status_event if only_status and self._channel is not None else self._wake
            if not waiter.wait(min(WATCH_INTERVAL, deadline.remaining)) and watch is not None:
                watch()

    def receive(self, out: Sink, err: Sink) -> bool:
        """Take what has arrived; return whether that was all and the command has ended.

        Raises:
            ConnectionLost: the command could not be sent.
            OSError: the input could not be read, or the output not be written.
        """
        if self._error is not None:
            raise self._error
        channel = self._channel
        if channel is None:
            return False
        ended = self.streams_ended
        while channel.recv_ready():
            out.write(channel.recv(WINDOW))
        while channel.recv_stderr_ready():
            err.write(channel.recv_stderr(WINDOW))
        return ended and channel.status_event.is_set()
