"""A pytest plugin: the controller writes its greatest memory use, in KiB, to the file ``peak`` in its folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        (found,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        (config.invocation_params.dir / "peak").write_text(found)
