"""Runs the jobs of a matrix on this host: some at a time, each with its time limit, none that is done already."""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola.errors import KolaError, PlatformError
from kola.jobs import state
from kola.jobs.process import Interrupts, JobProcess
from kola.jobs.state import JobState, Phase
from kola.matrix import AUTO
from kola.results import ExitCode
from kola.text import cut_middle, last_lines
from kola.wait import Deadline, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kola.jobs.board import Board
    from kola.jobs.folder import Folder, Subject
    from kola.matrix import Job
    from kola.results import RunRecord

POLL_SECONDS = 0.2
SAVE_SECONDS = 2.0
"""Between two looks at how far the tests of running jobs are."""
MEMORY_PERCENT = 80
"""Of what is available: for the machines of all jobs together."""
_FOREVER = 365 * 86400.0
_NEED_RECORD = {ExitCode.PASSED, ExitCode.FAILED, ExitCode.ONLY_WARNINGS, ExitCode.NOTHING_COLLECTED}
"""Exit codes that say something of tests, which then are in a record."""


@dataclass(frozen=True)
class Share:
    """What of this host each job may take when several run at once.

    Attributes:
        parallel: number of jobs at a time.
        cores: of this host.
    """

    parallel: int
    cores: int

    def command(self, job: Job, output: str, more: tuple[str, ...] = ()) -> list[str]:
        """Return the job's command, for the Python of this process."""
        workers, memory = job.cell.workers, tuple[str, ...]()
        if self.parallel > 1:
            memory = (f"--memory-budget={max(1, MEMORY_PERCENT // self.parallel)}%",)
            workers = str(max(1, self.cores // self.parallel)) if workers == AUTO else workers
        program, *words = job.command(output, workers=workers, more=(*memory, *more))
        return [sys.executable, "-m", program, *words]


class Runs:
    """Jobs on their way.

    Args:
        jobs: in the order in which they begin.
        folder: of the output.
        board: shows what happens.
        share: of this host.
        subject: says what a job tests; raises ``KolaError`` if that cannot be found.
        more: arguments for each pytest that do not change what is tested.
        environment: variables for them.
        signed: whether each record has to be signed: one that is not is none that was done already.
        since: unix seconds; likewise of records that are older.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        folder: Folder,
        board: Board,
        share: Share,
        *,
        subject: Callable[[Job], Subject],
        more: tuple[str, ...] = (),
        environment: Mapping[str, str],
        signed: bool = False,
        since: float = 0.0,
    ) -> None:
        self.states = {job.name: JobState.of(job) for job in jobs}
        self._jobs, self._folder, self._board, self._share = jobs, folder, board, share
        self._subject, self._more, self._signed, self._since = subject, more, signed, since
        # Which tests run is said by the matrix, not by the shell that somebody works in.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
        self._environment = {**inherited, **environment}
        self._waiting: deque[tuple[Job, Subject]] = deque()
        self._running: dict[str, tuple[Job, JobProcess]] = {}
        self._subjects: dict[str, Subject] = {}
        self._interrupted = False
        self._next_save = Deadline(0)

    def run(self) -> ExitCode:
        """Run them all.

        Returns:
            The worst of their exit codes; that of an interruption if Ctrl-C ended it.
        """
        self._save()
        self._prepare()
        with Interrupts() as interrupts:
            wait_until(lambda: self._step(interrupts), _FOREVER, what="the jobs", interval=POLL_SECONDS)
        for job, _ in self._running.values():
            self._finish(self.states[job.name], ExitCode.INTERRUPTED, "not waited for its end")
        self._board.close()
        self._save()
        codes = [code for each in self.states.values() if (code := each.code) is not None]
        return state.worst([*codes, *([ExitCode.INTERRUPTED] if self._interrupted else [])])

    def _prepare(self) -> None:
        """Find out what is to be tested, and what of it has been."""
        for job in self._jobs:
            each = self.states[job.name]
            try:
                subject = self._subject(job)
            except KolaError as e:
                code = ExitCode.PROVIDER_ERROR if isinstance(e, PlatformError) else ExitCode.USAGE_ERROR
                self._finish(each, code, str(e))
                continue
            if (record := self._folder.done(job, subject, signed=self._signed, since=self._since)) is not None:
                each.resume(record)
                self._tell(each)
            else:
                self._waiting.append((job, subject))
        self._save()

    def _step(self, interrupts: Interrupts) -> bool:
        """Look after what runs, begin what can; tell whether all is over."""
        if interrupts.count and not self._interrupted:
            self._interrupt()
        for job, process in list(self._running.values()):
            if (code := process.poll()) is not None:
                del self._running[job.name]
                self._over(job, process, code)
        while self._waiting and len(self._running) < self._share.parallel:
            self._begin(*self._waiting.popleft())
        if self._next_save.expired:
            for job, _ in self._running.values():
                if record := self._folder.record_of(job):
                    self.states[job.name].take(record)
            self._save()
        self._board.show(list(self.states.values()))
        # Whoever does not want to wait need not: the keepers end their jobs all the same.
        return interrupts.count > 1 or not (self._running or self._waiting)

    def _interrupt(self) -> None:
        """End what runs; each job has its time to end its machines and write its record."""
        self._interrupted = True
        self._waiting.clear()
        for _, process in self._running.values():
            process.end()
        if self._running:
            self._board.say("interrupted: ending what runs; Ctrl-C again does not wait for that")

    def _begin(self, job: Job, subject: Subject) -> None:
        self._folder.begin(job, subject)
        self._subjects[job.name] = subject
        each = self.states[job.name]
        each.start()
        process = JobProcess(
            self._share.command(job, str(self._folder.path), self._more),
            self._folder.log_of(job),
            each.limit,
            self._environment,
            self._folder.lock.fileno(),
        )
        self._running[job.name] = job, process
        self._tell(each)
        self._save()

    def _over(self, job: Job, process: JobProcess, code: int) -> None:
        each, record = self.states[job.name], self._folder.record_of(job)
        if record is not None:
            each.take(record)
        if process.timed_out:
            self._finish(each, ExitCode.INTERRUPTED, f"not over after {job.cell.timeout_min} min")
        elif self._interrupted:
            self._finish(each, ExitCode.INTERRUPTED, "")
        else:
            judged, why = self._judged(job, code, record)
            self._folder.end(job, self._subjects[job.name], judged)
            self._finish(each, judged, why)

    def _judged(self, job: Job, code: int, record: RunRecord | None) -> tuple[int, str]:
        """Return the exit code that counts, and what to say of it: no test counts as passed that is in no record."""
        log = self._folder.log_of(job)
        if record is not None and record.complete:
            known = code in set(ExitCode)
            return (state.worst([code, record.exit_code or 0]) if known else code), ""
        said = cut_middle(" ".join(last_lines(log.read_text(errors="replace"), 1)), 300) or f"nothing in {log}"
        if code in _NEED_RECORD:
            return ExitCode.INTERNAL_ERROR, f"exit code {code} without a complete record: {said}"
        return code, said

    def _finish(self, each: JobState, code: int, why: str) -> None:
        each.finish(code, why)
        self._tell(each)
        self._save()

    def _tell(self, each: JobState) -> None:
        words = ["begins" if each.phase is Phase.RUNNING else each.verdict, each.describe()]
        self._board.say(f"{each.name}: {', '.join(filter(None, words))}")

    def _save(self) -> None:
        self._next_save = Deadline(SAVE_SECONDS)
        state.write(self._folder.path, self.states.values())
