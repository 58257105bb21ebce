"""``python -m trust``: the command line of `ci/trust`."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from kola.arguments import Parser
from kola.errors import ConfigError, WaitTimeout
from kola.jobs.process import Interrupts
from kola.results import ExitCode
from trust import table
from trust.faults import Kind, check_suites, read_faults
from trust.observation import EXTERNAL
from trust.planning import clean_key, clean_selection, key_of, order, suites
from trust.running import TESTOS, Bench, Interrupted, Job, fault_job
from trust.store import RECORD, Store
from trust.verdict import RESULTS, Status, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trust.faults import Fault
    from trust.store import Record

ROOT = Path(__file__).resolve().parents[1]
FAULTS = "ci/faults"
REPORT = "report.md"
SUITE_SECONDS = 2 * 3600.0
_DESCRIPTION = """Whether the suites find what they are there for: each fault of ci/faults is put into the system, and
the suites that should find it run, with a fixed smoke set. What is done and has not changed since is not done again."""
_EPILOG = """exit codes: 0 all caught and named right, nothing broken that had to stay green, no false alarm; 1 not so;
75 something has no result and is to be run again, or no clean run counts; 4 usage; 130 interrupted.
docs/trust.md says more."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(prog="ci/trust", description=_DESCRIPTION, epilog=_EPILOG)
    add = parser.add_argument
    add("--fault", metavar="NAME", action="append", default=[], help="only this one, also if it is done; repeatable")
    add("--keep-stale", action="store_true", help="do not run again what is done but for a change since")
    add("--list", action="store_true", help="list the faults, and what is known of them")
    add("--dry-run", action="store_true", help="say what would be run")
    add("--report", action="store_true", help="run nothing, show the table")
    add("--clean", metavar="N", type=_count, default=0, help="instead: the smoke set on the good image, N times in all")
    add("--clean-full", metavar="N", type=_count, default=0, help="instead: all suites, N times in all")
    add("--output", metavar="DIR", type=Path, default=Path("trust-runs"), help="default: trust-runs")
    add("--faults", metavar="DIR", type=Path, default=ROOT / FAULTS, help=f"default: {FAULTS}")
    add("--image", default=TESTOS, help=f"the good image (default: {TESTOS}); another one gets live faults only")
    add("--platform", default="qemu", help="default: qemu")
    add("--jobs", metavar="N", type=_count, default=1, help="runs beside each other (default: 1)")
    add("--workers", metavar="N", type=_count, default=1, help="pytest processes of each run (default: 1)")
    add("--limit", metavar="MINUTES", type=_count, default=15, help="that the run for one fault may take (default: 15)")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number, 1 or more")
    return int(text)


