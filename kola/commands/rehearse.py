"""``kola rehearse``: a cloud on this host, to try a platform's tests on before they cost anything."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kola import images, options
from kola.errors import ConfigError
from kola.results import ExitCode
from kola.wait import wait_until

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kola.images import Image

HELP = "serve a cloud on this host, and run tests on it"
DESCRIPTION = (
    "Serve the API of a cloud on loopback, whose machines are guests of this host: their Ignition reads the metadata "
    "service of that cloud. Prints what to give pytest; behind '--', runs pytest with it and ends with its exit code. "
    "Nothing of it is left at the end."
)
_FOREVER = 365 * 86400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("name", metavar="NAME", help="aws, gcp or azure")
    parser.add_argument("pytest", nargs="*", metavar="PYTEST-ARG", help="run pytest with these, behind '--'")
    parser.add_argument("--port", type=int, default=0, help="of 127.0.0.1 for the API (default: any)")
    parser.add_argument("--slow", type=float, default=0.0, metavar="SECONDS", help="how long machines take to be on")
    parser.add_argument("--limit", type=float, default=0.0, metavar="N", help="throttle calls beyond N a second")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="FAULT",
        help="let calls fail: TROUBLE[:CALL[:AFTER[:TIMES]]], such as throttle, capacity:RunInstances, error:*:10:3",
    )
    options.add_to(parser, "kola_image", "kola_arch", "kola_cache")


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    server, faults = _modules()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leave nothing then, too
    given = {"kola_image": "testos", **{key: value for key, value in vars(args).items() if value is not None}}
    settings = options.settings_of(given, Path.cwd())
    server.front_end(args.name)  # what is wrong with the name is said before an image is read
    injections = [faults.parse(text) for text in args.fault]
    image = images.resolve(str(settings.image), cache=settings.cache, arch=settings.arch)
    with server.rehearse(args.name, settings.arch, (image.path,), slow_seconds=args.slow, port=args.port) as rehearsal:
        rehearsal.faults.limit(args.limit)
        for injection in injections:
            rehearsal.faults.add(injection)
        wanted = pytest_arguments(rehearsal, image, args.pytest)
        environment = rehearsal.environment()
        if args.pytest:
            signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for pytest, which cleans up before this ends
            command = [sys.executable, "-m", "pytest", *wanted, *args.pytest]
            return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode
        print(" ".join(f"{key}={shlex.quote(value)}" for key, value in environment.items()), end=" \\\n  ")
        print(shlex.join(["pytest", *wanted]), flush=True)
        print(f"{args.name} is served at {rehearsal.front.url} until Ctrl-C", file=sys.stderr, flush=True)
        wait_until(lambda: False, _FOREVER, what="the end", interval=1)
    return ExitCode.PASSED


def pytest_arguments(rehearsal: Any, image: Image, given: Sequence[str]) -> list[str]:
    """Return what pytest needs to find a rehearsed cloud and its image, and to know what that is.

    Args:
        rehearsal: the cloud, a ``rehearsal.server.Rehearsal``.
        image: what its first image was made of.
        given: the user's own arguments; with an ``--image`` among them that of the cloud is left out.
    """
    wanted = [f"--platform={rehearsal.name}"]
    if not any(word.partition("=")[0] == "--image" for word in given):
        known = rehearsal.host.folder / "image.json"
        known.write_text(json.dumps(image.description()))
        wanted += [f"--image=cloud:{rehearsal.images[0]}", f"--image-metadata={known}"]
    return [*wanted, *(word for key, value in rehearsal.options().items() for word in ("-P", f"{key}={value}"))]


def _modules() -> tuple[Any, Any]:
    """Import the rehearsed clouds, which not every installation has."""
    try:
        return importlib.import_module("rehearsal.server"), importlib.import_module("rehearsal.faults")
    except ModuleNotFoundError as e:
        raise ConfigError(
            f"kola rehearse needs the Python module '{e.name}': pip install 'pytest-kola[rehearsal]'"
        ) from e
