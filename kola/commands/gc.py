"""``kola gc``: end kept machines, remove what killed runs left, and old saved machines."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kola import options, optionvalues
from kola.clonecache import CLONE_FOLDER, CloneCache
from kola.cloud.platform import CloudPlatform
from kola.errors import ConfigError, KolaError, PlatformError
from kola.platform import RunContext, Scope, load_platform, parse_options
from kola.results import ExitCode
from kola.runs import RunRecord, RunState, collect_run, list_runs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

HELP = "end machines that were kept, remove what killed runs left and saved machines that are old or too many"
DESCRIPTION = (
    "End machines that were kept on purpose (--keep-machines), remove what killed runs left, and of the machines saved "
    "for cloning those that were not used for long or are too many. Runs that go on are not touched. With --platform, "
    "remove from a cloud what carries the owner's tags and is old enough, or of one run: machines, volumes, images..."
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
    parser.add_argument(
        "--older-than", metavar="AGE", help="on a --platform that is a cloud: what is older goes, such as 24h, 90m, 7d"
    )
    options.add_to(parser, "kola_platform", "kola_platform_options", "kola_arch", "kola_owner", "kola_cache")


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    if args.run is not None and not re.fullmatch("[A-Za-z0-9]+", args.run):
        raise ConfigError(f"--run '{args.run}': expected the id of a run, such as cd28c8b8")
    if args.kola_platform is not None:
        return _gc_cloud(args)
    for flag, value in (
        ("--older-than", args.older_than),
        ("-P", args.kola_platform_options),
        ("--owner", args.kola_owner),
        ("--arch", args.kola_arch),
    ):
        if value is not None:
            raise ConfigError(f"{flag}: say on which cloud, with --platform; of this host all that was left goes")
    limits = optionvalues.clone_limits(args.clone_cache, args.clone_age)
    cache = optionvalues.cache_folder(args.kola_cache)
    runs = [run for run in list_runs(cache) if args.run in {None, run.run_id}]
    code = _gc(runs, dry_run=args.dry_run)
    clones = CloneCache(cache / CLONE_FOLDER, limits)
    if args.run is not None:
        print("" if runs else f"no run {args.run} has left anything\n", end="")
    else:
        print("" if _gc_clones(clones, dry_run=args.dry_run) or runs else "nothing to clean up\n", end="")
        print(f"saved machines: {clones.count()}, {clones.size_mib()} MiB in {clones.folder}")
    return code


def _gc_cloud(args: argparse.Namespace) -> int:
    """Remove from a cloud what its owner's runs left there, whichever host they ran on."""
    if args.older_than is None and args.run is None:
        raise ConfigError("kola gc --platform: say which age (--older-than 24h) or which run (--run ID)")
    given = {key: value for key, value in vars(args).items() if value is not None}
    settings = options.settings_of(given, Path.cwd())
    found = load_platform(args.kola_platform)
    if not issubclass(found, CloudPlatform):
        raise ConfigError(
            f"kola gc --platform {args.kola_platform}: no cloud; without --platform this host is cleaned up"
        )
    scope = Scope(settings.owner, args.run, older_than=None if args.older_than is None else _seconds(args.older_than))
    with tempfile.TemporaryDirectory(prefix="kola-gc-") as name:
        folder = Path(name)
        context = RunContext("gc", settings.owner, "gc", folder, folder, settings.cache)
        platform = found(parse_options(found, settings.platform_options), settings.arch, context)
        try:
            if args.dry_run:
                lines = [f"{kind} {one}: would go" for kind, ones in platform.find(scope).items() for one in ones]
            else:
                lines = [f"removed {line}" for line in platform.sweep(scope)]
        except PlatformError:
            platform.identify()  # says it more clearly if it is the credentials; not before: it wants more than a sweep
            raise
    print("\n".join(lines or [f"nothing of {settings.owner} to clean up on {args.kola_platform}"]))
    return ExitCode.PASSED


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match is None:
        raise ConfigError(f"--older-than '{text}': expected a number and a unit such as 90m, 24h, 7d")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


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
