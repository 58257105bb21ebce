"""The command ``kola``: what is not a test run. Test runs are ``pytest --platform=NAME``."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import TYPE_CHECKING

from kola import __version__
from kola.arguments import Parser
from kola.errors import ConfigError, KolaError
from kola.results import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "list": "listing",
    "spawn": "spawn",
    "image": "image",
    "check-console": "check_console",
    "sign": "sign",
    "gate": "gate",
    "gc": "gc",
    "rehearse": "rehearse",
    "matrix": "matrix",
    "report": "report",
}
"""Name -> module of ``kola.commands``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = Parser(prog="kola", description="What is not a test run. Test runs are: pytest --platform=NAME")
    parser.add_argument("--version", action="version", version=f"kola {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = {name: importlib.import_module(f"kola.commands.{module}") for name, module in COMMANDS.items()}
    for name, module in modules.items():
        module.add_arguments(commands.add_parser(name, help=module.HELP, description=module.DESCRIPTION))
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["list"]:
        given[1:] = modules["list"].split(given[1:])
    args = parser.parse_args(given)
    try:
        return int(modules[args.command].run(args))
    except KolaError as e:
        print("\n".join([f"ERROR: {e}", *getattr(e, "__notes__", ())]), file=sys.stderr)
        return ExitCode.USAGE_ERROR if isinstance(e, ConfigError) else ExitCode.FAILED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception:  # noqa: BLE001 - whatever it is, it is no answer
        # A mistake of kola's own. Python would end with 1, which is an answer of 'kola gate' and others.
        traceback.print_exc()
        print("ERROR: that is a mistake in kola itself: please report it with the lines above", file=sys.stderr)
        return ExitCode.INTERNAL_ERROR
