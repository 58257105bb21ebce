"""``kola matrix``: what is tested where and how often, as jobs for a CI system; and runs these on this host."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kola import images, matrix, options
from kola.arch import get_arch
from kola.cgroup import available_cores
from kola.errors import ConfigError
from kola.gate.reading import read_policy
from kola.jobs import state
from kola.jobs.board import Board, table, totals
from kola.jobs.folder import LOG, Subject, locked
from kola.jobs.running import Runs, Share
from kola.jobs.suite import digest_of
from kola.platform import load_platform, parse_options
from kola.results import ExitCode
from kola.terminal import image_progress
from kola.version import harness_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kola.matrix import Cell, Job
    from kola.options import Settings

HELP = "what is tested where and how often: jobs for a CI system, or run here"
DESCRIPTION = (
    "Show the jobs of a matrix of streams, platforms, architectures, suites and firmware (docs/matrix.md), as a table "
    "or for a CI system. 'kola matrix run' runs them on this host and goes on where an earlier one was stopped; "
    "'kola matrix status' shows how far it is."
)
FILE = "ci/matrix.toml"
FORMATS = ("table", "github", "json")
MOST_GITHUB = 256
"""Jobs that GitHub Actions makes of one matrix. Source: its limits for workflows."""
CORES_PER_JOB = 4
SCHEMA = 1
_FORWARDED = {
    "kola_image_url": "--image-url",
    "kola_image_keys": "--image-keys",
    "kola_sign_key": "--sign-key",
    "kola_sign_public_key": "--sign-public-key",
}
"""Options that each pytest of ``run`` gets, too; they do not change what is tested."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    _add_choice(parser)
    parser.add_argument("--format", choices=FORMATS, default="table", help="how to show the jobs (default: table)")
    parser.add_argument(
        "--output", metavar="DIR", default="results", help="folder of the results, in the jobs' commands"
    )
    actions = parser.add_subparsers(dest="action", metavar="run | status")
    run_parser = actions.add_parser(
        "run",
        help="run the jobs on this host",
        description=(
            "Run the jobs on this host. A job whose results are complete, with a verdict, for the same image and "
            "arguments is not run again. Ctrl-C ends the running ones; what they had is run again the next time."
        ),
    )
    _add_choice(run_parser)
    run_parser.add_argument(
        "--output", metavar="DIR", required=True, help="folder for the results; of an earlier one: go on there"
    )
    run_parser.add_argument(
        "--jobs", metavar="N", type=int, help=f"at a time (default: one for each {CORES_PER_JOB} cores of this host)"
    )
    options.add_to(run_parser, "kola_cache", *_FORWARDED)
    status = actions.add_parser("status", help="how far it is", description="Show how far 'kola matrix run' is.")
    status.add_argument("--output", metavar="DIR", required=True, help="the folder given to 'kola matrix run'")
    status.add_argument("--json", action="store_true", help="as JSON")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    """Add what chooses jobs: to the command and to ``run``, so that it may stand before and behind that word."""
    once: dict[str, Any] = {"default": argparse.SUPPRESS}
    often: dict[str, Any] = {"action": "append", **once}
    parser.add_argument("--matrix", metavar="FILE", **once, help=f"the matrix (default: {FILE}, or the policy's)")
    parser.add_argument(
        "--policy", metavar="FILE", **once, help="only what this policy of 'kola gate' looks at: ci/gate.toml"
    )
    parser.add_argument(
        "--cadence",
        choices=[each.value for each in matrix.Cadence],
        **once,
        help="of this run; a rarer one includes the more frequent",
    )
    parser.add_argument("--stream", metavar="NAME", **often, help="only of this stream; may be repeated")
    parser.add_argument("--platform", metavar="NAME", **often, help="only on this platform; may be repeated")
    parser.add_argument("--arch", metavar="ARCH", **often, help="only on this architecture; may be repeated")
    parser.add_argument("--suite", metavar="NAME", **often, help="only this suite; may be repeated")
    parser.add_argument("--job", metavar="NAME", **often, help="only this job, or this cell's; may be repeated")
    parser.add_argument("--required", action="store_true", **once, help="only what a release waits for")
    parser.add_argument(
        "--image", metavar="IMAGE", **once, help="this one instead of the stream's; of one stream, such as build:DIR"
    )


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    if args.action == "status":
        return _status(Path(args.output), as_json=args.json)
    jobs, source = _chosen(args)
    if args.action == "run":
        return _run(args, jobs, source)
    plain = [job.to_json(args.output) for job in jobs]
    if args.format == "github":
        if len(plain) > MOST_GITHUB:
            raise ConfigError(f"{len(plain)} jobs: GitHub makes at most {MOST_GITHUB} of a matrix; choose fewer")
        print(json.dumps({"include": plain}, separators=(",", ":")))
    elif args.format == "json":
        print(json.dumps({"schema": SCHEMA, "jobs": plain}, indent=1))
    else:
        _print_table(plain)
    return ExitCode.PASSED


