"""``kola gc``: end kept machines, remove what killed runs left, and old saved machines."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from kola.clonecache import CLONE_FOLDER, CloneCache
from kola.errors import KolaError
from kola.options import cache_folder, clone_limits
from kola.results import ExitCode
from kola.runs import RunRecord, RunState, collect_run, list_runs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

HELP = "end machines that were kept, remove what killed runs left and saved machines that are old or too many"
DESCRIPTION = (
    "End machines that were kept on purpose (--keep-machines), remove what killed runs left, and of the machines saved "
    "for cloning those that were not used for long or are too many. Runs that go on are not touched."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("--dry-run", action="store_true", help="only say what there is")
    parser.add_argument("--run", metavar="ID", help="only this run's")
    parser.add_argument(
        "--clone-cache", metavar="GIB", help="what saved machines may take together (default: 20; 0: none)"
    )
    parser.add_argument(
        "--clone-age", metavar="DAYS", type=float, help="after how long without use they go (default: 14)"
    )
    parser.add_argument("--kola-cache", metavar="DIR", help="as in pytest's option")


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    limits = clone_limits(args.clone_cache, args.clone_age)
    cache = cache_folder(args.kola_cache)
    runs = [run for run in list_runs(cache) if args.run in {None, run.run_id}]
    code = _gc(runs, dry_run=args.dry_run)
    clones = CloneCache(cache / CLONE_FOLDER, limits)
    if args.run is not None:
        print("" if runs else f"no run {args.run} has left anything\n", end="")
    else:
        print("" if _gc_clones(clones, dry_run=args.dry_run) or runs else "nothing to clean up\n", end="")
        print(f"saved machines: {clones.count()}, {clones.size_mib()} MiB in {clones.folder}")
    return code


def _gc(runs: Sequence[RunRecord], *, dry_run: bool) -> int:
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


def _gc_clones(cache: CloneCache, *, dry_run: bool) -> bool:
    """Tell whether there was anything."""
    gone = cache.collect(dry_run=dry_run)
    for removed in gone:
        done = "would go" if dry_run else "removed"
        print(f"saved machine {removed.key} ({removed.mib} MiB): {removed.why}: {done}")
    return bool(gone)


def _describe(run: RunRecord) -> str:
    what = {
        RunState.RUNNING: f"running (pid {run.controller.pid}), left alone",
        RunState.ORPHANED: "its processes are gone",
        RunState.KEPT: f"kept: {', '.join(run.kept)}",
    }[run.state]
    until = time.strftime(", until %Y-%m-%d %H:%M", time.localtime(run.expires_at)) if run.expires_at else ""
    return f"run {run.run_id} of {run.owner} on {run.platform}: {what}{until}"
