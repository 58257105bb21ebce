"""kola's pytest plugin; thin, and quick to import: what only a run with machines needs is in ``kola.hooks``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from kola import hookspecs, options, parallel, terminal
from kola.collect import FOUND, ExternalTests, denylist_for, read_denylists
from kola.errors import ConfigError, KolaError, PlatformError
from kola.fixtures import WARN
from kola.preparation import prepare, target_of
from kola.recording import OUTCOME, report_outcome, warn_only
from kola.rerun import Reruns, multiply
from kola.results import Outcome

if TYPE_CHECKING:
    from collections.abc import Generator

    from kola.external.denylist import Denylist
    from kola.hooks import MachineHooks
    from kola.run import RunInfo

WORKERS = pytest.StashKey[parallel.Workers]()

pytest_plugins = ["kola.fixtures"]


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Make known what other plugins may implement."""
    pluginmanager.add_hookspecs(hookspecs)


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
        "kola(isolation, machines, memory_mib, ignition, ...): what a test needs; docs/writing-tests.md",
    )
    try:
        plugin = KolaPlugin(config)
    except ConfigError as e:
        raise pytest.UsageError(str(e)) from e
    config.pluginmanager.register(plugin, "kola-tests")
    config.pluginmanager.register(plugin.external, "kola-external")
    if plugin.settings.rerun_failed:
        config.pluginmanager.register(Reruns(), "kola-reruns")


class KolaPlugin:
    """What holds for tests with and without machines: which there are, what they need, what is said of their end."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.settings = options.settings(config)
        self.external = ExternalTests(config, self.settings.external, self.settings.choice, self.settings.multiply)
        self._denied = read_denylists([*self.settings.denylists, *self.external.denylists])
        self.machines: MachineHooks | None = None

    @property
    def info(self) -> RunInfo | None:
        """Of the run, if it boots machines."""
        return self.machines.info if self.machines is not None else None

    # -- the run -----------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Open the run (controller) or join it (worker), if it boots machines."""
        workerinput = getattr(self.config, "workerinput", None)
        if workerinput is None:
            boots = self.settings.platform is not None and not self.config.option.collectonly
        else:
            boots = "kola" in workerinput
        if not boots:
            return
        # SSH, the image formats, xdist: loading all that takes longer than pytest itself, and most runs of pytest on
        # a host where kola is installed boot nothing.
        from kola import hooks  # noqa: PLC0415

        if workerinput is None:
            self.machines = hooks.open_run(self.config, self.settings)
        else:
            self.machines = hooks.join_run(self.config, self.settings, workerinput)
        self.config.pluginmanager.register(self.machines, "kola-machines")

    def pytest_report_header(self) -> list[str]:
        """Say what is going to be tested, where, and how much at once."""
        if self.machines is None:
            return []
        chosen = self.config.stash.get(WORKERS, None)
        denylist = [f"kola: denylist: {line}" for line in self._denylist().lines()]
        run = terminal.header(self.machines.info, own_scheduler=self.machines.own_scheduler, workers=chosen)
        return denylist + run

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
        if self.machines is not None:
            self.machines.collected(items, errors)
        elif errors:
            raise pytest.UsageError("\n".join(errors))

    def _denylist(self) -> Denylist:
        stream = self.settings.denylist_stream or (self.info.image.stream if self.info is not None else "")
        return denylist_for(self._denied, target_of(self.settings, self.info), stream)

    # -- what came out -----------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Tell provider errors and warnings from failures, and leave kola's own frames out."""
        error = call.excinfo.value if call.excinfo is not None else None
        if isinstance(error, PlatformError):
            item.user_properties.append((OUTCOME, Outcome.PROVIDER_ERROR.value))
        report = yield
        if isinstance(error, KolaError) and call.excinfo is not None:
            report.longrepr = terminal.short_repr(item, call.excinfo)
        why = item.stash.get(WARN, "")
        if why and report.failed and not isinstance(error, PlatformError):
            warn_only(report, why)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport | pytest.CollectReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Show what pytest has no word for as what it is: a provider error, a warning."""
        # pytest asks about errors of the collection, too, whose reports have no properties.
        shown = terminal.LETTERS.get(report_outcome(report)) if isinstance(report, pytest.TestReport) else None
        return None if shown is None else (*shown[:2], (shown[2], {"yellow": True}))
