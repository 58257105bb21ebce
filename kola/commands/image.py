"""``kola image``: fetch an image, or say what is known of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kola import images, options
from kola.results import ExitCode
from kola.terminal import image_progress

if TYPE_CHECKING:
    import argparse
HELP = "fetch an image, or say what is known of it"
DESCRIPTION = (
    "Find an image as --image does, fetch and unpack it if need be, verify it, and print what is known. "
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
    if args.json:
        print(json.dumps(known, indent=1))
    elif args.action == "fetch":
        print(image.path)
    else:
        width = max(map(len, known))
        for key, value in known.items():
            print(f"{key:{width}}  {', '.join(value) if isinstance(value, list) else value}")
    return ExitCode.PASSED


def _say(line: str) -> None:
    print(line, file=sys.stderr)