@dataclass(frozen=True)
class Known:
    """All faults, and what is known of them."""

    faults: dict[str, Fault]
    store: Store

    def verdicts(self, *, first: bool = False) -> dict[str, Verdict]:
        """Judge every fault: by its latest run, or by its first one."""
        alarms = self.alarms()
        records = {name: self.store.first(name) if first else self.record(name) for name in self.faults}
        return {
            name: judge(fault, None if (record := records[name]) is None else record.seen, alarms)
            for name, fault in self.faults.items()
        }

    def cleans(self, suite: str) -> list[tuple[int, Record]]:
        """The clean runs of a suite, or of the smoke set, by number, of the tests as they are now."""
        everything = self.store.cleans(suite)
        key = clean_key(suite, ROOT) if everything else None
        return [(number, record) for number, record in everything if record.key == key]

    def before(self, suite: str) -> list[tuple[int, Record]]:
        """Its clean runs of before a change that still count: there is no result of the tests as they are now."""
        now = self.cleans(suite)
        if any(record.is_result for _, record in now):
            return []
        return [clean for clean in self.store.cleans(suite) if clean not in now]

    def has_cleans(self) -> bool:
        """Whether any clean run tells of the tests as they are now which of them fail for nothing."""
        return any(record.is_result for suite in ("", *suites(ROOT)) for _, record in self.cleans(suite))

    def alarms(self) -> frozenset[str]:
        """Tests that failed in any clean run. A change of the suite takes none back, a newer clean run of it does."""
        kinds = ("", *suites(ROOT))
        records = (record for suite in kinds for _, record in (*self.cleans(suite), *self.before(suite)))
        return frozenset(failure.test for record in records for failure in record.seen.failures)

    def record(self, name: str) -> Record | None:
        """The latest record of a fault."""
        return self.store.record(self.store.fault(name))

    def stale(self) -> frozenset[str]:
        """Faults with a result for what was before a change."""
        return frozenset(
            name
            for name, fault in self.faults.items()
            if (record := self.record(name)) is not None and record.is_result and record.key != key_of(fault, ROOT)
        )

    def redefined(self) -> list[str]:
        """Faults whose first result was of another definition: it is judged by the names and patterns of now."""
        firsts = ((name, self.store.first(name), fault) for name, fault in self.faults.items())
        return [name for name, first, fault in firsts if first is not None and first.key.fault != fault.digest()]

    def to_run(self, chosen: Sequence[str], *, keep_stale: bool) -> list[Fault]:
        """The faults to run now, in order.

        Raises:
            ConfigError: no fault of that name.
        """
        for name in chosen:
            if name not in self.faults:
                raise ConfigError(f"--fault {name}: there is none; known: {', '.join(self.faults)}")
        if chosen:
            return order(self.faults[name] for name in dict.fromkeys(chosen))
        return order(fault for fault in self.faults.values() if not self._done(fault, keep_stale=keep_stale))

    def _done(self, fault: Fault, *, keep_stale: bool) -> bool:
        record = self.record(fault.name)
        if record is None:
            return False
        return record.is_result if keep_stale else record.holds(key_of(fault, ROOT))

    def summary(self) -> list[str]:
        """What is known, in lines."""
        lines = [f"now: {table.rate(self.verdicts().values())}"]
        redefined = self.redefined()
        more = f"; defined otherwise then: {', '.join(redefined)}" if redefined else ""
        lines.append(f"first results: {table.rate(self.verdicts(first=True).values())}{more}")
        for suite in ("", *suites(ROOT)):
            everything, cleans = self.store.cleans(suite), self.cleans(suite)
            if everything:
                older = len(everything) - len(cleans)
                said = table.clean_line(cleans, suite or "the smoke set")
                stay = table.alarms(self.before(suite))
                said += f"; {older} before a change" if older else ""
                lines.append(said + (f", still counted: {stay}" if stay else ""))
        if not self.has_cleans():
            lines.append("no clean run of these tests: which of them fail for nothing is not known")
        return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        return _main(options)
    except (ConfigError, WaitTimeout) as e:
        print(f"ERROR: {e}", file=sys.stderr)
        return ExitCode.USAGE_ERROR
    except Interrupted:
        print("interrupted: what was running is not kept; run it again to go on", file=sys.stderr)
        return 130


def _main(options: argparse.Namespace) -> int:
    faults = read_faults(options.faults)
    if options.image != TESTOS:
        faults = {name: fault for name, fault in faults.items() if fault.kind is Kind.LIVE}
    known = Known(faults, Store(options.output.absolute()))
    check_suites(known.faults.values(), ROOT / EXTERNAL)
    if options.list:
        verdicts = known.verdicts()
        for fault in order(known.faults.values()):
            print(f"{fault.name:<24} {fault.kind:<6} {verdicts[fault.name].status:<20} {fault.title}")
        return ExitCode.PASSED
    if options.report:
        return _report(known)
    jobs = _jobs(options, known)
    if options.dry_run:
        for job in jobs:
            files = [name.removeprefix(EXTERNAL) for name in job.arguments if "::" not in name]
            rest = len(job.arguments) - len(files)
            print(f"{job.name}: {', '.join([*files, *([f'{rest} tests of the smoke set'] if rest else [])])}")
        print(f"==> {len(jobs)} to run")
        return ExitCode.PASSED
    known.store.claim(options.image, options.platform)
    _run(options, known, jobs)
    return _report(known)


