"""pytest collects and runs tests in kola's external format; thin: what they are is in the other modules here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kola import checks, ignition, runext
from kola.errors import ConfigError, MachineLost
from kola.external import buckets, tree
from kola.external.choice import OTHER_SHARE, TAG_ONLY
from kola.external.denylist import FILE as DENYLIST
from kola.external.denylist import Denylist, Entry, parse_denylist
from kola.external.metadata import Metadata
from kola.external.model import NEEDS_INTERNET, PLATFORM_INDEPENDENT, TAG, ExternalTest, cannot_run, load, read_metadata
from kola.external.tree import Found
from kola.fixtures import NEEDS, RESERVATION, WARN
from kola.rerun import AGAIN, TIMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kola.external.choice import Choice
    from kola.flight import Reservation
    from kola.machine import Machine

FOUND = pytest.StashKey[Found]()
METADATA = pytest.StashKey[Metadata]()
TEST = pytest.StashKey[ExternalTest]()
UNASKED = pytest.StashKey[bool]()
"""Of a test that is deselected: whether that is so without anybody asking for it."""
MULTIPLY = pytest.StashKey[int]()
"""How often each test is run."""
_BROKEN = pytest.StashKey[dict[str, str]]()
"""Machine key of a shared machine that did not come up -> why; of one process."""


@dataclass(frozen=True)
class Target:
    """What tests are collected for; empty if not known, as when only collecting.

    Attributes:
        platform_independent: whether tests with the tag of that name run on any platform.
    """

    platform: str = ""
    arch: str = ""
    distro: str = ""
    platform_independent: bool = False
    container: str = ""


class ExternalTests:
    """The external tests of one pytest process.

    Args:
        config: pytest's.
        paths: projects given by ``-E``.
        choice: what the user wants of them.
        multiply: how often each is run.
    """

    def __init__(self, config: pytest.Config, paths: Iterable[Path], choice: Choice, multiply: int = 1) -> None:
        self.choice = choice
        config.stash[MULTIPLY] = multiply
        self.out: list[tuple[str, str]] = []
        """Names of tests that were deselected, and why."""
        self.errors: list[str] = []
        """What is wrong with what the user asked for, a line each."""
        given = {tree.tests_of(path): None for path in paths}
        self._add_arguments(config, [str(root) for root in given])
        self.roots = tuple(
            path for arg in config.args if tree.project_of(path := Path(arg.split("::")[0]).resolve()) is not None
        )

    @staticmethod
    def _add_arguments(config: pytest.Config, roots: list[str]) -> None:
        """Let pytest collect from these folders, beside paths that were given but instead of its configured ones."""
        if not roots:
            return
        source = config.args_source
        given = config.args if source is config.ArgsSource.ARGS else []
        config.args = [*given, *(root for root in roots if root not in given)]
        config.args_source = config.ArgsSource.ARGS

    @property
    def denylists(self) -> list[Path]:
        """The denylists of the projects that are collected."""
        projects = dict.fromkeys(project for root in self.roots if (project := tree.project_of(root)) is not None)
        return [path for project in projects if (path := project / DENYLIST).is_file()]

    # -- collection --------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Collect folders of a ``tests/kola`` in which, or below which, tests were asked for."""
        if tree.project_of(path) is None:
            return None
        if not any(root.is_relative_to(path) or path.is_relative_to(root) for root in self.roots):
            return None
        return Folder.from_parent(parent, path=path)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Take out what the user does not want, before ``-k`` and ``-m`` do."""
        try:
            self._select(config, items)
        except ConfigError as e:
            self.errors.append(str(e))

    def _select(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        self.choice.check({_name(item) for item in items})
        kept, out = [], []
        for item in items:
            why = self._why_not(item)
            if why:
                self.out.append((item.name, why))
                item.stash[UNASKED] = why.startswith((OTHER_SHARE, TAG_ONLY))
                out.append(item)
            else:
                kept.append(item)
        if out:
            config.hook.pytest_deselected(items=out)
            items[:] = kept

    def _why_not(self, item: pytest.Item) -> str:
        found = item.stash.get(FOUND, None)
        if found is None:
            return self.choice.why_not(_name(item), [tag for mark in item.iter_markers("kola") for tag in _tags(mark)])
        # What is out by its name is not read: its metadata may be of a later version.
        if why := self.choice.why_not_by_name(_name(item)):
            return why
        item.stash[METADATA] = metadata = read_metadata(found)
        return self.choice.why_not(_name(item), (TAG, *metadata.tags), metadata.required_tag)

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """Say why tests were deselected, to who asks for it."""
        if config.option.collectonly and config.option.verbose > 0:
            for name, why in self.out:
                terminalreporter.write_line(f"not selected: {name}: {why}")

    def prepare(self, items: list[pytest.Item], target: Target, denylist: Denylist) -> list[str]:
        """Give every external test its needs, a reason to be skipped, or its share of a machine.

        Returns:
            What is wrong with tests that would be run, and with what the user asked for, a line each.
        """
        errors = list(self.errors)
        configs: dict[tuple[Path, bool], ignition.Config] = {}
        shared: dict[pytest.Item, ExternalTest] = {}
        for item in items:
            if not _rule(item, denylist) or METADATA not in item.stash:
                continue
            try:
                test = self._load(item, target, denylist.today, configs)
            except ConfigError as e:
                errors.append(str(e))
                continue
            if test is not None:
                item.stash[TEST] = test
                if not test.metadata.exclusive:
                    shared[item] = test
        placed = buckets.share(list({test.name: test for test in shared.values()}.values()))
        for item, test in shared.items():
            item.stash[TEST] = placed[test.name]
        for item in items:
            if (ready := item.stash.get(TEST, None)) is not None:
                try:
                    item.stash[NEEDS] = ready.needs(target.arch, checks.RULES)
                except ConfigError as e:
                    errors.append(f"{ready.found.executable}: {e}")
        return list(dict.fromkeys(errors))

    def _load(
        self,
        item: pytest.Item,
        target: Target,
        today: date,
        configs: dict[tuple[Path, bool], ignition.Config],
    ) -> ExternalTest | None:
        """Return a test that may be run; the config of one that is skipped whatever it is like is not even read."""
        found, metadata = item.stash[FOUND], item.stash[METADATA]
        forced = PLATFORM_INDEPENDENT if target.platform_independent else None
        looked_at = replace(metadata, tags=tuple(tag for tag in metadata.tags if tag != forced))
        why = cannot_run(looked_at, platform=target.platform, distro=target.distro, container=target.container)
        if not why and NEEDS_INTERNET in metadata.tags and not self.choice.internet:
            why = f"tag {NEEDS_INTERNET}, and --no-net is given"
        if why:
            item.add_marker(pytest.mark.skip(reason=why))
            return None
        ends = metadata.grace_ends()
        if ends is not None and today < ends:
            item.stash.setdefault(WARN, f"only warns until {ends}, 30 days after its creation")
        test = load(found, metadata, configs)
        return replace(test, container=Path(target.container)) if metadata.inject_container else test


def _rule(item: pytest.Item, denylist: Denylist) -> bool:
    """Apply the denylist to a test; tells whether it may run."""
    ruling = denylist.ruling(_name(item))
    if ruling.warn:
        item.stash[WARN] = ruling.warn
    if ruling.skip:
        item.add_marker(pytest.mark.skip(reason=ruling.skip))
    return not ruling.skip


def read_denylists(files: Iterable[Path]) -> tuple[Entry, ...]:
    """Read denylists.

    Raises:
        ConfigError: a file cannot be read, or is none in that format.
    """
    entries: list[Entry] = []
    for path in files:
        try:
            entries += parse_denylist(path.read_bytes(), str(path))
        except OSError as e:
            raise ConfigError(f"{path}: {e.strerror}") from e
    return tuple(entries)


def denylist_for(entries: Iterable[Entry], target: Target, stream: str) -> Denylist:
    """Return what holds for a target today."""
    today = datetime.now(UTC).date()
    return Denylist.of(entries, stream=stream, arch=target.arch, platform=target.platform, today=today)


class Folder(pytest.Directory):
    """A folder of a ``tests/kola``."""

    def collect(self) -> Iterator[pytest.Collector]:
        """Yield its tests, and the folders below it."""
        try:
            scan = tree.scan(self.path)
        except ConfigError as e:
            raise self.CollectError(str(e)) from e
        for path in scan.doubtful:
            text = f"{path} begins with #! but is not executable for everybody, so it is no test"
            self.warn(pytest.PytestCollectionWarning(text))
        for found in scan.tests:
            file = Executable.from_parent(self, path=found.executable)
            file.stash[FOUND] = found
            yield file
        for path in scan.folders:
            yield Folder.from_parent(self, path=path)


class ExternalItem(pytest.Function):
    """An external test; a function, so that fixtures and marks work as ever."""

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return what its failure is headed with: its name alone."""
        return self.path, 0, self.name


