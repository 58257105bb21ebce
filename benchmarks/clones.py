"""Clones against first boots, and many clones in a row: ``python -m benchmarks clones row``."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.flights import flight, to_first_command
from benchmarks.table import Row, at_least, at_most
from kola.errors import KolaError
from kola.needs import Isolation

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOTS, CLONES, IN_A_ROW = 3, 11, 200


def rows() -> Iterator[Row]:
    """Measure the way from nothing to the end of the first command."""
    with flight() as opened:
        _, golden = to_first_command(opened, Isolation.FRESH)  # saved now, if it was not
        golden.close(failed=False)
        boots, clones, ends = [], [], []
        for number in range(CLONES):
            if number % (CLONES // BOOTS + 1) == 0:
                seconds, machine = to_first_command(opened, Isolation.FIRST_BOOT)
                boots.append(seconds)
                machine.close(failed=False)
            seconds, machine = to_first_command(opened, Isolation.FRESH)
            clones.append(seconds)
            began = time.monotonic()
            machine.close(failed=False)
            ends.append(time.monotonic() - began)
    boot, clone = statistics.median(boots), statistics.median(clones)
    yield at_least(
        "clone to first command, against first boot", boot / clone, 20,
        f"{clone:.2f} s against {boot:.1f} s; medians of {len(clones)} and {len(boots)}",
    )  # fmt: skip
    yield at_most(
        "end of a machine, part of a clone's making", statistics.median(ends) / clone, 0.05,
        f"{statistics.median(ends) * 1000:.1f} ms until the next test may begin",
    )  # fmt: skip


def row(count: int = IN_A_ROW) -> Iterator[Row]:
    """Make many clones one after the other, each with a command, and count what failed."""
    failed, times = 0, []
    with flight() as opened:
        for _ in range(count):
            try:
                seconds, machine = to_first_command(opened, Isolation.FRESH)
                times.append(seconds)
                machine.close(failed=False)
            except KolaError as e:
                failed += 1
                print(f"FAILED: {e}", flush=True)
    detail = f"median {statistics.median(times):.2f} s, slowest {max(times):.2f} s"
    yield at_most(f"{count} clones in a row: failures", failed, 0, detail, unit="")