def _jobs(options: argparse.Namespace, known: Known) -> list[Job]:
    if not (options.clean or options.clean_full):
        faults = known.to_run(options.fault, keep_stale=options.keep_stale)
        seconds = options.limit * 60.0
        return [fault_job(fault, known.store.fault(fault.name), ROOT, seconds) for fault in faults]
    wanted = [("", number) for number in range(1, options.clean + 1)]
    wanted += [(suite, number) for number in range(1, options.clean_full + 1) for suite in suites(ROOT)]
    jobs = []
    for suite, number in wanted:
        folder, key = known.store.clean(suite, number), clean_key(suite, ROOT)
        record = known.store.record(folder)
        if record is None or not record.holds(key):
            name = f"clean run {number} of {suite or 'the smoke set'}"
            seconds = SUITE_SECONDS if suite else options.limit * 60.0
            jobs.append(Job(name=name, folder=folder, arguments=clean_selection(suite), key=key, seconds=seconds))
    return jobs


def _run(options: argparse.Namespace, known: Known, jobs: Sequence[Job]) -> None:
    with known.store.lock() as lock, Interrupts() as interrupts:
        bench = Bench(
            root=ROOT,
            image=options.image,
            platform=options.platform,
            workers=options.workers,
            beside=options.jobs,
            lock=lock,
            interrupts=interrupts,
        )
        numbers = count(1)

        def run(job: Job) -> None:
            if interrupts.count:
                raise Interrupted
            title = job.fault.title if job.fault else "nothing is broken"
            print(f"==> {next(numbers)}/{len(jobs)} {job.name}: {title}")
            record = bench.run(job)
            known.store.keep(job.folder, record)
            print(f"    {job.name}: {_said(job, record, known.alarms())} ({record.seen.seconds:.0f} s)")

        pool = ThreadPoolExecutor(options.jobs)
        try:
            for over in as_completed([pool.submit(run, job) for job in jobs]):
                over.result()
        finally:
            # What runs sees the interrupt itself, and ends.
            pool.shutdown(cancel_futures=True)


def _said(job: Job, record: Record, alarms: frozenset[str]) -> str:
    """What came out, in one line."""
    if job.fault is None:
        failed = table.tests([failure.test for failure in record.seen.failures])
        return record.seen.problem or (f"false alarm: {failed}" if failed else f"{len(record.seen.passed)} passed")
    verdict = judge(job.fault, record.seen, alarms)
    if verdict.status not in RESULTS:
        return f"{verdict.status}: {verdict.problem}"
    if verdict.status is Status.MISSED:
        return f"missed by {len(record.seen.passed)} tests of {', '.join(job.fault.suites)} and the smoke set"
    broke = f"; had to stay green: {table.tests(verdict.broke)}" if verdict.broke else ""
    return f"{verdict.status}, after {verdict.seconds:.0f} s, by {table.tests(verdict.caught_by)}{broke}"


def _report(known: Known) -> int:
    """Show the table, write it beside the records, and say by the exit code what is in it."""
    verdicts, summary = known.verdicts(), known.summary()
    rows = table.rows(order(known.faults.values()), verdicts, known.stale())
    print(table.as_text(rows))
    print("\n".join(f"==> {line}" for line in summary))
    if known.store.path.is_dir():
        (known.store.path / REPORT).write_text(table.as_markdown(rows, summary))
        print(f"==> {known.store.path / REPORT}; records: {known.store.path / 'faults'}/NAME/{RECORD}")
    if any(verdict.status not in RESULTS for verdict in verdicts.values()):
        return ExitCode.PROVIDER_ERROR
    good = all(verdict.status is Status.CAUGHT and not verdict.broke for verdict in verdicts.values())
    if not good or known.alarms():
        return ExitCode.FAILED
    return ExitCode.PASSED if known.has_cleans() else ExitCode.PROVIDER_ERROR