def _chosen(args: argparse.Namespace) -> tuple[Sequence[Job], str]:
    """Return the jobs, and the file that they are from."""
    given = vars(args)
    chosen: dict[str, Any] = {}
    if "policy" in given:
        if "matrix" in given:
            raise ConfigError("--policy names its matrix: --matrix cannot be given, too")
        policy, read = read_policy(Path(given["policy"]))
        chosen = {"cadence": policy.cadence, "platform": policy.platforms, "suite": policy.suites}
        for kind in ("platform", "suite"):
            if chosen[kind] and (more := [name for name in given.get(kind, ()) if name not in chosen[kind]]):
                known = ", ".join(chosen[kind])
                raise ConfigError(f"--{kind} {more[0]}: {given['policy']} does not look at it, only at: {known}")
    else:
        read = matrix.read(Path(given.get("matrix", FILE)))
    given = {**chosen, **given}
    if "image" in given:
        if not given["image"]:
            raise ConfigError("--image '': expected IMAGE")
        read = read.with_image(given["image"], given.get("stream", ()))
    choice = matrix.Choice(
        cadence=matrix.Cadence(given["cadence"]) if "cadence" in given else None,
        streams=given.get("stream", ()),
        platforms=given.get("platform", ()),
        arches=given.get("arch", ()),
        suites=given.get("suite", ()),
        jobs=given.get("job", ()),
        required=given.get("required", False),
    )
    return read.jobs(choice), read.source


def _print_table(jobs: Sequence[dict[str, Any]]) -> None:
    columns = ("name", "cadence", "timeout_min", "runner")
    rows = [["NAME", "CADENCE", "MINUTES", "RUNNER", "RELEASE"]]
    rows += [[*(str(job[key]) for key in columns), "required" if job["required"] else "informing"] for job in jobs]
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{word:{width}}" for word, width in zip(row, widths, strict=True)).rstrip())


def _run(args: argparse.Namespace, jobs: Sequence[Job], source: str) -> int:
    settings = options.settings_of(vars(args), Path.cwd())
    share = _share(args.jobs, available_cores())
    with _writing(args.output), locked(Path(args.output), functools.partial(print, file=sys.stderr)) as folder:
        board = Board(sys.stdout, folder.path / LOG)
        runs = Runs(
            jobs,
            folder,
            board,
            share,
            subject=_Subjects(settings, board, source).of,
            more=tuple(f"{flag}={value}" for name, flag in _FORWARDED.items() if (value := getattr(args, name))),
            environment={"KOLA_CACHE": str(settings.cache)},
            signed=bool(args.kola_sign_key),
            since=_oldest(args),
        )
        code = runs.run()
        states = list(runs.states.values())
        for line in ("", *table(states), "", totals(states), f"results: {folder.path}"):
            print(line)
    return code


def _oldest(args: argparse.Namespace) -> float:
    """Unix seconds: what ended before is too old for the policy, and is run again."""
    if "policy" not in vars(args):
        return 0.0
    policy, _ = read_policy(Path(args.policy))
    return time.time() - policy.max_age_hours * 3600


@contextlib.contextmanager
def _writing(output: str) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise ConfigError(f"--output {output}: {e.strerror or e}") from e


def _share(jobs: int | None, cores: int) -> Share:
    if jobs is not None and not 1 <= jobs <= cores:
        raise ConfigError(f"--jobs {jobs}: this host has {cores} cores; allowed: 1 to {cores}")
    return Share(jobs or max(1, cores // CORES_PER_JOB), cores)


class _Subjects:
    """Says what a job tests; an image is looked at once. ``source`` names the matrix in messages."""

    def __init__(self, settings: Settings, board: Board, source: str) -> None:
        self._settings, self._source = settings, source
        self._progress = image_progress(board.say)
        self._identity = functools.cache(self._resolve)

    def of(self, job: Job) -> Subject:
        """Return it.

        Raises:
            ConfigError: there is no such image, platform, option of it, or path of the suite.
        """
        cell = job.cell
        cloud = self._cloud(cell)
        try:
            tests = digest_of(cell.suite, Path.cwd())
        except ConfigError as e:
            raise ConfigError(f"{self._source}: {e}") from e
        start = self._identity(cell.from_image, cell.arch, cloud) if cell.from_image else ""
        image = self._identity(cell.stream.image, cell.arch, cloud)
        return Subject(job.arguments, image, start, harness_version(), tests)

    def _cloud(self, cell: Cell) -> images.Cloud | None:
        if cell.runner is not matrix.Runner.PYTEST:
            return None
        try:
            platform = load_platform(cell.platform.driver)
            return images.Cloud.of(platform, parse_options(platform, cell.platform.options))
        except ConfigError as e:
            raise ConfigError(f"{self._source}: [platforms.{cell.platform.name}]: {e}") from e

    def _resolve(self, reference: str, arch: str, cloud: images.Cloud | None) -> str:
        settings = self._settings
        image = images.resolve(
            reference,
            cache=settings.cache,
            arch=get_arch(arch),
            progress=self._progress,
            sources=settings.sources,
            cloud=cloud,
        )
        # Builds of one disk can differ, too: in their releases.
        return f"{image.sha256 or image.reference} {image.build_id}".rstrip()


def _status(output: Path, *, as_json: bool) -> int:
    saved = state.read(output)
    if as_json:
        print((output / state.STATE_FILE).read_text(), end="")
        return ExitCode.PASSED
    for line in (*table(saved.jobs), "", totals(saved.jobs)):
        print(line)
    print(f"pid {saved.process.pid} works on it" if saved.process.alive() else "nothing works on it now")
    return ExitCode.PASSED
