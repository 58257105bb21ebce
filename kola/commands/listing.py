"""``kola list``: which tests there are, and what each says of itself."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from kola.collect import METADATA
from kola.fixtures import NEEDS
from kola.results import ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

HELP = "list tests, with what each says of itself"
DESCRIPTION = (
    "List the tests that pytest would collect with these arguments, such as '-E ../fedora-coreos-config', "
    "'--tag reboot' or a path, with what each says of itself. Nothing is booted."
)
# kola is imported already: pytest would warn that it cannot rewrite asserts in it.
_COLLECT = (
    *("--collect-only", "-q", "-p", "no:cacheprovider"),
    *("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"),
)
_OWN = ("--json", "-h", "--help")
_COLUMNS = ("name", "platforms", "architectures", "distros", "tags", "description")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("--json", action="store_true", help="as a list of objects")
    parser.add_argument("rest", nargs="*", metavar="ARGUMENT", help="of pytest: paths, -E, --test, --tag, -k, -m...")


def split(arguments: Sequence[str]) -> list[str]:
    """Set pytest's arguments apart from those of the command, which would take their options for its own."""
    own = [argument for argument in arguments if argument in _OWN]
    return [*own, "--", *(argument for argument in arguments if argument not in _OWN)]


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    listing = Listing()
    said, wrong = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
        code = pytest.main([*_COLLECT, *args.rest], plugins=[listing])
    if code not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        usage = re.search(r"^pytest\.main\(\): error: (.*)", wrong.getvalue(), re.MULTILINE)
        # What is wrong stands in one of the two; the other says only how long it took.
        print(f"ERROR: {usage[1]}" if usage else (wrong.getvalue() or said.getvalue()).rstrip(), file=sys.stderr)
        return int(code)
    if not listing.rows:
        none = "no tests here; give a path, or a project with -E"
        out = listing.deselected
        print(f"none of {out} tests is chosen by these arguments" if out else none, file=sys.stderr)
    if args.json:
        print(json.dumps(listing.rows, indent=1))
        return ExitCode.PASSED
    shown = [{column: _text(row[column]) for column in _COLUMNS} for row in listing.rows]
    widths = {column: max(len(column), *(len(row[column]) for row in shown)) if shown else 0 for column in _COLUMNS}
    for row in [dict(zip(_COLUMNS, map(str.upper, _COLUMNS), strict=True)), *shown]:
        print("  ".join(f"{row[column]:{widths[column]}}" for column in _COLUMNS).rstrip())
    return ExitCode.PASSED


def _text(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


class Listing:
    """Takes what pytest has collected."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.deselected = 0

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Count what the user did not choose."""
        self.deselected += len(items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take the tests that are left when all that the user said is applied."""
        self.rows = [_row(item) for item in session.items]


def _row(item: pytest.Item) -> dict[str, Any]:
    needs, metadata = item.stash.get(NEEDS, None), item.stash.get(METADATA, None)
    external = metadata is not None
    return {
        "name": item.name if external else item.nodeid,
        "nodeid": item.nodeid,
        "external": external,
        "platforms": list(metadata.platforms if metadata else needs.platforms if needs else ()),
        "architectures": list(metadata.architectures if metadata else needs.architectures if needs else ()),
        "distros": list(metadata.distros if metadata else ()),
        "tags": list(metadata.tags if metadata else needs.tags if needs else ()),
        "isolation": needs.isolation.value if needs else "",
        "description": metadata.description if metadata else needs.description if needs else "",
    }
