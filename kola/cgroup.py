"""What the cgroup (v2) of this process, and those above it, leave it of the host."""

from __future__ import annotations

import math
import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Return how many cores this process can keep busy, at least 1: those of its affinity, or what a cgroup allows."""
    quotas = [quota for folder in own_folders() if (quota := cpu_quota(folder)) is not None]
    return max(1, math.floor(min([float(len(os.sched_getaffinity(0))), *quotas])))


def own_folders() -> list[Path]:
    """Return the folder of this process's cgroup and those above it; none without cgroup v2."""
    return folders(Path("/proc/self/cgroup").read_text(encoding="utf-8"), _ROOT)


def folders(membership: str, root: Path) -> list[Path]:
    """Return the folder of the cgroup named in a /proc/PID/cgroup and those above it; none without cgroup v2."""
    for line in membership.splitlines():
        if line.startswith("0::/"):
            own = Path(line.removeprefix("0::/"))
            return [root / own, *(root / parent for parent in own.parents)]
    return []


def memory_headroom(cgroup: Path) -> int | None:
    """Return the bytes that a cgroup may still use, page cache that can be dropped included; None if not limited.

    Source: "Memory Interface Files" of the kernel's admin-guide/cgroup-v2.
    """
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((cgroup / "memory.current").read_text())
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except FileNotFoundError:  # the root cgroup, or one without the memory controller
        return None
    cache = int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0))
    return max(0, int(limit) - used + cache)


def cpu_quota(cgroup: Path) -> float | None:
    """Return the cores that a cgroup may use on average; None if not limited.

    Source: "CPU Interface Files" of the kernel's admin-guide/cgroup-v2.
    """
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
    except FileNotFoundError:  # the root cgroup, or one without the CPU controller
        return None
    return None if limit == "max" else int(limit) / int(period)
