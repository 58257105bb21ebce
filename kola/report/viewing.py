"""``kola report --serve``: the page on this host, and whole logs in parts that a browser can hold."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import IO, TYPE_CHECKING
from urllib.parse import urlencode

from kola import journal
from kola.httpd import LOOPBACK
from kola.httpmessage import Reply, json_reply, plain
from kola.report import page
from kola.report.gathering import CONSOLE, JOURNAL
from kola.report.scrub import MOST_LINES, PLACEHOLDER, Keys, scrub_line
from kola.text import strip_terminal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kola.httpmessage import Request
    from kola.report.gathering import Library
    from kola.report.runs import Run

Show = Callable[[str], str]
VIEWER, PARTS = "/log", "/parts"
PIECE = 64 * 1024
LINES = 500
"""Lines of a part."""
LINE = 4000
"""Characters of a line that are shown."""
_SCRUBBED = 64 * 1024
"""Characters of a line that are looked at for secrets: many more, some are known by their ends only."""
HTML = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}


@dataclass(frozen=True)
class Part:
    """Some lines of a file.

    Attributes:
        lines: of each, bytes from the beginning of the file and text, without secrets.
        start: bytes from the beginning of the file.
        end: where the next part begins.
        size: of the file, in bytes.
    """

    lines: tuple[tuple[int, str], ...]
    start: int
    end: int
    size: int


def part_after(
    file: IO[bytes], start: int, find: str = "", show: Show = str, most: int = LINES, *, until: int | None = None
) -> Part:
    """Return the lines from a place on; with words to find, only those that have them, in upper or lower case.

    Args:
        file: to read.
        start: bytes from its beginning; in the middle of a line, the next one is the first.
        find: what a line must have.
        show: makes a line of the file one for a person.
        most: lines of the part.
        until: bytes from the beginning; lines that begin there or later are of another part.
    """
    size = file.seek(0, 2)
    start = max(0, min(start, size))
    first = _line_at(file, start)
    at = _lines_before(file, first, MOST_LINES)  # it may begin in the middle of a key
    file.seek(at)
    keys = Keys.at(one for line in itertools.islice(file, MOST_LINES) for one in _shown(line, show))
    file.seek(at)
    lines, end = list[tuple[int, str]](), first
    while len(lines) < most and (until is None or at < until) and (line := file.readline()):
        safe = [PLACEHOLDER if keys.hides(one) else one for one in _shown(line, show)]
        if at >= first:
            end = at + len(line)
            if find.lower() in "\n".join(safe).lower():
                text = "\n".join(scrub_line(strip_terminal(one)[:_SCRUBBED]) for one in safe)
                lines.append((at, text if len(text) <= LINE else text[:LINE] + "…"))
        at += len(line)
    return Part(tuple(lines), first, end, size)


def part_before(file: IO[bytes], end: int, show: Show = str, most: int = LINES) -> Part:
    """Return the lines that end at a place."""
    size = file.seek(0, 2)
    end = max(0, min(end, size))
    start = _lines_before(file, end, most)
    part = part_after(file, start, show=show, most=most, until=end)
    return Part(part.lines, start, end, size)


def _lines_before(file: IO[bytes], end: int, most: int) -> int:
    """Return where the last lines begin that begin before a place: so many, or all there are."""
    at = max(0, end - 1)  # the end of a line right before the place begins none before it
    while at:
        step = min(at, PIECE)
        at -= step
        file.seek(at)
        piece = file.read(step)
        if (found := piece.count(b"\n")) >= most:
            place = len(piece)
            for _ in range(most):
                place = piece.rindex(b"\n", 0, place)
            return at + place + 1
        most -= found
    return 0


def _shown(line: bytes, show: Show) -> list[str]:
    """The lines that a person sees of one of the file: an entry of a journal may have several."""
    return show(line.decode(errors="replace")).rstrip("\n").split("\n")


def _line_at(file: IO[bytes], at: int) -> int:
    """Return where the first line begins that begins at this place or behind it."""
    file.seek(max(0, at - 1))
    if at:
        file.readline()
    return file.tell()


def _journal_line(line: str) -> str:
    entry = journal.parse_line(line)
    return line if entry is None else entry.short()


class Desk:
    """Answers a browser: the page, the viewer, and parts of the logs that the page shows; of nothing else on this host.

    Args:
        runs: whose logs may be looked at.
        library: where they are.
        content: of the page.
    """

    def __init__(self, runs: Sequence[Run], library: Library, content: bytes) -> None:
        self.library = library
        self.content = content
        records = [run.record for run in runs]
        folders = [machine.artifacts for record in records for machine in record.machines.values()]
        folders += [folder for record in records for test in record.tests.values() for folder in test.artifacts]
        firsts = [test.first_failure for record in records for test in record.tests.values() if test.first_failure]
        self._folders = {*folders, *(folder for first in firsts for folder in first.artifacts)} - {""}

    def answer(self, request: Request, _body: IO[bytes]) -> Reply:
        """Answer one request; only what was meant for this host by its name is (no page elsewhere can ask)."""
        if request.method not in {"GET", "HEAD"}:
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.method} is not allowed here", Allow="GET, HEAD")
        if request.headers.get("host", "").rpartition(":")[0] not in {LOOPBACK, "localhost"}:
            return plain(HTTPStatus.FORBIDDEN, f"this is {LOOPBACK}")
        if request.path == "/":
            return Reply(HTTPStatus.OK, self.content, HTML)
        if request.path == VIEWER:
            viewer = page.environment().get_template("viewer.html").render(**page.assets("viewer", "'self'"))
            return Reply(HTTPStatus.OK, viewer.encode(), HTML)
        if request.path == PARTS:
            return self._part(request)
        return plain(HTTPStatus.NOT_FOUND, f"nothing at {request.path}")

    def _part(self, request: Request) -> Reply:
        query = request.query
        path = self._file(query.get("file", ""))
        if path is None:
            return plain(HTTPStatus.NOT_FOUND, "no such log in these runs")
        show = _journal_line if path.name == JOURNAL else str
        before = query.get("before")
        place = query.get("from", "0") if before is None else before
        if not (place.isascii() and place.isdigit()):
            return plain(HTTPStatus.BAD_REQUEST, "from, before: expected a number of bytes")
        try:
            with path.open("rb") as file:
                if before is None:
                    part = part_after(file, int(place), query.get("find", ""), show)
                else:
                    part = part_before(file, int(place), show)
        except OSError as e:
            return plain(HTTPStatus.NOT_FOUND, f"this log cannot be read: {e.strerror}")
        return json_reply(HTTPStatus.OK, asdict(part), **{"Cache-Control": "no-store"})

    def _file(self, name: str) -> Path | None:
        folder, _, log = name.rpartition("/")
        known = log in {CONSOLE, JOURNAL} and folder in self._folders and ".." not in folder.split("/")
        return self.library.file(name) if known else None


def link(path: str) -> str:
    """Return where the whole log is looked at."""
    return f"{VIEWER}#{urlencode({'file': path})}"
