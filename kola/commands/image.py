"""``kola image``: fetch an image, or say what is known of it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from kola import images, options
from kola.releaseimages import clouds_of_stream
from kola.results import ExitCode
from kola.terminal import image_progress

if TYPE_CHECKING:
    import argparse
    from typing import Any

    from kola.metadata import PlatformImage

HELP = "fetch an image, or say what is known of it"
DESCRIPTION = (
    "Find an image as --image does, fetch and unpack it if need be, verify it, and print what is known; of a stream "
    "also what clouds have of the same release. "
    f"Images: {images.FORMS}."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("action", choices=("fetch", "info"), help="fetch: print its path only; info: all that is known")
    parser.add_argument("image", metavar="IMAGE", help="as of --image")
    parser.add_argument("--json", action="store_true", help="as JSON")
    options.add_to(parser, "kola_arch", "kola_cache", "kola_image_url", "kola_image_keys")


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    settings = options.settings_of(vars(args), Path.cwd())
    image = images.resolve(
        args.image, cache=settings.cache, arch=settings.arch, progress=image_progress(_say), sources=settings.sources
    )
    known = {key: value for key, value in image.to_plain().items() if value}
    known.pop("updates", None)
    if args.action == "fetch":
        print(json.dumps(known, indent=1) if args.json else image.path)
        return ExitCode.PASSED
    scheme, _, name = args.image.partition(":")
    clouds = clouds_of_stream(name, settings.arch.name, settings.sources) if scheme == "stream" else []
    if args.json:
        print(json.dumps({**known, "clouds": [asdict(one) for one in clouds]} if clouds else known, indent=1))
        return ExitCode.PASSED
    _print_rows([(key, ", ".join(value) if isinstance(value, list) else value) for key, value in known.items()])
    _print_rows([(one.platform, _where(one)) for one in clouds])
    return ExitCode.PASSED


def _print_rows(rows: list[tuple[str, Any]]) -> None:
    width = max((len(key) for key, _ in rows), default=0)
    for key, value in rows:
        print(f"{key:{width}}  {value}")


def _where(cloud: PlatformImage) -> str:
    if cloud.artifact is not None:
        return cloud.artifact.location
    return f"{cloud.reference} {cloud.region}".rstrip()


def _say(line: str) -> None:
    print(line, file=sys.stderr)
