"""All that is measured, as one table: ``python -m benchmarks [SECTION...]``; docs/performance.md explains it."""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import clones, collection, commands, demo, makespan, suites
from benchmarks.table import HEADER, Row, at_most, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def _makespan() -> list[Row]:
    return [
        at_most(f"makespan, {row.workers} workers: {row.order}", row.ratio, 1.1, f"{row.makespan:.0f} s simulated")
        if row.order.startswith("kola, ") and "no records" not in row.order
        else Row(f"makespan, {row.workers} workers: {row.order}", row.ratio, detail=f"{row.makespan:.0f} s simulated")
        for row in makespan.rows()
    ]


SECTIONS: dict[str, Callable[[], Iterable[Row]]] = {
    "makespan": _makespan,
    "collection": collection.rows,
    "clones": clones.rows,
    "commands": commands.rows,
    "suites": suites.rows,
    "row": clones.row,
    "many": suites.many,
    "demo": demo.rows,
}
QUICK = ("makespan", "collection", "clones", "commands")


def main() -> None:
    """Run the sections that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; default: {', '.join(QUICK)}"
    )
    wanted = parser.parse_args().sections or list(QUICK)
    for name in wanted:
        if name not in SECTIONS:
            parser.error(f"unknown section '{name}'; allowed: {', '.join(SECTIONS)}")
    if len(wanted) == 1:
        print(HEADER)
        show(SECTIONS[wanted[0]]())
        return
    for name in wanted:  # each in a process of its own: libvirt's driver runs once in a process
        subprocess.run([sys.executable, "-m", "benchmarks", name], check=True)


if __name__ == "__main__":
    main()
