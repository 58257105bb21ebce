"""The inside of a run's reaper: watch the processes of the run, sweep after them, keep what is to be kept, end.

One thread; a sweep blocks it, and what others say meanwhile waits in their connections.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import selectors
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kola.errors import WaitTimeout
from kola.platform import Scope
from kola.process import ProcessId
from kola.runs import RunRecord, clear_run, write_record
from kola.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from kola.platform import Platform

TICK_S = 0.2

_LOG = logging.getLogger("kola.reaper")


@dataclass
class _Peer:
    """The reaper's end of one connection."""

    connection: socket.socket
    process: ProcessId | None
    worker: str = "?"
    role: str = ""
    unread: bytes = b""
    left: bool = False

    @classmethod
    def accept(cls, listener: socket.socket) -> _Peer:
        """Take the next connection; who is at the other end the kernel knows best (unix(7), SO_PEERCRED)."""
        connection, _ = listener.accept()
        connection.setblocking(False)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, _uid, _gid = struct.unpack("3i", credentials)
        return cls(connection, ProcessId.of(pid))

    def lines(self) -> list[bytes]:
        """Return what was said since; notes when the other side is gone."""
        # First: what it said before its end is then certainly read. Beside the end of the connection, because a child
        # that it forked may hold that open for longer than it lives.
        self.left = self.process is None or not self.process.alive()
        try:
            while data := self.connection.recv(65536):
                self.unread += data
            self.left = True
        except BlockingIOError:
            pass
        except ConnectionError:
            self.left = True
        *lines, self.unread = self.unread.split(b"\n")
        return lines


class Watch:
    """One run's reaper.

    Args:
        record: of the run; its file is written at every change.
        platform: loaded for this process.
        listener: a listening unix socket.
        grace: seconds that workers get to end after their controller.
    """

    def __init__(self, record: RunRecord, platform: Platform, listener: socket.socket, grace: float) -> None:
        self.record = record
        self.platform = platform
        self.grace = grace
        self._removed: list[str] = []
        self._error = ""
        self._asked_to_end = False
        self._peers: list[_Peer] = []
        self._listener = listener
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)

    def run(self) -> None:
        """Return when nothing is left, or nothing more can be done."""
        while not self.record.over:
            self._turn(TICK_S)
            if not self.record.controller.alive():
                self._end_of_controller("is gone")
        while self._turn(0):  # what others said last, such as `keep`
            pass
        if self._workers():
            self._sweep()
            self._end_workers()
        if self.record.kept:
            self._sweep()
            self._answer(kept=True)
            self._keep()
        self._attempt("the run", lambda: clear_run(self.record, self.platform))
        self._answer(kept=False)

    def end_early(self) -> None:
        """Let kept machines go before their time; while the run goes on this does nothing."""
        self._asked_to_end = self.record.over

    def _end_workers(self) -> None:
        """See that no worker outlives its controller: it would make machines that nobody removes."""
        with contextlib.suppress(WaitTimeout):
            wait_until(self._workers_gone, self.grace, interval=0)
        for peer in self._workers():
            if peer.process is not None and peer.process.kill():
                _LOG.info("%s (pid %d) outlived its controller: killed", peer.worker, peer.process.pid)
        with contextlib.suppress(WaitTimeout):
            wait_until(self._workers_gone, self.grace, interval=0)

    def _keep(self) -> None:
        _LOG.info("kept until %s: %s", time.ctime(self.record.expires_at), ", ".join(self.record.kept))
        while not self._asked_to_end and time.time() < (self.record.expires_at or 0):
            self._turn(TICK_S)

    def _workers(self) -> list[_Peer]:
        return [peer for peer in self._peers if peer.role == "worker"]

    def _workers_gone(self) -> bool:
        self._turn(TICK_S)
        return not self._workers()

    def _turn(self, timeout: float) -> bool:
        """Deal with what there is, after waiting for it at most so many seconds; tell whether there was anything."""
        events = self._selector.select(timeout)
        if any(key.fileobj is self._listener for key, _ in events):
            peer = _Peer.accept(self._listener)
            self._peers.append(peer)
            self._selector.register(peer.connection, selectors.EVENT_READ)
        for peer in tuple(self._peers):
            for line in peer.lines():
                try:
                    self._obey(peer, json.loads(line))
                except (ValueError, KeyError, TypeError):
                    _LOG.exception("%s: not a message", peer.worker)
            if peer.left and peer in self._peers:
                self._lost(peer)
        return bool(events)

    def _obey(self, peer: _Peer, message: dict[str, Any]) -> None:
        say = message["say"]
        if say == "hello":
            peer.worker, peer.role = message["worker"], message["role"]
            _LOG.info("%s %s is here (pid %d)", peer.role, peer.worker, peer.process.pid if peer.process else 0)
        elif say == "keep":
            kept = tuple(sorted({*self.record.kept, *message["names"]}))
            expires_at = max(self.record.expires_at or 0, time.time() + message["ttl"])
            self._save(dataclasses.replace(self.record, kept=kept, expires_at=expires_at))
        elif say == "goodbye" and peer.role == "controller":
            self._end_of_controller("says goodbye")  # and waits for the answer
        elif say == "goodbye":
            self._forget(peer)

    def _lost(self, peer: _Peer) -> None:
        self._forget(peer)
        if peer.role == "controller":
            self._end_of_controller("is gone")
        elif peer.role == "worker":
            _LOG.info("%s is gone without goodbye", peer.worker)
            self._sweep(peer.worker)

    def _forget(self, peer: _Peer) -> None:
        self._peers.remove(peer)
        self._selector.unregister(peer.connection)
        peer.connection.close()

    def _end_of_controller(self, how: str) -> None:
        if not self.record.over:
            _LOG.info("the controller %s", how)
            self._save(dataclasses.replace(self.record, over=True))

    def _save(self, record: RunRecord) -> None:
        self.record = record
        try:
            write_record(record)
        except OSError:  # no reason to stop watching
            _LOG.exception("the record of the run cannot be written")

    def _sweep(self, worker: str | None = None) -> None:
        scope = Scope(self.record.owner, self.record.run_id, worker, keep=frozenset(self.record.kept))
        self._attempt(worker or "the run", lambda: self.platform.sweep(scope))

    def _attempt(self, what: str, remove: Callable[[], list[str]]) -> None:
        """Remove something; what fails is tried again with the whole run, so that only the last error counts."""
        try:
            removed = remove()
        except Exception as e:  # noqa: BLE001 - a driver may raise anything, and the reaper must go on
            _LOG.exception("sweep of %s failed", what)
            self._error = f"sweep of {what} failed: {e}"
        else:
            _LOG.info("swept %s: %s", what, ", ".join(removed) or "nothing was left")
            self._removed += removed
            self._error = ""

    def _answer(self, *, kept: bool) -> None:
        """Tell a controller that still waits what has been done."""
        for peer in [peer for peer in self._peers if peer.role == "controller"]:
            answer = {"removed": self._removed, "error": self._error, "kept": kept}
            with contextlib.suppress(OSError):
                peer.connection.sendall(json.dumps(answer).encode() + b"\n")
            self._forget(peer)
