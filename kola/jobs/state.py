"""What is known of the jobs of a matrix, and its file: ``OUTPUT/matrix.json``, replaced as a whole."""

from __future__ import annotations

import enum
import json
import os
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from kola.errors import ConfigError
from kola.process import ProcessId
from kola.results import PRECEDENCE, ExitCode, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from typing import Any

    from kola.matrix import Job
    from kola.results import RunRecord

SCHEMA = 1
STATE_FILE = "matrix.json"
_BAD = (Outcome.FAILED, Outcome.PROVIDER_ERROR, Outcome.FLAKY, Outcome.WARNED)
_VERDICTS = {
    ExitCode.PASSED: "passed",
    ExitCode.FAILED: "failed",
    ExitCode.INTERRUPTED: "interrupted",
    ExitCode.INTERNAL_ERROR: "internal error",
    ExitCode.USAGE_ERROR: "usage error",
    ExitCode.NOTHING_COLLECTED: "no tests",
    ExitCode.PROVIDER_ERROR: "provider error",
    ExitCode.ONLY_WARNINGS: "only warnings",
}


class Phase(enum.StrEnum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"


@dataclass
class JobState:
    """One job.

    Attributes:
        name: the job's.
        required: whether a release waits for its cell.
        phase: how far it is.
        code: when it is done; one of ``ExitCode``.
        began, ended: unix seconds; 0 if it has not.
        limit: seconds that it may take.
        counts: of its tests by outcome, as far as its record says.
        why: what a person has to know beside that.
    """

    name: str
    required: bool = True
    phase: Phase = Phase.WAITING
    code: int | None = None
    began: float = 0.0
    ended: float = 0.0
    limit: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    why: str = ""

    @classmethod
    def of(cls, job: Job) -> JobState:
        """Return that of a job that has not begun."""
        return cls(job.name, job.cell.required, limit=60.0 * job.cell.timeout_min)

    def start(self) -> None:
        """It begins."""
        self.phase, self.began = Phase.RUNNING, time.time()

    def finish(self, code: int, why: str = "") -> None:
        """It is over."""
        self.phase, self.ended, self.why = Phase.DONE, time.time(), why
        self.code = code if code in set(ExitCode) else ExitCode.INTERNAL_ERROR
        if self.code != code:
            self.why = why or f"exit code {code}"

    def take(self, record: RunRecord) -> None:
        """Take the counts of its record."""
        self.counts = record.counts()

    def resume(self, record: RunRecord) -> None:
        """It was over before."""
        self.take(record)
        self.phase, self.code, self.why = Phase.DONE, record.exit_code, "run before"
        self.began, self.ended = record.started, record.finished or record.started

    @property
    def seconds(self) -> float:
        """That it took, or has taken until now."""
        return 0.0 if not self.began else max(0.0, (self.ended or time.time()) - self.began)

    @property
    def verdict(self) -> str:
        """A word for how far it is or how it ended."""
        return self.phase.value if self.code is None else _VERDICTS[ExitCode(self.code)]

    def describe(self) -> str:
        """Return one line for a person, without the name."""
        total, left = sum(self.counts.values()), self.counts.get(Outcome.NOT_RUN, 0)
        words = [f"{total - left}/{total} tests"] if total else []
        words += [f"{count} {outcome}" for outcome in _BAD if (count := self.counts.get(outcome, 0))]
        if self.began:
            words.append(duration(self.seconds) + (f" of {duration(self.limit)}" if not self.ended else ""))
        return ", ".join([*words, *([self.why] if self.why else []), *([] if self.required else ["informing"])])


def duration(seconds: float) -> str:
    """Return ``M:SS`` or ``H:MM:SS``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"  # noqa: PLR2004


def worst(codes: Iterable[int]) -> ExitCode:
    """Return the exit code of several jobs together: the first of ``PRECEDENCE`` that one of them has."""
    seen = set(codes)
    return next((code for code in PRECEDENCE if code in seen), ExitCode.PASSED)


def write(output: Path, states: Iterable[JobState]) -> None:
    """Replace the file atomically."""
    plain = {
        "schema": SCHEMA,
        "process": asdict(ProcessId.current()),
        "jobs": [asdict(state) for state in states],
    }
    path = output / STATE_FILE
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(plain, indent=1) + "\n")
    draft.replace(path)


@dataclass(frozen=True)
class Saved:
    """What the file says: the process that wrote it, and the jobs."""

    process: ProcessId
    jobs: tuple[JobState, ...]


def read(output: Path) -> Saved:
    """Read the file.

    What was running when its process ended is neither waiting nor done: it is interrupted.

    Raises:
        ConfigError: there is none, or it is none of this version.
    """
    path = output / STATE_FILE
    try:
        plain: Mapping[str, Any] = json.loads(path.read_bytes())
        if plain["schema"] != SCHEMA:
            raise ConfigError(f"{path}: schema {plain['schema']!r} is not known; this version reads {SCHEMA}")
        saved = Saved(
            ProcessId(**plain["process"]),
            tuple(JobState(**{**job, "phase": Phase(job["phase"])}) for job in plain["jobs"]),
        )
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from e
    except (ValueError, TypeError, KeyError) as e:
        raise ConfigError(f"{path}: not written by 'kola matrix run': {e}") from e
    if not saved.process.alive():
        for job in saved.jobs:
            if job.phase is Phase.RUNNING:
                job.finish(ExitCode.INTERRUPTED, "its 'kola matrix run' is gone")
                job.ended = job.began
    return saved
