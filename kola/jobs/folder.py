"""The output folder of ``kola matrix run``: who works in it, what of it is done. Layout: docs/matrix.md."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from kola import results
from kola.errors import ConfigError, WaitTimeout
from kola.filelock import FileLock
from kola.jobs import keeper, state
from kola.results import ExitCode
from kola.statement import is_signed
from kola.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kola.matrix import Job
    from kola.results import RunRecord

LOG = "matrix.log"
_LOCK = ".lock"
_KEPT = {ExitCode.PASSED, ExitCode.FAILED, ExitCode.ONLY_WARNINGS, ExitCode.NOTHING_COLLECTED}
"""Verdicts that stand; a provider error is no verdict on the operating system."""


@dataclass(frozen=True)
class Subject:
    """What a job was about: only if all of it is the same, its results hold.

    Attributes:
        arguments: pytest's.
        image: digest of the image, or what is known of one that is not on this host.
        from_image: of that of ``--from-image``; empty if there is none.
        kola: version of the harness.
        suite: digest of the tests' files and of pytest's configuration.
    """

    arguments: tuple[str, ...]
    image: str
    from_image: str = ""
    kola: str = ""
    suite: str = ""


@dataclass(frozen=True)
class Folder:
    """The folder; ``locked`` holds it."""

    path: Path
    lock: FileLock

    def log_of(self, job: Job) -> Path:
        """Return the file for what the job's command writes."""
        return self.path / "jobs" / f"{job.name}.log"

    def record_of(self, job: Job) -> RunRecord | None:
        """Return the job's record as it is now; None if there is none that can be read."""
        try:
            record = results.read(self._results(job))
        except ConfigError:
            return None
        return record if record.name == job.name else None

    def begin(self, job: Job, subject: Subject) -> None:
        """Note what the job is about to test; what there was of it before does not count any more."""
        self._results(job).unlink(missing_ok=True)
        self._note(job, subject, None)

    def end(self, job: Job, subject: Subject, code: int) -> None:
        """Note how the job ended: its record alone does not know, for what comes after it may go wrong."""
        self._note(job, subject, code)

    def _note(self, job: Job, subject: Subject, code: int | None) -> None:
        path = self._subject(job)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps({**asdict(subject), "exit_code": code}, indent=1) + "\n")
        draft.replace(path)

    def done(self, job: Job, subject: Subject, *, signed: bool = False, since: float = 0.0) -> RunRecord | None:
        """Return the record of a job that need not be run again: complete, with a verdict, on the same subject.

        Args:
            job: of the matrix.
            subject: what it is to test now.
            signed: whether there has to be a statement about that record, too.
            since: unix seconds; what ended before is too old.
        """
        try:
            noted = json.loads(self._subject(job).read_bytes())
            code = noted.pop("exit_code")
            same = Subject(**{**noted, "arguments": tuple(noted["arguments"])}) == subject
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        record = self.record_of(job)
        if not same or record is None or not record.complete or code not in _KEPT or record.exit_code != code:
            return None
        if (record.started if record.finished is None else record.finished) < since:
            return None
        return record if not signed or is_signed(self.path / job.name) else None

    def _results(self, job: Job) -> Path:
        return self.path / job.name / "results.json"

    def _subject(self, job: Job) -> Path:
        return self.path / "jobs" / f"{job.name}.json"


@contextlib.contextmanager
def locked(path: Path, say: Callable[[str], None]) -> Iterator[Folder]:
    """Make the folder if there is none, and hold it: one ``kola matrix run`` works in it at a time.

    What is left of one that was killed ends by itself (``kola.jobs.keeper``): that is waited for.

    Args:
        path: of the folder.
        say: told what is waited for.

    Raises:
        ConfigError: it cannot be made, or somebody else holds it.
    """
    try:
        (path / "jobs").mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / _LOCK)
    except OSError as e:
        raise ConfigError(f"--output {path}: {e.strerror}") from e
    try:
        if not lock.try_take():
            _wait_for(lock, path, say)
        yield Folder(path, lock)
    finally:
        lock.leave()


def _wait_for(lock: FileLock, path: Path, say: Callable[[str], None]) -> None:
    process = None
    with contextlib.suppress(ConfigError):
        process = state.read(path).process
    if process is not None and process.alive():
        raise ConfigError(f"--output {path}: 'kola matrix run' works there already (pid {process.pid})")
    say("waiting for the jobs of a run that was killed to end")
    try:
        wait_until(lock.try_take, keeper.MOST_SECONDS + 30, what=f"{path / _LOCK}", interval=0.2)
    except WaitTimeout as e:
        raise ConfigError(f"--output {path}: somebody else works there: {e}") from e