class Executable(pytest.File):
    """A program that is a test."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield it as kola calls it."""
        found, times = self.stash[FOUND], self.config.stash[MULTIPLY]
        for number in range(times):
            # As kola numbers them.
            name = found.name if times == 1 else f"{found.name}{number}"
            item = ExternalItem.from_parent(self, name=name, callobj=run_external)
            item.stash[FOUND] = found
            if times > 1:
                item.stash[TIMES] = f"{self.nodeid}::{found.name}"
            yield item


def _name(item: pytest.Item) -> str:
    """Return a test's name, without the number of its attempt."""
    return item.stash[FOUND].name if FOUND in item.stash else getattr(item, "originalname", None) or item.name


def run_external(request: pytest.FixtureRequest) -> None:
    """Run an external test on its machine."""
    item = request.node
    test: ExternalTest = item.stash[TEST]
    machine = _machine(item, test)
    program = item.stash[TEST].program()
    try:
        runext.run(machine, program, 60.0 * test.minutes * machine.slowness)
    finally:
        if text := runext.output(machine, program):
            item.add_report_section("call", f"journal of {program.unit}", text)


def _machine(item: pytest.Item, test: ExternalTest) -> Machine:
    """Return the test's machine. If one for several does not come up, each gets its own: one of them is to blame."""
    reservation: Reservation = item.stash[RESERVATION]
    broken = item.config.stash.setdefault(_BROKEN, {})
    key = reservation.needs.machine_key()
    if test.shared and key not in broken and not item.stash.get(AGAIN, False):
        try:
            return reservation.launch()
        except MachineLost as e:
            broken[key] = str(e)
            item.add_report_section("setup", "the machine of several tests did not come up", str(e))
            reservation.flight.progress.say(test.name, "the shared machine did not come up: its tests run apart")
            reservation.discard()
    elif not test.shared:
        return reservation.launch()
    alone = replace(test, bucket=0, merged=None)
    item.stash[TEST] = alone
    return reservation.launch(test.config or ignition.empty())


def _tags(mark: pytest.Mark) -> list[str]:
    return list(mark.kwargs.get("tags", ()))
