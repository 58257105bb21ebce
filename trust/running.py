"""One run of the suites, on a broken system or a good one: its processes, its time limit, what is kept of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola import results
from kola.errors import ConfigError
from kola.jobs.process import JobProcess
from kola.jobs.running import MEMORY_PERCENT
from kola.wait import wait_until
from trust.faults import Kind
from trust.observation import Context, Observation, given_machines, observe
from trust.planning import key_of, selection
from trust.store import RUN, Record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kola.filelock import FileLock
    from kola.jobs.process import Interrupts
    from trust.faults import Fault
    from trust.planning import Key

TESTOS = "testos"
BUILD_SECONDS = 900.0
_GRACE_SECONDS = 600.0
"""Beyond the limit: a process that is asked to end has its own time limits for that."""
_TAIL = 300


class Interrupted(Exception):
    """The user wants an end; nothing is kept of what ran."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of pytest.

    Attributes:
        name: for people.
        folder: for its record, run and logs.
        arguments: what pytest is to run.
        key: what its result holds for.
        fault: that the system has; None for a clean run.
        seconds: that it may take.
    """

    name: str
    folder: Path
    arguments: tuple[str, ...]
    key: Key
    fault: Fault | None = None
    seconds: float


def fault_job(fault: Fault, folder: Path, root: Path, seconds: float) -> Job:
    """The run for one fault."""
    return Job(
        name=fault.name,
        folder=folder,
        arguments=selection(fault),
        key=key_of(fault, root),
        fault=fault,
        seconds=seconds,
    )


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all runs have in common.

    Attributes:
        root: of the checkout.
        image: the good one, as for ``--image``; faults of the image are built into the test OS.
        platform: as for ``--platform``.
        workers: of each run of pytest.
        beside: so many runs have this host at a time.
        lock: of the output folder: what runs holds it open.
        interrupts: looked at all the time.
    """

    root: Path
    image: str = TESTOS
    platform: str = "qemu"
    workers: int = 1
    beside: int = 1
    lock: FileLock
    interrupts: Interrupts

    def run(self, job: Job) -> Record:
        """Run a job to its end, or to the end of its time.

        Raises:
            Interrupted: the user wants an end.
        """
        began, started = time.monotonic(), time.time()
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / RUN / "results.json").unlink(missing_ok=True)
        problem = self._build(job)
        cut_short, code = False, 0
        if not problem:
            code, cut_short = self._process(self.command(job), job.folder / "pytest.log", job.seconds)
        live = job.fault is not None and job.fault.kind is Kind.LIVE
        context = Context(
            started=started,
            seconds=round(time.monotonic() - began, 1),
            commit=self._commit(),
            cut_short=cut_short,
            live_fault=job.fault.name if job.fault is not None and live else "",
            given=given_machines(job.folder / RUN) if live else frozenset(),
        )
        if problem:
            seen = Observation(
                started=started, seconds=context.seconds, commit=context.commit, problem=problem, not_applied=True
            )
        else:
            seen = self._observed(job, context, code)
        return Record(job.key, seen)

    def command(self, job: Job) -> list[str]:
        """What runs pytest."""
        image, fault = self.image, []
        if job.fault is not None and job.fault.kind is Kind.LIVE:
            fault = ["-p", "trust.kolafault", "--kola-fault", str(job.fault.source)]
        elif job.fault is not None:
            image = f"{TESTOS}:{job.fault.name}"
        workers = [] if self.workers == 1 else ["-n", str(self.workers)]
        memory = [] if self.beside == 1 else [f"--memory-budget={MEMORY_PERCENT // self.beside}%"]
        return [
            *(sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *fault, *workers, *memory),
            *(f"--platform={self.platform}", f"--image={image}"),
            *(f"--kola-output={job.folder}", f"--run-name={RUN}", *job.arguments),
        ]

    def _build(self, job: Job) -> str:
        """Build the image that has the fault; says why there is none."""
        if job.fault is None or job.fault.kind is not Kind.IMAGE:
            return ""
        if self.image != TESTOS:
            return f"it is a fault of the test OS's image, not of {self.image}"
        root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive", "--preserve-env=KOLA_CACHE"]
        command = [*root, str(self.root / "ci/testos/build"), "--variant", str(job.fault.source)]
        log = job.folder / "build.log"
        code, cut_short = self._process(command, log, BUILD_SECONDS)
        if code == 0:
            return ""
        return f"the image could not be built: {'not in time' if cut_short else tail(log)}"

    def _process(self, command: Sequence[str], log: Path, seconds: float) -> tuple[int, bool]:
        """Run a command; returns its exit code, and whether it had to be ended because its time was over."""
        # Which tests run is said here, not by the shell that somebody works in.
        environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
        process = JobProcess(command, log, seconds, environment, self.lock.fileno())
        ending = False

        def over() -> bool:
            nonlocal ending
            if self.interrupts.count and not ending:
                ending = True
                process.end()
            if self.interrupts.count > 1:
                process.kill()
            return process.poll() is not None

        wait_until(over, seconds + _GRACE_SECONDS, what=command[0], interval=0.2)
        if self.interrupts.count:
            raise Interrupted
        code = process.poll()
        return (1 if code is None else code), process.timed_out

    def _observed(self, job: Job, context: Context, code: int) -> Observation:
        try:
            record = results.read(job.folder / RUN / "results.json")
        except ConfigError:
            said = tail(job.folder / "pytest.log")
            return Observation(
                started=context.started,
                seconds=context.seconds,
                commit=context.commit,
                cut_short=context.cut_short,
                problem=f"pytest ended with {code} and left no record: {said}",
            )
        return observe(record, context)

    def _commit(self) -> str:
        done = subprocess.run(
            ["git", "-C", self.root, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()


def tail(log: Path) -> str:
    """The last line of a log that says anything, shortened."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:_TAIL] if lines else "it said nothing"
