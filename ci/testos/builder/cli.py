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
from .plan import Step, plan
from .stages import STAGES, Job
from .variants import releases, with_variant

_DESCRIPTION = """Build the test OS: a small OSTree system that behaves like Fedora CoreOS where kola looks.
Stages whose inputs have not changed are taken from the cache; with nothing changed this takes no time."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="ci/testos/build",
        description=_DESCRIPTION,
        epilog="The result is CACHE/testos/x86_64/ (of a variant: x86_64-NAME/) with disk.qcow2, image.json, "
        "meta.json and the repository of updates; CACHE is $KOLA_CACHE, or kola in the user's cache folder. "
        "Needs root.",
    )
    parser.add_argument("--verbose", action="store_true", help="show what the tools print instead of logging it only")
    parser.add_argument(
        "--variant",
        metavar="NAME",
        help="build a variant: a folder in ci/testos/variants, or the path of one (with a '/'); "
        "`--image testos:NAME` boots it",
    )
    parser.add_argument("--stages", action="store_true", help="list stages, keys and what is cached; build nothing")
    parser.add_argument(
        "--refresh",
        metavar="STAGE",
        choices=[stage.name for stage in STAGES],
        help="build this stage again though nothing of ours changed (root: newer packages)",
    )
    return parser.parse_args(arguments)


def build(series: Sequence[Definition], cache: Cache, *, link: str, verbose: bool) -> Path:
    """Run the stages that are not cached; returns the image's folder."""
    steps = plan(series, cache.refreshed())
    final = cache.place(steps[-1])
    if (final / "image.json").exists():
        cache.point(link, final.name)
        return final
    check_host(cache.folder)
    enter_namespace()
    with cache.lock():
        cache.clean_scratch()
        cache.folder.joinpath("logs").mkdir(exist_ok=True)
        output = Output(log=cache.folder / "logs" / "build.log", verbose=verbose)
        output.log.write_text("")
        for step in steps:
            if not cache.place(step).exists():
                _run(step, cache, output)
        cache.point(link, final.name)
        cache.prune(output, keep={cache.place(step) for step in steps})
        cache.clean_scratch()
    return final


def _run(step: Step, cache: Cache, output: Output) -> None:
    stage, place = step.stage, cache.place(step)
    which = f", release {step.definition.release}" if not stage.once and step.definition.release > 1 else ""
    with output.stage(stage.name, stage.what + which), cache.workspace() as folder:
        result = folder / place.name
        result.mkdir()
        stage.build(
            Job(
                definition=step.definition,
                output=output,
                inputs={name: cache.place(one) for name, one in step.inputs.items()},
                scratch=folder,
                result=result,
                version=step.version,
            )
        )
        cache.publish(result, place)


def list_stages(series: Sequence[Definition], cache: Cache) -> None:
    """Say what is cached."""
    for step in plan(series, cache.refreshed()):
        state = "cached" if cache.place(step).exists() else "to build"
        release = "" if step.stage.once else str(step.definition.release)
        print(f"{step.stage.name:<10} {release:<2} {step.key}  {state:<8}  {step.stage.what}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build; returns the exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    # An ordinary termination unwinds like Ctrl-C, so that temporary folders go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    try:
        series, cache = releases(), Cache.default()
        link = series[0].arch
        if options.variant:
            series = with_variant(series, options.variant)
            link += series[0].name.removeprefix(Definition.name)
        if options.stages:
            list_stages(series, cache)
            return 0
        if options.refresh and not in_namespace():
            check_host(cache.folder)
            cache.refresh(options.refresh)
        final = build(series, cache, link=link, verbose=options.verbose)
    except BuildError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing is left behind, finished stages stay cached", file=sys.stderr)
        return 130
    size = (final / "disk.qcow2").stat().st_size / 1e6
    print(f"==> test OS is up to date ({size:.0f} MB, {time.monotonic() - began:.1f} s): {final / 'disk.qcow2'}")
    return 0
