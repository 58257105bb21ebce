"""Machines and files that a run left behind: found by their tags, without libvirt."""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import TYPE_CHECKING

from kola.errors import PlatformError
from platforms.qemu.lifecycle import keep_log
from platforms.qemu.process import guests, helpers
from platforms.qemu.tags import Tags

if TYPE_CHECKING:
    from pathlib import Path

    from kola.platform import Scope


def sweep(scope: Scope, scratch: Path) -> list[str]:
    """End the guests and remove the folders that match; return the machines' names, sorted.

    Raises:
        PlatformError: something could not be removed; everything else was.
    """
    removed: set[str] = set()
    problems: list[str] = []
    for _, process in guests():
        with contextlib.closing(process):
            tags = Tags.from_environment(process.environment())
            if tags is None or not _covers(scope, tags):
                continue
            try:
                process.kill()
            except PlatformError as e:
                problems.append(f"{tags.name}: {e}")
                continue
            removed.add(tags.name)
            problems += _remove(tags)
    for process in helpers():  # those whose QEMU is gone end by themselves; one may never have had any
        with contextlib.closing(process), contextlib.suppress(PlatformError):
            tags = Tags.from_environment(process.environment())
            if tags is not None and _covers(scope, tags):
                process.kill()
    for folder in scratch.iterdir() if scratch.is_dir() else ():
        tags = Tags.from_folder(folder)
        if tags is not None and _covers(scope, tags):
            removed.add(tags.name)
            problems += _remove(tags)
    if problems:
        raise PlatformError(f"sweep: {'; '.join(problems)}")
    return sorted(removed)


def _covers(scope: Scope, tags: Tags) -> bool:
    age = time.time() - tags.created
    return scope.covers(name=tags.name, owner=tags.owner, run_id=tags.run_id, worker=tags.worker, age=age)


def _remove(tags: Tags) -> list[str]:
    # The folder came from the environment of a process: only what carries the same tags itself is removed.
    if Tags.from_folder(tags.folder) != tags:
        return []
    keep_log(tags.log, tags.artifacts)
    problems: list[str] = []
    shutil.rmtree(tags.folder, onerror=lambda _call, path, info: problems.append(f"{path}: {info[1]}"))
    return problems
