"""A flight without pytest: machines made as the plugin makes them, to be measured one by one."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kola.arch import host_arch
from kola.clonecache import Limits
from kola.flight import Flight
from kola.needs import Needs
from kola.options import Settings
from kola.optionvalues import cache_folder, memory_budget
from kola.run import start_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kola.flight import Reservation
    from kola.needs import Isolation

MEMORY_MIB = 1536


@contextlib.contextmanager
def flight() -> Iterator[Flight]:
    """Open a run on the test OS with the user's own cache."""
    with tempfile.TemporaryDirectory(prefix="kola-bench-") as output:
        settings = Settings(
            platform="qemu",
            arch=host_arch(),
            image="testos",
            platform_options=(),
            clone=True,
            clone_limits=Limits(),
            keep_machines="never",
            output=Path(output),
            cache=cache_folder(),
            memory_budget_mib=memory_budget(None),
            owner="benchmark",
        )
        with start_run(settings, workers=1) as run, Flight(run.info, run.platform, run.reaper.keep) as opened:
            yield opened


def needs(isolation: Isolation) -> Needs:
    """Return what a small test needs."""
    return Needs(isolation=isolation)


def to_first_command(opened: Flight, isolation: Isolation) -> tuple[float, Reservation]:
    """Make a machine and run a command; return the seconds that took, and the machine's reservation."""
    began = time.monotonic()
    reservation = opened.reserve(needs(isolation), f"benchmark ({isolation})")
    reservation.launch().run("exec true")
    return time.monotonic() - began, reservation
