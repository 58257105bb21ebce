"""pytest's hooks of one process of a run that boots machines; loaded only for one (``kola.plugin``)."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kola import terminal
from kola.collect import UNASKED
from kola.deployment import booted_deployment
from kola.durations import read_durations
from kola.errors import CheckFailed, ConfigError, KolaError, PlatformError
from kola.fixtures import NEEDS, RESERVATION
from kola.flight import Flight
from kola.lives import FILE as LIVES
from kola.lives import Lives
from kola.needs import Isolation
from kola.plan import Plan
from kola.preparation import first_line
from kola.progress import Follower
from kola.reaper import attach
from kola.recording import ARTIFACTS, MACHINE, SSH, Recorder
from kola.rerun import AGAIN, attempt_of, rates
from kola.results import ExitCode, exit_code
from kola.run import RunInfo, start_run
from kola.scheduler import KolaScheduling
from kola.statement import FILE, load_signer, sign_results

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from kola.flight import Reservation
    from kola.machine import Machine
    from kola.options import Settings
    from kola.statement import Signer

FAILED = pytest.StashKey[bool]()
NEXT = pytest.StashKey["pytest.Item | None"]()


def open_run(config: pytest.Config, settings: Settings) -> MachineHooks:
    """Open the run: what the controller does, before xdist starts its workers.

    Args:
        config: pytest's.
        settings: of the user.

    Raises:
        pytest.UsageError: something that the user has to change.
        pytest.exit.Exception: the platform does not work.
    """
    reporter = config.pluginmanager.getplugin("terminalreporter")
    progress = None if reporter is None else terminal.image_progress(reporter.write_line)
    workers: int = config.getoption("numprocesses", None) or 1
    with contextlib.ExitStack() as stack:
        try:
            signer = load_signer(settings.sign_key, settings.sign_public_key) if settings.sign_key else None
            run = stack.enter_context(start_run(settings, workers, progress))
        except ConfigError as e:
            raise pytest.UsageError(str(e)) from e
        except PlatformError as e:
            said = "; ".join([str(e), *getattr(e, "__notes__", ())])
            pytest.exit(f"platform {settings.platform}: {said}", returncode=ExitCode.PROVIDER_ERROR)
        flight = stack.enter_context(Flight(run.info, run.platform, run.reaper.keep, _teller(config)))
        recorder = Recorder(
            run.info,
            settings.tapfile,
            name=settings.run_name,
            suite=settings.suite,
            shard=settings.choice.shard,
        )
        if reporter is not None and config.option.verbose >= 0:
            show = terminal.progress_printer(reporter)
            stack.enter_context(Follower(run.info.output / "progress.jsonl", show))
        return MachineHooks(
            config, settings, run.info, stack.pop_all(), flight=flight, recorder=recorder, signer=signer
        )


def join_run(config: pytest.Config, settings: Settings, workerinput: dict[str, Any]) -> MachineHooks:
    """Join the run as one of xdist's workers, with what the controller handed over."""
    info = RunInfo.from_plain(workerinput["kola"])
    return MachineHooks(config, settings, info, contextlib.ExitStack(), worker=workerinput["workerid"])


