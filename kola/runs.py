"""What this host knows of runs that are not over or left something: one small file each in the cache.

A run's reaper writes it and removes it when nothing is left. A file whose reaper is gone (killed, or the host went
down) says what ``kola gc`` still has to remove.
"""

from __future__ import annotations

import enum
import json
import logging
import os
import shutil
import signal
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kola.arch import get_arch
from kola.errors import ConfigError, PlatformError
from kola.platform import Platform, RunContext, Scope, load_platform
from kola.process import ProcessId
from kola.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Collection

VERSION = 1
_LOG = logging.getLogger(__name__)


class RunState(enum.StrEnum):
    """What ``kola gc`` may do with a run: leave ``running`` alone, end ``kept`` early, always end ``orphaned``."""

    RUNNING = "running"
    KEPT = "kept"
    """Over, but machines were kept on purpose and their time is not up."""
    ORPHANED = "orphaned"
    """Nobody is left to clean up after it."""


@dataclass(frozen=True)
class RunRecord:
    """Everything needed to clean up after a run. Its file may hold secrets among the options: only the owner reads it.

    Attributes:
        run_id: of the run, as in ``RunContext``; so are owner, artifacts, scratch and cache.
        platform: as given to ``--platform``.
        options: the fields of the platform's ``Options`` as plain data.
        arch: name of the architecture.
        controller: pytest's main process.
        reaper: the process that cleans up.
        python_path: the controller's ``sys.path``: a platform may be found nowhere else.
        kept: names of machines kept on purpose.
        expires_at: when those go, in unix seconds; None without any.
        over: the controller has ended.
    """

    run_id: str
    owner: str
    platform: str
    options: dict[str, Any]
    arch: str
    artifacts: Path
    scratch: Path
    cache: Path
    controller: ProcessId
    reaper: ProcessId | None = None
    python_path: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    expires_at: float | None = None
    over: bool = False

    @property
    def path(self) -> Path:
        """The file of this record."""
        return self.cache / "runs" / f"{self.run_id}.json"

    @property
    def state(self) -> RunState:
        """Whether somebody still looks after the run."""
        if self.reaper is not None and self.reaper.alive():
            return RunState.KEPT if self.over and self.kept else RunState.RUNNING
        return RunState.ORPHANED if self.over or not self.controller.alive() else RunState.RUNNING

    def load(self, worker: str) -> Platform:
        """Construct the platform as process ``worker`` of the run.

        Raises:
            ConfigError: it cannot be loaded here.
        """
        sys.path.extend(folder for folder in self.python_path if folder not in sys.path)
        platform = load_platform(self.platform)
        context = RunContext(self.run_id, self.owner, worker, self.artifacts, self.scratch, self.cache)
        return platform(platform.Options(**self.options), get_arch(self.arch), context)

    def to_plain(self) -> dict[str, Any]:
        """Return builtin types only."""
        paths = {name: str(getattr(self, name)) for name in ("artifacts", "scratch", "cache")}
        return {"version": VERSION, **asdict(self), **paths}

    @classmethod
    def from_plain(cls, plain: Any) -> RunRecord:
        """Return what ``to_plain`` took apart.

        Raises:
            ValueError: it is something else.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(plain, dict) or plain.keys() != names | {"version"} or plain["version"] != VERSION:
            raise ValueError(f"not a version {VERSION} record of a run")
        values = {name: plain[name] for name in names}
        for name in ("artifacts", "scratch", "cache"):
            values[name] = Path(values[name])
        for name in ("controller", "reaper"):
            values[name] = values[name] and ProcessId(**values[name])
        for name in ("python_path", "kept"):
            values[name] = tuple(values[name])
        return cls(**values)


def write_record(record: RunRecord) -> None:
    """Write the record's file as a whole; it survives a crash of the host."""
    record.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = record.path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - only open() takes a descriptor
        json.dump(record.to_plain(), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(record.path)


def read_record(path: Path) -> RunRecord | None:
    """Return the record in a file; None if there is none or it is something else."""
    try:
        return RunRecord.from_plain(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as e:
        _LOG.warning("%s: %s", path, e)
        return None


def list_runs(cache: Path) -> list[RunRecord]:
    """Return the runs of this cache that are not over or left something, by run id."""
    records = (read_record(path) for path in sorted((cache / "runs").glob("*.json")))
    return [record for record in records if record is not None]


def clear_run(record: RunRecord, platform: Platform, keep: Collection[str] = ()) -> list[str]:
    """Remove what a run left; with nothing kept also its scratch folder and its record. Idempotent.

    Returns:
        The names of what the platform removed.

    Raises:
        PlatformError: something could not be removed; the record stays.
    """
    removed = platform.sweep(Scope(record.owner, record.run_id, keep=frozenset(keep)))
    if not keep:
        remove_scratch(record.scratch)
        record.path.unlink(missing_ok=True)
    return removed


def remove_scratch(folder: Path) -> None:
    """Remove a scratch folder; none is fine too.

    Raises:
        PlatformError: something in it cannot be removed.
    """
    problems: list[str] = []
    shutil.rmtree(folder, onerror=lambda _call, path, info: problems.append(f"{path}: {info[1]}"))
    if folder.exists():
        raise PlatformError(f"cannot remove the scratch folder: {'; '.join(problems[:3]) or folder}")


def collect_run(record: RunRecord, timeout: float = 120) -> list[str]:
    """End a run that is over: kept machines go before their time, an orphaned run's remains go. Idempotent.

    Args:
        record: from ``list_runs``.
        timeout: seconds for a living reaper to do it.

    Returns:
        The names of what this process had to remove itself; a living reaper does it otherwise.

    Raises:
        ConfigError: it is still running.
        PlatformError: something could not be removed.
        WaitTimeout: the reaper does not end.
    """
    if record.state is RunState.RUNNING:
        raise ConfigError(f"run {record.run_id} is still running (pid {record.controller.pid})")
    reaper = record.reaper
    if reaper is not None and reaper.kill(signal.SIGTERM):
        wait_until(lambda: not reaper.alive(), timeout, what=f"the reaper of run {record.run_id} (pid {reaper.pid})")
        if not record.path.exists():
            return []
    return clear_run(record, record.load("gc"))
