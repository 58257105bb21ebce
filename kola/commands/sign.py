"""``kola sign``: put the signed statement beside the results of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kola.results import ExitCode
from kola.statement import FILE, load_signer, sign_results

if TYPE_CHECKING:
    import argparse

HELP = "sign the results of runs: an in-toto statement beside results.json"
DESCRIPTION = (
    "Write results.intoto.jsonl beside the results.json of each folder: what was tested with which result, an in-toto "
    "statement in a DSSE envelope (see docs/results.md). 'kola gate' wants one of every run."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder of a run, with results.json")
    parser.add_argument(
        "--key", required=True, metavar="URI", help="private key: a PEM file, or awskms:, gcpkms:, azurekms:, hv:..."
    )
    parser.add_argument("--public-key", type=Path, metavar="FILE", help="its public half, of a key that is in no file")


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    signer = load_signer(args.key, args.public_key)
    for folder in args.folders:
        statement = sign_results(folder, signer)
        print(f"{folder / FILE}: {statement.result}, {len(statement.subjects)} subjects")
    return ExitCode.PASSED
