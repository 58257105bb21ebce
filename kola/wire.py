"""paramiko's transport, with two of its gaps closed."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, ClassVar

import paramiko
from paramiko.common import MSG_CHANNEL_REQUEST

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator


class Transport(paramiko.Transport):
    """One connection.

    Args:
        sock: connected.
        window: bytes that the machine may send ahead on a channel.
    """

    def __init__(self, sock: socket.socket, window: int) -> None:
        super().__init__(sock, default_window_size=window)
        self._sender = threading.local()

    @contextlib.contextmanager
    def sending(self, channel: paramiko.Channel) -> Iterator[None]:
        """Send a channel's data or the end of it, unless the channel is closed.

        paramiko makes such a message under the channel's lock, and sends it without. If the machine closes the channel
        between the two, the message comes too late: sshd then ends the whole connection, or takes it for that of the
        next channel with the same number.
        """
        self._sender.channel = channel
        try:
            yield
        finally:
            self._sender.channel = None

    def _send_message(self, data: paramiko.Message) -> None:
        # One message at a time: of what is sent here after a channel was closed, the reply to that comes first.
        channel = getattr(self._sender, "channel", None)
        if channel is None or not channel.closed:
            super()._send_message(data)  # type: ignore[misc]

    @staticmethod
    def _on_request(channel: paramiko.Channel, message: paramiko.Message) -> None:
        """Take up the message by which sshd says that a signal ended the command (RFC 4254, 6.10)."""
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
