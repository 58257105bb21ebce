"""``kola gate``: may this build be released, may its rollout start."""

from __future__ import annotations

import datetime as dt
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kola.errors import ConfigError
from kola.gate import checklist, reading, show
from kola.gate.release import Metadata, Phase
from kola.gate.verdict import Question, cells_of, decide
from kola.results import ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kola.gate.build import Build, StreamRelease
    from kola.gate.history import History
    from kola.gate.policy import Policy
    from kola.gate.verdict import Verdict
    from kola.matrix import Matrix
    from kola.statement import Keys

HELP = "say whether a build may be released, with every reason"
DESCRIPTION = (
    "Judge the results of a build: 'release' or 'hold', with every reason (see docs/gate.md). What is missing or "
    "cannot be believed holds the release. Exit codes: 0 release, 1 hold, 4 the question itself is wrong."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("--stream", required=True, metavar="NAME", help="by its name in the matrix")
    parser.add_argument("--build", metavar="ID", help="build that is judged")
    parser.add_argument(
        "--meta",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="its meta.json, in the place of --build and --builds; may be repeated, one for each architecture",
    )
    parser.add_argument("--results", required=True, type=Path, metavar="DIR", help="folder with a folder for each job")
    parser.add_argument("--policy", required=True, type=Path, metavar="FILE", help="what a release needs: ci/gate.toml")
    parser.add_argument(
        "--phase",
        choices=[phase.value for phase in Phase],
        default=Phase.RESULTS.value,
        help="results alone (default), also what the release needs, or what its rollout needs after it",
    )
    parser.add_argument(
        "--builds",
        metavar="DIR",
        help="folder or URL with ID/ARCH/meta.json, as coreos-assembler makes it; '{stream}' in it is replaced",
    )
    parser.add_argument("--releases", metavar="FILE", help="releases.json of the stream: a file or URL, likewise")
    parser.add_argument(
        "--graph",
        action="append",
        default=[],
        metavar="ARCH=FILE",
        help="update graph: a file or URL, likewise; may be repeated",
    )
    parser.add_argument("--history", type=Path, metavar="DIR", help="earlier results: DIR/STREAM/BUILD/JOB")
    parser.add_argument(
        "--key", action="append", default=[], type=Path, metavar="FILE", help="public key beside those of the policy"
    )
    parser.add_argument(
        "--note", action="append", default=[], metavar="TEXT", help="what whoever reads the verdict has to know, too"
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    parser.add_argument("--verdict", type=Path, metavar="FILE", help="also write the verdict as JSON")
    parser.add_argument("--checklist", metavar="FILE", help="write the release checklist, in Markdown; '-': print it")


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    _forget(args)
    verdict = _judge(args)
    verdict = replace(verdict, notes=(*verdict.notes, *args.note))
    _show(verdict, args)
    return ExitCode.PASSED if verdict.release else ExitCode.FAILED


def _judge(args: argparse.Namespace) -> Verdict:
    phase, now = Phase(args.phase), time.time()
    if not args.stream.strip():
        raise ConfigError("--stream is empty: expected the stream that is judged")
    given = {"builds": args.builds or args.meta, "releases": args.releases, "graph": args.graph}
    needed = {Phase.PRE_RELEASE: ("builds", "releases"), Phase.ROLLOUT: ("builds", "releases", "graph")}
    if lacking := [f"--{name}" for name in needed.get(phase, ()) if not given[name]]:
        raise ConfigError(f"--phase {phase} needs {' and '.join(lacking)}")
    policy, matrix = reading.read_policy(args.policy)
    keys = reading.read_keys(args.policy, policy, args.key)
    today = dt.datetime.fromtimestamp(now, dt.UTC).date()
    arches = dict.fromkeys(cell.arch for cell in cells_of(matrix, args.stream, policy))
    places = _places(args, args.stream)
    build_id, builds = _build(args)
    releases = reading.read_releases(places.releases)
    return decide(
        Question(
            stream=args.stream,
            build_id=build_id,
            phase=phase,
            now=now,
            policy=policy,
            matrix=matrix,
            evidence=reading.read_evidence(args.results, keys),
            waivers=reading.read_waivers(args.policy, policy, today),
            metadata=Metadata(
                builds or reading.read_builds(places.builds, build_id, arches),
                releases,
                reading.read_graphs(pair.replace(reading.STREAM, args.stream) for pair in args.graph),
                wanted=bool(places.builds),
            ),
            histories=_histories(args, build_id, releases, _Known(policy, matrix, keys)),
        )
    )


def _build(args: argparse.Namespace) -> tuple[str, dict[str, Build]]:
    """Return the id of the build that is judged, and what its meta.json say if these are named one by one."""
    if bool(args.build and args.build.strip()) == bool(args.meta):
        raise ConfigError("which build? give --build ID, or --meta FILE")
    if args.meta and args.builds:
        raise ConfigError("--meta FILE says what --builds DIR would: give one of them")
    return (args.build, {}) if args.build else reading.read_meta(args.meta)


@dataclass(frozen=True)
class _Places:
    """Where the metadata of one stream are; empty: not given."""

    builds: str
    releases: str


def _places(args: argparse.Namespace, stream: str) -> _Places:
    return _Places(*(reading.place_of(given, stream, args.stream) for given in (args.builds, args.releases)))


@dataclass(frozen=True)
class _Known:
    """What holds for all streams."""

    policy: Policy
    matrix: Matrix
    keys: Keys


def _histories(
    args: argparse.Namespace, build_id: str, releases: Sequence[StreamRelease], known: _Known
) -> list[History]:
    """Read the earlier builds of the stream, and those of the one that it is promoted from."""
    source = known.policy.promoted_from.get(args.stream)
    streams = [args.stream, *([source] if source else [])] if args.history is not None else []
    return [
        reading.read_history(
            args.history,
            build_id if stream == args.stream else "",
            reading.Where(
                stream,
                cells_of(known.matrix, stream, known.policy),
                known.policy,
                known.keys,
                _places(args, stream).builds,
                releases if stream == args.stream else reading.read_releases(_places(args, stream).releases),
            ),
        )
        for stream in streams
    ]


def _files(args: argparse.Namespace) -> dict[str, Path]:
    """Return the files that the answer is written to, by their options."""
    given = {"checklist": None if args.checklist == "-" else args.checklist, "verdict": args.verdict}
    return {option: Path(path) for option, path in given.items() if path is not None}


def _forget(args: argparse.Namespace) -> None:
    """Remove the answer of an earlier time: if there is none this time, nobody is to take that for it."""
    for option, path in _files(args).items():
        try:
            if path.is_file() and not path.is_symlink():  # such as /dev/stdout
                path.unlink()
        except OSError as e:
            raise ConfigError(f"--{option} {path}: {e.strerror}") from e


def _show(verdict: Verdict, args: argparse.Namespace) -> None:
    text, plain = checklist.to_markdown(verdict), json.dumps(show.to_plain(verdict), indent=1)
    contents = {"checklist": text, "verdict": plain + "\n"}
    for option, path in _files(args).items():
        try:
            path.write_text(contents[option])
        except OSError as e:
            raise ConfigError(f"--{option} {path}: {e.strerror}") from e
    if args.json:
        print(plain)
    elif args.checklist == "-":
        print(text, end="")
    else:
        print(show.to_table(verdict), end="")
