"""kola's pytest hooks and fixtures; thin: what they do lives in the other modules."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kola import options, parallel, terminal
from kola.collect import FOUND, ExternalTests, read_denylist
from kola.durations import read_durations
from kola.errors import CheckFailed, ConfigError, KolaError, PlatformError
from kola.fixtures import NEEDS, RESERVATION, WARN
from kola.flight import Flight
from kola.needs import Isolation
from kola.plan import Plan
from kola.preparation import first_line, prepare, target_of
from kola.progress import Follower
from kola.reaper import attach
from kola.recording import ARTIFACTS, MACHINE, OUTCOME, SSH, Recorder, report_outcome, warn_only
from kola.rerun import AGAIN, Reruns, attempt_of, multiply, rates
from kola.results import ExitCode, Outcome, exit_code
from kola.run import RunInfo, start_run
from kola.scheduler import KolaScheduling

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from kola.external.denylist import Denylist
    from kola.flight import Reservation


PLUGIN = pytest.StashKey["KolaPlugin"]()
FAILED = pytest.StashKey[bool]()
NEXT = pytest.StashKey["pytest.Item | None"]()
WORKERS = pytest.StashKey[parallel.Workers]()

pytest_plugins = ["kola.fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register kola's options."""
    options.add_options(parser)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Answer ``-n auto`` by what tests used in earlier runs; without a platform, xdist decides."""
    if config.option.numprocesses != "auto" or os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    try:
        chosen = parallel.workers_for(options.settings(config))
    except ConfigError:  # pytest_configure will say what is wrong
        return None
    if chosen is None:
        return None
    config.stash[WORKERS] = chosen = chosen.at_most(config.option.maxprocesses, "--maxprocesses")
    return chosen.count


def pytest_configure(config: pytest.Config) -> None:
    """Read the settings and register the hooks that need them."""
    config.addinivalue_line(
        "markers",
        "kola(isolation, machines, memory_mib, ignition, ...): what a test needs of its machines; docs/marker.md",
    )
    try:
        plugin = KolaPlugin(config)
    except ConfigError as e:
        raise pytest.UsageError(str(e)) from e
    config.stash[PLUGIN] = plugin
    config.pluginmanager.register(plugin, "kola-run")
    config.pluginmanager.register(plugin.external, "kola-external")
    if plugin.settings.rerun_failed:
        config.pluginmanager.register(Reruns(), "kola-reruns")


class KolaPlugin:
    """One pytest process of a run: the controller, one of xdist's workers, or the only one."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.settings = options.settings(config)
        self.workerinput: dict[str, Any] | None = getattr(config, "workerinput", None)
        self.worker = self.workerinput["workerid"] if self.workerinput else "main"
        self.workers: int = config.getoption("numprocesses", None) or 1
        self.external = ExternalTests(config, self.settings.external, self.settings.choice, self.settings.multiply)
        self.info: RunInfo | None = None
        self.recorder: Recorder | None = None
        self._flight: Flight | None = None
        self._scheduler: KolaScheduling | None = None
        self._stack = contextlib.ExitStack()

    # -- the run -----------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Open the run (controller) or join it (worker), before xdist starts its workers."""
        if self.workerinput is not None:
            if "kola" in self.workerinput:
                self.info = RunInfo.from_plain(self.workerinput["kola"])
            return
        if self.settings.platform is None or self.config.option.collectonly:
            return
        reporter = self.config.pluginmanager.getplugin("terminalreporter")
        try:
            progress = None if reporter is None else terminal.image_progress(reporter.write_line)
            run = self._stack.enter_context(start_run(self.settings, self.workers, progress))
        except ConfigError as e:
            raise pytest.UsageError(str(e)) from e
        except PlatformError as e:
            pytest.exit(f"platform {self.settings.platform}: {e}", returncode=ExitCode.PROVIDER_ERROR)
        self.info = run.info
        self._flight = self._stack.enter_context(Flight(run.info, run.platform, run.reaper.keep))
        self.recorder = Recorder(run.info)
        if reporter is not None and self.config.option.verbose >= 0:
            show = terminal.progress_printer(reporter)
            self._stack.enter_context(Follower(run.info.output / "progress.jsonl", show))

    def pytest_report_header(self) -> list[str]:
        """Say what is going to be tested, where, and how much at once."""
        if self.info is None:
            return []
        chosen = self.config.stash.get(WORKERS, None)
        denylist = [f"kola: denylist: {line}" for line in self._denylist().lines()]
        return denylist + terminal.header(self.info, own_scheduler=not self._dist_given(), workers=chosen)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """End all machines, sweep, and write the last version of the record."""
        try:
            yield
        finally:
            if self.recorder is not None:
                outcomes = (test.outcome for test in self.recorder.record.tests.values())
                code = exit_code(int(session.exitstatus), outcomes, warnings_fail=self.settings.warned_fails)
                session.exitstatus = code
                interrupted = code in {ExitCode.INTERRUPTED, ExitCode.INTERNAL_ERROR, ExitCode.USAGE_ERROR}
                self.recorder.finish(code, complete=not interrupted)
            self._close()

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

    @property
    def flight(self) -> Flight:
        """This process's machines; made when the first test needs one."""
        if self._flight is None:
            if self.info is None:
                raise ConfigError("no --platform: no machines")
            keep = self._stack.enter_context(attach(self.info.reaper_socket, self.worker)).keep
            self._flight = self._stack.enter_context(Flight(self.info, self.info.load(self.worker), keep))
        return self._flight

    # -- xdist -------------------------------------------------------------------------------------------------------

    def _dist_given(self) -> bool:
        given = self.config.invocation_params.args
        return any(str(arg) == "-d" or str(arg).startswith("--dist") for arg in given)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Hand the run over to a worker, as plain data."""
        if self.info is not None:
            node.workerinput["kola"] = self.info.to_plain()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config) -> KolaScheduling | None:
        """Use kola's scheduler unless the user names another with ``--dist``."""
        if self.info is None or self._dist_given():
            return None
        self._scheduler = KolaScheduling(config, len(config.option.tx))
        return self._scheduler

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any) -> None:
        """Take what a worker collected: the selected tests, or what is wrong with their markers."""
        if self.info is None or self.recorder is None:
            return
        plan = Plan.read(_plan_path(self.info, node.gateway.id))
        if plan.errors:
            raise pytest.UsageError("\n".join(plan.errors))
        self.recorder.plan(plan.tests)
        if self._scheduler is not None and not self._scheduler.known:
            info = self.info
            target = {"platform": info.platform, "arch": info.arch, "accelerator": info.prepared.accelerator}
            known = read_durations(info.output.parent, **target)
            self._scheduler.learn(plan.jobs(known), known.boot)

    # -- collection --------------------------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make several tests of each (``--multiply``)."""
        multiply(metafunc, self.settings.multiply)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Validate every marker, and skip with its reason what cannot run here."""
        denylist = self._denylist()
        errors = self.external.prepare(items, target_of(self.settings, self.info), denylist)
        for item in items:
            try:
                prepare(item, self.settings, self.info, denylist)
            except ConfigError as e:
                marker = "" if FOUND in item.stash else "@pytest.mark.kola: "
                errors.append(f"{item.nodeid}: {marker}{e}")
        if errors:
            # An exception in a worker would be shown as a crash: the controller raises it (see above).
            if self.info is None or self.workerinput is None:
                raise pytest.UsageError("\n".join(errors))
            items.clear()
        if self.info is None:
            return
        collected = (
            (i.nodeid, i.stash.get(NEEDS, None), first_line(getattr(i, "obj", None)), attempt_of(i)) for i in items
        )
        plan = Plan.of(collected, errors)
        if self.recorder is not None:
            self.recorder.plan(plan.tests)
        else:
            plan.write(_plan_path(self.info, self.worker))

    def _denylist(self) -> Denylist:
        files = [*self.settings.denylists, *self.external.denylists]
        stream = self.settings.denylist_stream or (self.info.image.stream if self.info is not None else "")
        return read_denylist(files, target_of(self.settings, self.info), stream)

    # -- one test ----------------------------------------------------------------------------------------------------

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Admit the test: all the memory that it declares, in one step, before its fixtures."""
        needs = item.stash.get(NEEDS, None)
        if needs is not None and self.info is not None:
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
        except pytest.skip.Exception:
            raise
        except Exception:
            if reservation is not None and (text := terminal.findings(reservation)[0]):
                item.add_report_section("call", "checks", text)
            raise
        if reservation is not None:
            text, skipped = terminal.findings(reservation)
            if skipped:
                item.add_report_section("call", "checks skipped by the marker", skipped)
            if text:
                raise CheckFailed(text)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put into the report what a person needs to go on: the machine's last words, its artifacts, how to log in."""
        reservation = item.stash.get(RESERVATION, None)
        error = call.excinfo.value if call.excinfo is not None else None
        failed = error is not None and not isinstance(error, pytest.skip.Exception)
        if failed:
            item.stash[FAILED] = True
        if reservation is not None:
            self._describe(item, call.when, reservation, failed=failed)
        if isinstance(error, PlatformError):
            item.user_properties.append((OUTCOME, Outcome.PROVIDER_ERROR.value))
        report = yield
        if isinstance(error, KolaError) and call.excinfo is not None:
            report.longrepr = terminal.short_repr(item, call.excinfo)
        why = item.stash.get(WARN, "")
        if why and report.failed and not isinstance(error, PlatformError):
            warn_only(report, why)
        return report

    def _describe(self, item: pytest.Item, when: str, reservation: Reservation, *, failed: bool) -> None:
        info = reservation.flight.info
        keep = reservation.keep(failed=failed)
        for machine in reservation.machines:
            properties = [
                (MACHINE, machine.name),
                (ARTIFACTS, str(machine.artifacts.relative_to(info.output))),
            ]
            if keep:
                properties.append((SSH, machine.ssh_command()))
            item.user_properties += [p for p in properties if p not in item.user_properties]
            if failed:
                kept = machine.ssh_command() if keep else ""
                item.add_report_section(when, f"machine {machine.name}", terminal.last_words(machine, kept))

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

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport | pytest.CollectReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Show what pytest has no word for as what it is: a provider error, a warning."""
        # pytest asks about errors of the collection, too, whose reports have no properties.
        shown = terminal.LETTERS.get(report_outcome(report)) if isinstance(report, pytest.TestReport) else None
        return None if shown is None else (*shown[:2], (shown[2], {"yellow": True}))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Provider errors in full, kept machines with their SSH lines, and where everything is."""
        if self.info is not None and self.recorder is not None:
            bill = () if self._flight is None else self._flight.platform.summary()
            terminal.summary(terminalreporter, self.info, rates(self.recorder.record.tests.values()), bill)
        if self.config.option.collectonly and self.config.option.verbose > 0:
            terminal.explain(terminalreporter, self.external.out)


def _plan_path(info: RunInfo, worker: str) -> Path:
    return info.scratch / f"plan-{worker}.json"
