"""Machines and files that a run left behind: found by their tags, without libvirt."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola.errors import PlatformError
from platforms.qemu.lifecycle import keep_log
from platforms.qemu.process import guests
from platforms.qemu.tags import Tags

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Wanted:
    """What a sweep is after; None stands for any. ``older_than`` is in seconds, ``keep`` are names to leave alone."""

    owner: str
    run_id: str | None
    worker: str | None
    older_than: float | None
    keep: frozenset[str]

    def matches(self, tags: Tags, now: float) -> bool:
        """Tell whether a machine with these tags must go."""
        return (
            tags.owner == self.owner
            and tags.name not in self.keep
            and self.run_id in {None, tags.run_id}
            and self.worker in {None, tags.worker}
            and (self.older_than is None or now - tags.created > self.older_than)
        )


def sweep(wanted: Wanted, scratch: Path) -> list[str]:
    """End the guests and remove the folders that match; return the machines' names, sorted.

    Raises:
        PlatformError: something could not be removed; everything else was.
    """
    now = time.time()
    removed: set[str] = set()
    problems: list[str] = []
    for _, process in guests():
        with contextlib.closing(process):
            tags = Tags.from_environment(process.environment())
            if tags is None or not wanted.matches(tags, now):
                continue
            try:
                process.kill()
            except PlatformError as e:
                problems.append(f"{tags.name}: {e}")
                continue
            removed.add(tags.name)
            problems += _remove(tags)
    for folder in scratch.iterdir() if scratch.is_dir() else ():
        tags = Tags.from_folder(folder)
        if tags is not None and wanted.matches(tags, now):
            removed.add(tags.name)
            problems += _remove(tags)
    if problems:
        raise PlatformError(f"sweep: {'; '.join(problems)}")
    return sorted(removed)


def _remove(tags: Tags) -> list[str]:
    # The folder came from the environment of a process: only what carries the same tags itself is removed.
    if Tags.from_folder(tags.folder) != tags:
        return []
    keep_log(tags.log, tags.artifacts)
    problems: list[str] = []
    shutil.rmtree(tags.folder, onerror=lambda _call, path, info: problems.append(f"{path}: {info[1]}"))
    return problems
