"""An SSH server in threads of this process, in the place of a machine's; every command is a real bash."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import selectors
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import ClassVar

import paramiko
from paramiko.common import MSG_CHANNEL_REQUEST

from tests.simulation.guest import redirected

BACKLOG = 16
CHUNK = 64 << 10

_LOG = "simulation.transport"
logging.getLogger(_LOG).setLevel(logging.CRITICAL)  # a client that goes away is no news

Start = Callable[[str], "subprocess.Popen[bytes]"]
"""Begins a command line as a process in a session of its own, all three streams piped."""


class Login(paramiko.ServerInterface):
    """Who may log in: one user with one key; all that is served are sessions with a command."""

    def __init__(self, user: str, keys: list[str], serve: Callable[[paramiko.Channel, str], None]) -> None:
        self.user = user
        self.keys = keys
        self.serve = serve
        self.asked: dict[int, str] = {}

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = username == self.user and f"{key.get_name()} {key.get_base64()}" in self.keys
        return paramiko.common.AUTH_SUCCESSFUL if good else paramiko.common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        good = kind == "session"
        return paramiko.common.OPEN_SUCCEEDED if good else paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.asked[channel.get_id()] = command.decode()
        return True


class _Transport(paramiko.Transport):
    """Begins a command when the client has its answer: one that ends at once would overtake that."""

    def _on_request(self: paramiko.Channel, message: paramiko.Message) -> None:  # type: ignore[misc]
        self._handle_request(message)  # type: ignore[attr-defined]
        login = self.get_transport().server_object
        assert isinstance(login, Login)
        if (command := login.asked.pop(self.get_id(), None)) is not None:
            threading.Thread(target=login.serve, args=(self, command), daemon=True).start()

    _channel_handler_table: ClassVar = {
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
        MSG_CHANNEL_REQUEST: _on_request,
    }


class Server:
    """Listens from the beginning, as a forwarded port does, and is silent until ``answer`` is called.

    Args:
        host_key: private, OpenSSH PEM.
        user: who may log in.
        keys: public key lines that may.
        start: begins a command.
    """

    def __init__(self, host_key: str, user: str, keys: list[str], start: Start) -> None:
        self._host_key = paramiko.Ed25519Key.from_private_key(io.StringIO(host_key))
        self._user = user
        self._keys = [" ".join(key.split()[:2]) for key in keys]
        self._start = start
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._transports: list[paramiko.Transport] = []
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._down = False
        self.port: int = self._listener.getsockname()[1]

    def answer(self, seconds: float) -> None:
        """Serve one connection, if one comes within so many seconds."""
        self._listener.settimeout(seconds)
        try:
            sock, _ = self._listener.accept()
        except OSError:  # nobody came, or closed
            return
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = _Transport(sock)
        transport.set_log_channel(_LOG)
        transport.add_server_key(self._host_key)
        self._transports = [known for known in self._transports if known.is_active()] + [transport]
        with contextlib.suppress(paramiko.SSHException):
            transport.start_server(threading.Event(), Login(self._user, self._keys, self._serve))

    def hang_up(self) -> None:
        """Break all connections and kill all commands, as a machine that goes down."""
        with self._lock:
            self._down = True
            processes = list(self._processes)
        for transport in self._transports:
            transport.close()
        self._transports.clear()
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def come_back(self) -> None:
        """Take commands again after ``hang_up``."""
        self._down = False

    def close(self) -> None:
        """Hang up for good."""
        self.hang_up()
        self._listener.close()

    def _serve(self, channel: paramiko.Channel, command: str) -> None:
        with self._lock:
            if self._down:
                channel.close()
                return
            process = self._start(command)
            self._processes.add(process)
        threading.Thread(target=_feed, args=(channel, process), daemon=True).start()
        try:
            with contextlib.suppress(OSError, EOFError):
                _pass_on(channel, process)
            code = process.wait()
            with contextlib.suppress(OSError, EOFError):
                if not self._down:  # a machine that goes down says nothing any more
                    channel.send_exit_status(code if code >= 0 else 128 - code)
                channel.close()
        finally:
            with self._lock:
                self._processes.discard(process)
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def _feed(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
    """Pass on what the client sends as standard input, until it ends or nobody reads it."""
    assert process.stdin is not None
    with contextlib.suppress(OSError, EOFError), process.stdin:
        while data := channel.recv(CHUNK):
            process.stdin.write(redirected(data.decode("latin1")).encode("latin1"))
            process.stdin.flush()


def _pass_on(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
    """Send both streams as they come, until both have ended."""
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, channel.sendall)
        selector.register(process.stderr, selectors.EVENT_READ, channel.sendall_stderr)
        while selector.get_map():
            for key, _ in selector.select():
                if data := os.read(key.fd, CHUNK):
                    key.data(data)
                else:
                    selector.unregister(key.fileobj)
