"""``kola report``: what runs have shown, as one HTML page, or served with their whole logs."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from kola.errors import ConfigError
from kola.httpd import HttpServer
from kola.report import page, viewing
from kola.report.gathering import Library, Reader
from kola.report.model import report_of
from kola.report.runs import combine
from kola.report.stores import open_store
from kola.report.verdicts import parse_verdict
from kola.report.viewing import Desk
from kola.results import ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from kola.report.model import Report
    from kola.report.verdicts import Answer

HELP = "what runs have shown, as one HTML page"
DESCRIPTION = (
    "Write one HTML page about the runs below the folders: what failed and since when, beside the last good run "
    "(docs/report.md). It is about the newest build of each stream; everything older, and what --history names, is "
    "history. A folder may be on an S3-like store: s3://BUCKET/PREFIX."
)
MOST_HISTORY = 500
MOST_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument(
        "folders", nargs="+", metavar="DIR", help="folder of a run, or one that holds such; or s3://BUCKET/PREFIX"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("report.html"), metavar="FILE", help="the page (default: report.html)"
    )
    parser.add_argument(
        "--history",
        action="append",
        default=[],
        metavar="DIR",
        help="folders of earlier runs, for since when and the last good run; or s3://BUCKET/PREFIX; may be repeated",
    )
    parser.add_argument(
        "--history-runs",
        type=int,
        default=MOST_HISTORY,
        metavar="N",
        help=f"the newest records that are read of each --history (default: {MOST_HISTORY})",
    )
    parser.add_argument(
        "--verdict",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="what 'kola gate --verdict FILE' wrote, to be shown first; may be repeated",
    )
    parser.add_argument(
        "--serve", action="store_true", help="write no file: serve the page on 127.0.0.1, with the whole logs in parts"
    )
    parser.add_argument("--port", type=int, default=0, metavar="N", help="of --serve (default: a free one)")


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    if args.history_runs < 0:
        raise ConfigError(f"--history-runs {args.history_runs}: expected a number, 0 or more")
    if not 0 <= args.port <= MOST_PORT:
        raise ConfigError(f"--port {args.port}: expected 0 (a free one) to {MOST_PORT}")
    page.environment()  # what is missing is said before anything is read
    answers = tuple(_answer(file) for file in args.verdict)
    library = Library(
        tuple(open_store(word) for word in args.folders), tuple(open_store(word) for word in args.history)
    )
    found, unread = library.found(args.history_runs)
    if not any(one.given for one in found):
        more = f": {unread[0].text}" if unread else ""
        raise ConfigError(f"{', '.join(args.folders)}: no results.json that can be read{more}")
    runs, apart = combine(found)
    report = replace(report_of(runs, [*unread, *apart]), answers=answers)
    for note in report.notes:
        print(f"not read: {note.text}", file=sys.stderr)
    if args.serve:
        return _serve(Desk(runs, library, _page(report, library, viewing.link)), args.port)
    content = _page(report, library, lambda path: _relative(library, path, args.output))
    try:
        args.output.write_bytes(content)
    except OSError as e:
        raise ConfigError(f"--output {args.output}: {e.strerror}") from e
    print(f"{args.output}: {_summary(report)}, {len(content) / 1e6:.1f} MB")
    return ExitCode.PASSED


def _answer(file: Path) -> Answer:
    try:
        return parse_verdict(file.read_bytes(), str(file))
    except OSError as e:
        raise ConfigError(f"--verdict {file}: {e.strerror}") from e


def _page(report: Report, library: Library, link: Callable[[str], str]) -> bytes:
    reader = Reader(library)
    content = page.render(report, reader.logs_of, reader.ignition_of, link, time.time())
    for note in reader.unreadable:
        print(f"not read: {note}", file=sys.stderr)
    return content


def _serve(desk: Desk, port: int) -> int:
    try:
        listening = HttpServer(port=port)
    except OSError as e:
        raise ConfigError(f"--port {port}: {e.strerror}") from e
    with listening as server:
        server.route("/", desk.answer)
        print(f"{server.local_url('/')}   (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    return ExitCode.PASSED


def _relative(library: Library, path: str, output: Path) -> str:
    """Return where a log is, seen from the page: they may be moved together."""
    file = library.file(path)
    return "" if file is None else quote(os.path.relpath(file, output.parent.resolve()))


def _summary(report: Report) -> str:
    cells = sum(len(matrix.cells) for matrix in report.matrices)
    return f"{len(report.runs)} runs, {cells} cells, {len(report.problems) + report.hidden} problems"
