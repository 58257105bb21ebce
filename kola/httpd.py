"""An HTTP server on this host for guests: content, handlers, a record of what was asked, faults at will.

Base of all services for guests. It listens on the loopback address only; ``url`` says how a guest gets there.
"""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import sys
import tempfile
import threading
import time
from fnmatch import fnmatchcase
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import IO, TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, unquote

from kola.errors import ConfigError
from kola.faults import Corrupted, Fault, Faults, Kind, Outage, Slow, Truncated, newest
from kola.httpmessage import Handler, Refused, Reply, Request, bytes_reply, content_type_of, file_reply, part, plain
from kola.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kola.tls import Authority

LOOPBACK = "127.0.0.1"
KEPT_BODY = 64 * 1024
"""So many bytes of a request's body are kept in the record."""
PIECE = 64 * 1024
TICKS = 20
"""A slow reply is sent in so many pieces a second."""


class HttpServer:
    """Serves as long as its context is open, on one port.

    Args:
        address: of this host as guests see it.
        authority: makes it ``https``, with a certificate of this authority.
        slowness: factor on the time limits of ``wait_for_request``.
        port: to listen on; 0 is a free one.

    Attributes:
        port: where it listens on 127.0.0.1.
    """

    def __init__(
        self, address: str = LOOPBACK, *, authority: Authority | None = None, slowness: float = 1.0, port: int = 0
    ) -> None:
        self.address = address
        self.authority = authority
        self.slowness = slowness
        self._faults = Faults()
        self._routes: dict[str, Handler] = {}
        self._requests: list[Request] = []
        self._lock = threading.Lock()
        self._listener = _Listener(self, port)
        self.port: int = self._listener.server_address[1]
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), name="kola-httpd")

    def __enter__(self) -> HttpServer:  # noqa: PYI034 - final in practice
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._listener.end()
        self._thread.join()
        if kind is None and self._listener.broken:
            raise self._listener.broken[0]

    def url(self, path: str = "") -> str:
        """Return the URL of a path as a guest sees it; the same before a machine boots and through all outages."""
        return self._url(self.address, path)

    def local_url(self, path: str = "") -> str:
        """Return the URL of a path for a client on this host."""
        return self._url(LOOPBACK, path)

    def _url(self, address: str, path: str) -> str:
        return f"{'https' if self.authority else 'http'}://{address}:{self.port}{_rooted(path) if path else ''}"

    # -- content -----------------------------------------------------------------------------------------------------

    def add(self, path: str, content: bytes | Path, content_type: str | None = None) -> None:
        """Serve bytes or one file at this path; what was there is replaced."""
        kind = content_type or content_type_of(path)
        fixed = content if isinstance(content, Path) else bytes_reply(content, kind)

        def answer(request: Request, _body: IO[bytes]) -> Reply:
            if request.path != path:
                return plain(404, f"nothing at {request.path}")
            return file_reply(fixed, kind) if isinstance(fixed, Path) else fixed

        self.route(path, _reading(answer))

    def mount(self, prefix: str, folder: Path) -> None:
        """Serve the files below a folder, as they are when they are asked for; nothing outside it, links included."""
        root = folder.resolve()
        if not root.is_dir():
            raise ConfigError(f"mount {prefix}: no such folder: {folder}")

        def answer(request: Request, _body: IO[bytes]) -> Reply:
            inside = request.path[len(prefix.rstrip("/")) :].lstrip("/")
            try:
                file = (root / inside).resolve()
                good = file.is_relative_to(root) and file.is_file()
            except (OSError, ValueError):  # a name that is too long, a NUL
                good = False
            return file_reply(file, content_type_of(inside)) if good else plain(404, f"nothing at {request.path}")

        self.route(prefix, _reading(answer))

    def route(self, prefix: str, handler: Handler) -> None:
        """Let a handler answer for this path and everything below it; the longest prefix wins."""
        with self._lock:
            self._routes[_rooted(prefix).rstrip("/")] = handler

    def remove(self, path: str) -> None:
        """Serve no longer what was added, mounted or routed there."""
        with self._lock:
            self._routes.pop(_rooted(path).rstrip("/"), None)

    # -- faults and the record ---------------------------------------------------------------------------------------

    def fault(self, kind: Kind, path: str = "*", *, first: int | None = None) -> Fault:
        """Switch a fault on for the paths that a glob matches (``*`` matches ``/`` too).

        Of several faults of one kind the last one counts; those of different kinds add up. The record shows requests
        in an outage as well.

        Args:
            kind: of ``kola.faults``.
            path: a glob for the decoded path.
            first: only the first so many requests from now on; None is all.

        Returns:
            The fault, to be switched off with ``clear()`` or by leaving a ``with``.
        """
        return self._faults.add(Fault(kind, path, first))

    def requests(self, path: str = "*", method: str = "*") -> list[Request]:
        """Return the requests so far whose path and method match these globs, oldest first."""
        with self._lock:
            return [r for r in self._requests if fnmatchcase(r.path, path) and fnmatchcase(r.method, method)]

    def wait_for_request(self, path: str = "*", method: str = "*", *, count: int = 1, timeout: float = 60) -> Request:
        """Wait until there were ``count`` such requests, and return the last of these.

        Args:
            path: see ``requests``.
            method: see ``requests``.
            count: how many, from the beginning of the record.
            timeout: in seconds on a fast machine.

        Raises:
            WaitTimeout: there were fewer.
        """
        what = f"request {count} of {method} {path} at {self.local_url()}"
        limit = timeout * self.slowness
        return wait_until(lambda: self.requests(path, method)[count - 1 : count], limit, what=what)[0]

    def _take(self, request: Request) -> list[Kind]:
        with self._lock:
            self._requests.append(request)
        return self._faults.hit(request.path)

    def _handler(self, path: str) -> Handler | None:
        with self._lock:
            while path and path not in self._routes:
                path = path.rpartition("/")[0]
            return self._routes.get(path)


