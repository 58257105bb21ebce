"""The command line of `ci/testos/build`."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .cache import Cache
from .checks import check_host
from .definition import Definition
from .errors import BuildError
from .mounts import enter_namespace, in_namespace
from .output import Output
from .stages import STAGES, Job, Stage, keys, version

_DESCRIPTION = """Build the test OS: a small OSTree system that behaves like Fedora CoreOS where kola looks.
Stages whose inputs have not changed are taken from the cache; with nothing changed this takes no time."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="ci/testos/build",
        description=_DESCRIPTION,
        epilog="The result is CACHE/testos/x86_64/disk.qcow2 with image.json beside it; CACHE is $KOLA_CACHE, or "
        "kola in the user's cache folder. Needs root.",
    )
    parser.add_argument("--verbose", action="store_true", help="show what the tools print instead of logging it only")
    parser.add_argument("--stages", action="store_true", help="list stages, keys and what is cached; build nothing")
    parser.add_argument(
        "--refresh",
        metavar="STAGE",
        choices=[stage.name for stage in STAGES],
        help="build this stage again though nothing of ours changed (root: newer packages)",
    )
    return parser.parse_args(arguments)


def build(definition: Definition, cache: Cache, *, verbose: bool) -> Path:
    """Run the stages that are not cached; returns the image's folder."""
    found = keys(definition, cache.refreshed())
    final = cache.image(found["disk"])
    if (final / "image.json").exists():
        cache.point(definition.arch, final.name)
        return final
    check_host(cache.folder)
    enter_namespace()
    with cache.lock():
        cache.clean_scratch()
        cache.folder.joinpath("logs").mkdir(exist_ok=True)
        output = Output(log=cache.folder / "logs" / "build.log", verbose=verbose)
        output.log.write_text("")
        done: dict[str, Path] = {}
        for stage in STAGES:
            place = final if stage.name == "disk" else cache.stage(stage.name, found[stage.name])
            if not place.exists():
                job_version = version(definition, found)
                _run(stage, definition, cache, output, inputs=done, place=place, job_version=job_version)
            done[stage.name] = place
        cache.point(definition.arch, final.name)
        cache.prune(output, keep=set(done.values()))
        cache.clean_scratch()
    return final


def _run(
    stage: Stage,
    definition: Definition,
    cache: Cache,
    output: Output,
    *,
    inputs: dict[str, Path],
    place: Path,
    job_version: str,
) -> None:
    with output.stage(stage.name, stage.what), cache.workspace() as folder:
        result = folder / place.name
        result.mkdir()
        stage.build(
            Job(
                definition=definition,
                output=output,
                inputs={name: inputs[name] for name in stage.needs},
                scratch=folder,
                result=result,
                version=job_version,
            )
        )
        cache.publish(result, place)


def list_stages(definition: Definition, cache: Cache) -> None:
    """Say what is cached."""
    found = keys(definition, cache.refreshed())
    for stage in STAGES:
        key = found[stage.name]
        place = cache.image(key) if stage.name == "disk" else cache.stage(stage.name, key)
        state = "cached" if place.exists() else "to build"
        print(f"{stage.name:<10} {key}  {state:<8}  {stage.what}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build; returns the exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    # An ordinary termination unwinds like Ctrl-C, so that temporary folders go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    try:
        definition, cache = Definition(), Cache.default()
        if options.stages:
            list_stages(definition, cache)
            return 0
        if options.refresh and not in_namespace():
            check_host(cache.folder)
            cache.refresh(options.refresh)
        final = build(definition, cache, verbose=options.verbose)
    except BuildError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing is left behind, finished stages stay cached", file=sys.stderr)
        return 130
    size = (final / "disk.qcow2").stat().st_size / 1e6
    print(f"==> test OS is up to date ({size:.0f} MB, {time.monotonic() - began:.1f} s): {final / 'disk.qcow2'}")
    return 0
