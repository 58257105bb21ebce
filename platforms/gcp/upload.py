"""A resumable upload of a stream, of which only the piece that is being sent is held in memory."""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING

from google.api_core.exceptions import from_http_status

from kola.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from kola.retry import Caller

PIECE_BYTES = 16 << 20
"""Cloud Storage takes multiples of 256 KiB, except for the last one."""
_SECONDS = 300.0
_INCOMPLETE = 308


class Upload:
    """Sends pieces, each from where the last attempt at it broke off.

    Args:
        session: sends requests.
        url: of the upload's session; who knows it may write.
        call: tries again.
    """

    def __init__(self, session: requests.Session, url: str, call: Caller) -> None:
        self._session = session
        self._url = url
        self._call = call
        self._there = 0  # bytes that have arrived
        self._unsure = False

    def send(self, stream: IO[bytes], told: Callable[[int], object], close: Callable[[], object]) -> int:
        """Send a stream.

        Args:
            stream: is read once.
            told: is given the number of bytes that have arrived, now and then.
            close: called when the stream has ended, before what it was is final; may raise.

        Returns:
            The number of bytes.

        Raises:
            PlatformError: it could not be sent.
        """
        start, piece = 0, stream.read(PIECE_BYTES)
        while True:
            following = stream.read(PIECE_BYTES) if len(piece) == PIECE_BYTES else b""
            if not following:
                close()
            end = start + len(piece)
            self._call(self._upload, piece, start, "*" if following else str(end))
            told(end)
            if not following:
                return end
            start, piece = end, following

    def _upload(self, piece: bytes, start: int, total: str) -> None:
        """Make one attempt at a piece."""
        if self._unsure:
            self._there = self._put(b"", f"*/{total}", start + len(piece))
        self._unsure = True
        while self._there < start + len(piece):
            if self._there < start:
                raise PlatformError(f"upload: Cloud Storage has lost what it had from byte {self._there} on")
            before, rest = self._there, piece[self._there - start :]
            self._there = self._put(rest, f"{before}-{start + len(piece) - 1}/{total}", start + len(piece))
            if self._there == before:
                raise from_http_status(503, "upload: nothing of it has arrived")
        self._unsure = False

    def _put(self, data: bytes, which: str, end: int) -> int:
        """Send something and return how many bytes have arrived in all."""
        headers = {"Content-Range": f"bytes {which}", "Content-Length": str(len(data))}
        answer = self._session.put(self._url, data=data, headers=headers, timeout=_SECONDS, allow_redirects=False)
        if answer.ok and answer.status_code != _INCOMPLETE:
            return end
        if answer.status_code != _INCOMPLETE:
            raise from_http_status(answer.status_code, f"upload: {answer.text[:200]}", response=answer)
        arrived = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", ""))
        return int(arrived[1]) + 1 if arrived else 0