def _rooted(path: str) -> str:
    if not path.startswith("/"):
        raise ConfigError(f"path {path!r} must begin with /")
    return path


def _reading(answer: Handler) -> Handler:
    def checked(request: Request, body: IO[bytes]) -> Reply:
        if request.method not in {"GET", "HEAD"}:
            return plain(405, f"{request.method} is not allowed here", Allow="GET, HEAD")
        return answer(request, body)

    return checked


class _Listener(ThreadingMixIn, TCPServer):
    """Accepts connections; each gets a thread, which ends with it."""

    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = False  # they are joined

    def __init__(self, server: HttpServer, port: int) -> None:
        self.server = server
        self.closing = threading.Event()
        self.broken: list[Exception] = []
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        authority = server.authority
        self._tls = authority.context(server.address, LOOPBACK, "localhost") if authority else None
        super().__init__((LOOPBACK, port), _Connection)

    def get_request(self) -> tuple[Any, Any]:
        raw, address = super().get_request()
        if self._tls is None:
            return raw, address
        # The handshake is the thread's business: a client that does not speak must not keep others waiting.
        return self._tls.wrap_socket(raw, server_side=True, do_handshake_on_connect=False), address

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the library's
        """Forget clients that went away; anything else is this server's own fault and fails the test."""
        error = sys.exc_info()[1]
        gone = isinstance(error, ConnectionError | ssl.SSLError) or self.closing.is_set()
        if isinstance(error, Exception) and not gone:
            self.broken.append(error)

    def end(self) -> None:
        """Close everything; all threads are gone afterwards."""
        self.closing.set()
        self.shutdown()
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    # Not SSLSocket's own, which takes the TLS layer away from the thread that is using it.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self.server_close()


class _Connection(BaseHTTPRequestHandler):
    """One connection, with any number of requests."""

    protocol_version = "HTTP/1.1"
    server_version = "kola"
    sys_version = ""
    disable_nagle_algorithm: ClassVar[bool] = True
    server: _Listener

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Print nothing: requests are on record."""

    def answer(self) -> None:
        path, _, query = self.path.partition("?")
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
        with tempfile.SpooledTemporaryFile(KEPT_BODY) as body:
            try:
                self._receive(body)
            except ValueError:
                self.close_connection = True
                self._send(plain(400, "malformed length of the body"), [])
                return
            body.seek(0)
            pairs = dict(parse_qsl(query, keep_blank_values=True))
            request = Request(self.command, unquote(path), pairs, headers, body.read(KEPT_BODY), self.path, time.time())
            body.seek(0)
            faults = self.server.server._take(request)  # noqa: SLF001 - one module
            outage = newest(faults, Outage)
            if outage is None:
                self._send(self._reply(request, body), faults)
            elif outage.status is None:
                self.close_connection = True
            else:
                self._send(plain(outage.status, "an outage, made by the test"), faults)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815

    def _reply(self, request: Request, body: IO[bytes]) -> Reply:
        handler = self.server.server._handler(request.path)  # noqa: SLF001 - one module
        if handler is None:
            return plain(404, f"nothing at {request.path}")
        try:
            return handler(request, body)
        except Refused as refused:
            return refused.reply
        except Exception as e:  # noqa: BLE001 - whatever it is, it ends the server's context
            self.server.broken.append(e)
            return plain(500, f"{type(e).__name__}: {e}")

    def _receive(self, into: IO[bytes]) -> None:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            self._copy(int(self.headers.get("Content-Length", "0")), into)
            return
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            self._copy(size, into)
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass

    def _copy(self, size: int, into: IO[bytes]) -> None:
        if size < 0:
            raise ValueError(size)
        while size:
            piece = self.rfile.read(min(size, PIECE))
            if not piece:
                raise ConnectionAbortedError
            size -= into.write(piece)

    def _send(self, reply: Reply, faults: Sequence[Kind]) -> None:
        with contextlib.ExitStack() as stack:
            body = reply.body
            source: IO[bytes] = stack.enter_context(body.open("rb") if isinstance(body, Path) else io.BytesIO(body))
            size = source.seek(0, 2)
            reply, start, end = part(reply, size, self.headers)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
                self.send_header("Content-Length", str(end - start))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                source.seek(start)
                self._send_body(source, start, end, size, faults)

    def _send_body(self, source: IO[bytes], start: int, end: int, size: int, faults: Sequence[Kind]) -> None:
        slow, truncated, corrupted = newest(faults, Slow), newest(faults, Truncated), newest(faults, Corrupted)
        stop = end if truncated is None else start + truncated.limit(end - start)
        step = PIECE if slow is None else max(1, slow.bytes_per_second // TICKS)
        at = start
        while at < stop and (piece := source.read(min(step, stop - at))):
            self.wfile.write(corrupted.spoil(piece, at, size) if corrupted else piece)
            at += len(piece)
            if slow is not None and self.server.closing.wait(len(piece) / slow.bytes_per_second):
                break
        if at < end:
            self.close_connection = True
