"""``kola check-console``: what a saved console or journal shows that must not be there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kola import checks
from kola.errors import ConfigError
from kola.results import ExitCode

if TYPE_CHECKING:
    import argparse

HELP = "search saved consoles and journals for what must not be in them"
DESCRIPTION = (
    "Search saved logs for what must not be in them, by the same rules as after every test (docs/checks.md). A log is "
    "what came over the serial console, or a journal as 'journalctl -o json' writes it. Exit code 1 if it finds any."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument(
        "files", nargs="*", default=["-"], metavar="FILE", help="a log; '-' is standard input (default)"
    )
    parser.add_argument("--skip", action="append", default=[], metavar="RULE", help="leave out a rule; may be repeated")


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    for rule in args.skip:
        if rule not in checks.RULES:
            raise ConfigError(f"--skip {rule}: no such rule; known: {', '.join(sorted(checks.RULES))}")
    found = False
    for name in args.files:
        for finding in findings(_read(name)):
            if finding.rule in args.skip:
                continue
            found = True
            print(f"{name}: {finding}")
            for line in finding.context:
                print(f"    | {line}")
    return ExitCode.FAILED if found else ExitCode.PASSED


def findings(text: str) -> list[checks.Finding]:
    """Return what a log shows."""
    journal = _journal(text)
    return checks.check_machine(console="" if journal else text, journal=journal, audit=(), failed=frozenset())


def _journal(text: str) -> list[dict[str, Any]]:
    """Return the entries of a journal in JSON lines; none if it is something else."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        entries = [json.loads(line) for line in lines if line.startswith("{")]
    except ValueError:
        return []
    good = len(entries) == len(lines) and all(isinstance(entry, dict) and "MESSAGE" in entry for entry in entries)
    return entries if good else []


def _read(name: str) -> str:
    if name == "-" and sys.stdin.isatty():
        print("reading standard input, to Ctrl-D", file=sys.stderr)
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as e:
        raise ConfigError(f"{name}: {e.strerror}") from e
    return data.decode(errors="replace")
