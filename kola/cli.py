"""The command ``kola``: what is not a test run. Test runs are ``pytest --platform=NAME``."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from kola import __version__
from kola.errors import KolaError
from kola.options import cache_folder
from kola.results import ExitCode
from kola.runs import RunRecord, RunState, collect_run, list_runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="kola", description=__doc__)
    parser.add_argument("--version", action="version", version=f"kola {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    gc = commands.add_parser(
        "gc",
        help="end machines that were kept, and remove what killed runs left",
        description="End machines that were kept on purpose (--keep-machines) and remove what killed runs left. "
        "Runs that go on are not touched.",
    )
    gc.add_argument("--dry-run", action="store_true", help="only say what there is")
    gc.add_argument("--run", metavar="ID", help="only this run's")
    gc.add_argument("--kola-cache", metavar="DIR", help="as in pytest's option")
    args = parser.parse_args(arguments)
    try:
        return _gc(cache_folder(args.kola_cache), run_id=args.run, dry_run=args.dry_run)
    except KolaError as e:
        print(f"ERROR: {e}", file=sys.stderr)
        return ExitCode.FAILED


def _gc(cache: Path, *, run_id: str | None, dry_run: bool) -> int:
    runs = [run for run in list_runs(cache) if run_id in {None, run.run_id}]
    if not runs:
        print("nothing to clean up" if run_id is None else f"no run {run_id} has left anything")
        return ExitCode.PASSED
    code = ExitCode.PASSED
    for run in runs:
        print(_describe(run))
        if dry_run or run.state is RunState.RUNNING:
            continue
        try:
            for name in collect_run(run):
                print(f"  removed {name}")
            print("  gone")
        except KolaError as e:
            print(f"  ERROR: {e}", file=sys.stderr)
            code = ExitCode.FAILED
    return code


def _describe(run: RunRecord) -> str:
    what = {
        RunState.RUNNING: f"running (pid {run.controller.pid}), left alone",
        RunState.ORPHANED: "its processes are gone",
        RunState.KEPT: f"kept: {', '.join(run.kept)}",
    }[run.state]
    until = time.strftime(", until %Y-%m-%d %H:%M", time.localtime(run.expires_at)) if run.expires_at else ""
    return f"run {run.run_id} of {run.owner} on {run.platform}: {what}{until}"
