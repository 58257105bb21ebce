"""The parser of the command lines that are not pytest's."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from kola.results import ExitCode

if TYPE_CHECKING:
    from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Ends as every usage error does: argparse's own 2 is the exit code of what was interrupted."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and exit."""
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE_ERROR, f"{self.prog}: error: {message}\n")
