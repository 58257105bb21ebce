"""Stands before a front end: writes down every call, and lets some of them fail."""

from __future__ import annotations

import io
import socket
from typing import TYPE_CHECKING

from werkzeug import Request, Response

from rehearsal.faults import Trouble

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from rehearsal.faults import Faults
    from rehearsal.frontend import FrontEnd


_PAGE = "<!doctype html>\n<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\n"


class Gate:
    """A WSGI application."""

    def __init__(self, front: FrontEnd, faults: Faults) -> None:
        self._front = front
        self._faults = faults

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a call, or not."""
        # Read here as a whole: names of calls are in bodies, and a body that nobody read would break the connection.
        body = Request(environ).get_data()
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ["wsgi.input_terminated"] = True
        request = Request(environ)
        call = self._front.call_name(request)
        environ["wsgi.input"] = io.BytesIO(body)
        trouble = self._faults.befall(call)
        if trouble is Trouble.CUT:
            return _cut(environ, start_response)
        if trouble is Trouble.LOST:
            list(self._front.wsgi(environ, lambda *_: lambda _: None))
            return _cut(environ, start_response)
        if trouble is Trouble.GARBLED:
            return Response(_PAGE, 502, content_type="text/html")(environ, start_response)
        if trouble is not None:
            return self._front.refuse(trouble, request, call)(environ, start_response)
        return self._front.wsgi(environ, start_response)


def _cut(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    start_response("500 CUT", [("Connection", "close")])
    return [b""]