class MachineHooks:
    """One pytest process of a run: the controller, one of xdist's workers, or the only one.

    Args:
        config: pytest's.
        settings: of the user.
        info: of the run.
        stack: what ends with the session.
        worker: the name of this process.
        flight: its machines; a worker's are made when its first test needs one.
        recorder: the controller's record of the run.
        signer: signs that record, if the user wants it.
    """

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        info: RunInfo,
        stack: contextlib.ExitStack,
        *,
        worker: str = "main",
        flight: Flight | None = None,
        recorder: Recorder | None = None,
        signer: Signer | None = None,
    ) -> None:
        self.config = config
        self.settings = settings
        self.info = info
        self.worker = worker
        self.recorder = recorder
        self._signer = signer
        self._stack = stack
        self._flight = flight
        self._scheduler: KolaScheduling | None = None
        self._errors: list[str] | None = None  # until everything is collected
        self._not_collected = 0
        self._deselected = 0

    # -- the run -----------------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """End all machines, sweep, and write the last version of the record."""
        try:
            yield
        finally:
            # Before the record is: a run that is killed while it ends its machines did not come to its end.
            self._close()
            if self.recorder is not None:
                outcomes = (test.outcome for test in self.recorder.record.tests.values())
                code = exit_code(int(session.exitstatus), outcomes, warnings_fail=self.settings.warned_fails)
                interrupted = code in {ExitCode.INTERRUPTED, ExitCode.INTERNAL_ERROR, ExitCode.USAGE_ERROR}
                # --lf does not even collect all: it says nothing of the tests in files without a failure.
                part = self._not_collected or session.config.getoption("lf", default=False)
                self.recorder.finish(code, complete=not interrupted and not part)
                session.exitstatus = self._sign(code)

    def pytest_unconfigure(self) -> None:
        """Close the run also when the session ended before it began."""
        self._close()

    def _close(self) -> None:
        try:
            self._stack.close()
        except KolaError as e:
            reporter = self.config.pluginmanager.getplugin("terminalreporter")
            if reporter is None:  # a worker: xdist shows it, and the reaper looks after what is left
                raise
            reporter.write_line(f"kola: cleaning up: {e}", red=True)

    def _sign(self, code: int) -> int:
        """Sign the record if the user wants it; returns the exit code: results that are not signed are not passed."""
        if self._signer is None:
            return code
        try:
            statement = sign_results(self.info.output, self._signer)
        except ConfigError as e:
            self._say(f"kola: the results are not signed: {e}", red=True)
            return code or ExitCode.FAILED
        self._say(f"kola: {statement.result}, signed: {self.info.output / FILE}")
        return code

    def _say(self, text: str, *, red: bool = False) -> None:
        reporter = self.config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(text, red=red)

    @property
    def flight(self) -> Flight:
        """This process's machines; made when the first test needs one."""
        if self._flight is None:
            keep = self._stack.enter_context(attach(self.info.reaper_socket, self.worker)).keep
            platform = self.info.load(self.worker)
            self._flight = self._stack.enter_context(Flight(self.info, platform, keep, _teller(self.config)))
        return self._flight

    # -- xdist -------------------------------------------------------------------------------------------------------

    @property
    def own_scheduler(self) -> bool:
        """Whether kola's scheduler says which worker runs what: unless the user names another with ``--dist``."""
        # As it was parsed, of the ini file and the environment, too: in `option` xdist has made --dist=load of -n.
        given = self.config.known_args_namespace
        return getattr(given, "dist", "no") == "no" and not getattr(given, "distload", False)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Hand the run over to a worker, as plain data."""
        node.workerinput["kola"] = self.info.to_plain()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config) -> KolaScheduling | None:
        """Use kola's scheduler unless the user names another with ``--dist``."""
        if not self.own_scheduler:
            return None
        self._scheduler = KolaScheduling(config, len(config.option.tx))
        return self._scheduler

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any) -> None:
        """Take what a worker collected: the selected tests, or what is wrong with their markers."""
        path = _plan_path(self.info, node.gateway.id)
        if self.recorder is None or not path.exists():  # without one: the worker's own error is on its way
            return
        plan = Plan.read(path)
        if plan.errors:
            raise pytest.UsageError("\n".join(plan.errors))
        self.recorder.plan(plan.tests, plan.deselected)
        if self._scheduler is not None and not self._scheduler.known:
            info = self.info
            target = {"platform": info.platform, "arch": info.arch, "accelerator": info.prepared.accelerator}
            known = read_durations(info.output.parent, **target)
            self._scheduler.learn(plan.jobs(known), known.boot)

    # -- collection --------------------------------------------------------------------------------------------------

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count what could not be collected, also by workers: nobody knows which tests are in there."""
        self._not_collected += report.failed

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Count what somebody did not want: the record says so, else nobody could tell from it."""
        self._deselected += sum(not item.stash.get(UNASKED, False) for item in items)

    def collected(self, items: list[pytest.Item], errors: list[str]) -> None:
        """Refuse what this process has collected if something is wrong with it.

        Args:
            items: the tests; none are left in a worker that met errors.
            errors: what is wrong with their markers, a line each.

        Raises:
            pytest.UsageError: there are errors.
        """
        self._errors = errors
        if errors:
            # An exception in a worker would be shown as a crash: the controller raises it (see above).
            if self.recorder is not None:
                raise pytest.UsageError("\n".join(errors))
            items.clear()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take what this process has collected: for the record, or for the controller.

        Not before: ``--lf`` takes tests out after everybody else. A worker says here, before it fails, also what the
        user did wrong so that it has collected nothing.
        """
        error = sys.exception()
        if self._errors is None:
            if self.recorder is None and isinstance(error, pytest.UsageError):
                Plan(errors=[str(line) for line in error.args]).write(_plan_path(self.info, self.worker))
            return
        collected = (
            (i.nodeid, i.stash.get(NEEDS, None), first_line(getattr(i, "obj", None)), attempt_of(i))
            for i in session.items
        )
        plan = replace(Plan.of(collected, self._errors), deselected=self._deselected)
        if self.recorder is None:
            plan.write(_plan_path(self.info, self.worker))
        elif not plan.errors:
            self.recorder.plan(plan.tests, plan.deselected)

    # -- one test ----------------------------------------------------------------------------------------------------

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Admit the test: all the memory that it declares, in one step, before its fixtures."""
        needs = item.stash.get(NEEDS, None)
        if needs is not None:
            if item.stash.get(AGAIN, False) and needs.isolation is Isolation.SHARED:
                needs = replace(needs, isolation=Isolation.FRESH)
            item.stash[RESERVATION] = self.flight.reserve(needs, item.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Remember which test comes next."""
        item.stash[NEXT] = nextitem
        return (yield)

    def _warm_next(self, item: pytest.Item) -> None:
        """Let the machines of the next test be made while this one runs."""
        following = item.stash.get(NEXT, None)
        needs = following.stash.get(NEEDS, None) if following is not None else None
        # A test that is going to be skipped gets no machine.
        if following is None or needs is None or following.get_closest_marker("skip") is not None:
            return
        if self._flight is not None:
            self._flight.warm(needs, following.nodeid, item.stash.get(RESERVATION, None))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Run the test, then look at its machines: what they show is part of the test's own verdict."""
        reservation = item.stash.get(RESERVATION, None)
        self._warm_next(item)
        try:
            result = yield
        except pytest.skip.Exception as skip:  # what the machine shows is not skipped: nobody else would tell of it
            if reservation is not None and (text := terminal.findings(reservation)[0]):
                raise CheckFailed(f"{text}\nthe test skipped itself: {skip.msg}") from skip
            raise
        except (Exception, pytest.fail.Exception):  # the latter, also of pytest-timeout and pytest.xfail, is not one
            if reservation is not None and (text := terminal.findings(reservation)[0]):
                item.add_report_section("call", "checks", text)
            raise
        if reservation is not None:
            self._tell_arrived(reservation)
            text, skipped = terminal.findings(reservation)
            if skipped:
                item.add_report_section("call", "checks skipped by the marker", skipped)
            if text:
                raise CheckFailed(text)
        return result

    def _tell_arrived(self, reservation: Reservation) -> None:
        """Note what machines of the image of ``--from-image`` were updated to: that is what their test is about."""
        lives = Lives(self.info.output / LIVES)
        updated = reservation.flight.launcher_of(reservation.needs).info.updated
        for machine in reservation.machines if updated else ():
            if deployment := booted_deployment(machine):
                lives.tell(machine.name, arrived=deployment)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put into the report what a person needs to go on: the machine's last words, its artifacts, how to log in."""
        error = call.excinfo.value if call.excinfo is not None else None
        failed = error is not None and not isinstance(error, pytest.skip.Exception)
        if failed:
            item.stash[FAILED] = True
        reservation = item.stash.get(RESERVATION, None)
        if reservation is not None:
            self._describe(item, call.when, reservation, failed=failed)
        return (yield)

    def _describe(self, item: pytest.Item, when: str, reservation: Reservation, *, failed: bool) -> None:
        info = reservation.flight.info
        kept = reservation.keep(failed=failed)
        for machine in reservation.machines:
            properties = [
                (MACHINE, machine.name),
                (ARTIFACTS, str(machine.artifacts.relative_to(info.output))),
            ]
            ssh = machine.ssh_command() if machine in kept else ""
            if ssh:
                properties.append((SSH, ssh))
            item.user_properties += [p for p in properties if p not in item.user_properties]
            if failed:
                item.add_report_section(when, f"machine {machine.name}", terminal.last_words(machine, ssh))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """After the test's own fixtures: end or keep its machines, give the memory back."""
        try:
            yield
        finally:
            reservation = item.stash.get(RESERVATION, None)
            if reservation is not None:
                del item.stash[RESERVATION]
                reservation.close(failed=item.stash.get(FAILED, False))

    # -- what came out -----------------------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record it (controller only)."""
        if self.recorder is not None:
            self.recorder.report(report)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Provider errors in full, kept machines with their SSH lines, and where everything is."""
        if self.recorder is not None:
            bill = () if self._flight is None else self._flight.platform.summary()
            terminal.summary(terminalreporter, self.info, rates(self.recorder.record.tests.values()), bill)


def _teller(config: pytest.Config) -> Callable[[Machine], None]:
    def tell(machine: Machine) -> None:
        config.hook.pytest_kola_machine_up(machine=machine)

    return tell


def _plan_path(info: RunInfo, worker: str) -> Path:
    return info.scratch / f"plan-{worker}.json"
