"""``ci/gate.toml``: what a release needs. Pure; strict: every key is known, every value of its kind."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kola.matrix import Cadence
from kola.matrix.table import Table, read_toml

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Rule:
    """When a measure has become worse: above the median of earlier builds by more than the greatest of these.

    Attributes:
        percent: of that median.
        mads: times the median absolute deviation, scaled to be a standard deviation where noise is normal.
        least: in the measure's own unit: seconds, or MiB.
    """

    percent: float
    mads: float
    least: float


@dataclass(frozen=True)
class Policy:
    """What a release needs; docs/gate.md says what each key means.

    Attributes:
        matrix: file with the cells, relative to the policy's.
        cadence: cells that are run so often or more often are waited for.
        max_age_hours: of results.
        keys: PEM files, relative to the policy's, whose signatures count.
        signatures: how many of them each statement needs.
        waivers: file, relative to the policy's; empty: none.
        waiver_days: how long a waiver may hold at most.
        warned_holds: whether a test that only warns holds the release.
        flaky_budget: how many tests may be flaky, all required cells together.
        flaky_builds: how many of the last builds are looked at for tests that are flaky again and again.
        flaky_times: in how many of these a test may not be flaky.
        history_required: whether a build can be released with nothing to compare it with.
        history_builds: how many earlier builds are looked at.
        history_least: how many of them are needed to judge a measure.
        shrink_percent: part of a suite's tests that may no longer run.
        boot_time, test_time, image_size: rules for measures: seconds, seconds, MiB.
        promoted_from: stream -> the one that its builds are promoted from.
        young: streams that can do without a history.
        image_streams: stream -> what its images say, where that is another name.
        platforms, suites: only cells of these are looked at; empty: of all.
    """

    matrix: str
    cadence: Cadence
    max_age_hours: int
    keys: tuple[str, ...]
    signatures: int = 1
    waivers: str = ""
    waiver_days: int = 90
    warned_holds: bool = False
    flaky_budget: int = 0
    flaky_builds: int = 10
    flaky_times: int = 3
    history_required: bool = True
    history_builds: int = 10
    history_least: int = 3
    shrink_percent: int = 0
    boot_time: Rule = Rule(20, 6, 2)
    test_time: Rule = Rule(50, 6, 10)
    image_size: Rule = Rule(5, 6, 16)
    promoted_from: Mapping[str, str] = field(default_factory=dict)
    young: frozenset[str] = frozenset()
    image_streams: Mapping[str, str] = field(default_factory=dict)
    platforms: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()

    def for_stream(self, stream: str) -> Policy:
        """Return what holds for a stream."""
        return replace(self, history_required=self.history_required and stream not in self.young)


_TOP = ("results", "tests", "history", "regressions", "streams")
_MOST = 1_000_000


def parse_policy(text: str, source: str) -> Policy:
    """Read the file.

    Args:
        text: of the file.
        source: names it in messages.

    Raises:
        ConfigError: something in it is wrong: names the key, and what is allowed.
    """
    top = read_toml(text, source, _TOP)
    values: dict[str, Any] = {}
    results = _table(
        top, "results", ("matrix", "cadence", "platforms", "suites", "max_age_hours", "keys", "signatures")
    )
    values["matrix"] = results.text("matrix")
    values["cadence"] = Cadence(results.one_of("cadence", list(Cadence)))
    values["max_age_hours"] = _number(results, "max_age_hours", None, least=1)
    for key in ("platforms", "suites"):
        values[key] = results.texts(key)
        if key in results.data and not values[key]:
            raise results.wrong(key, "one name at least")
    values["keys"] = results.texts("keys")
    values["signatures"] = _number(results, "signatures", 1, least=1)
    tests = _table(
        top, "tests", ("waivers", "waiver_days", "warned_holds", "flaky_budget", "flaky_builds", "flaky_times")
    )
    values["waivers"] = tests.text("waivers", "")
    values["waiver_days"] = _number(tests, "waiver_days", Policy.waiver_days)
    values["warned_holds"] = tests.flag("warned_holds", default=Policy.warned_holds)
    values["flaky_budget"] = _number(tests, "flaky_budget", Policy.flaky_budget)
    values["flaky_builds"] = _number(tests, "flaky_builds", Policy.flaky_builds)
    values["flaky_times"] = _number(tests, "flaky_times", Policy.flaky_times, least=2)
    history = _table(top, "history", ("required", "builds", "least", "shrink_percent"))
    values["history_required"] = history.flag("required", default=Policy.history_required)
    values["history_builds"] = _number(history, "builds", Policy.history_builds, least=1)
    values["history_least"] = _number(history, "least", Policy.history_least, least=1)
    values["shrink_percent"] = _number(history, "shrink_percent", Policy.shrink_percent, most=100)
    if values["history_least"] > values["history_builds"]:
        raise history.wrong("least", f"at most 'builds', which is {values['history_builds']}")
    rules = {"boot_time": Policy.boot_time, "test_time": Policy.test_time, "image_size": Policy.image_size}
    regressions = _table(top, "regressions", tuple(rules))
    for name, rule in rules.items():
        values[name] = _rule(Table(f"{regressions.where}: {name}", regressions.data.get(name, {}), _RULE), rule)
    streams = _streams(top)
    for key, value in {"promoted_from": "promoted_from", "image_stream": "image_streams"}.items():
        values[value] = {name: table.text(key) for name, table in streams.items() if key in table.data}
    values["young"] = frozenset(
        name for name, table in streams.items() if not table.flag("history_required", default=True)
    )
    return Policy(**values)


_RULE = ("percent", "mads", "least")


def _table(top: Table, name: str, keys: tuple[str, ...]) -> Table:
    return Table(f"{top.where}: [{name}]", top.data.get(name, {}), keys)


def _rule(table: Table, default: Rule) -> Rule:
    return Rule(**{key: _amount(table, key, getattr(default, key)) for key in _RULE})


def _number(table: Table, key: str, default: int | None, *, least: int = 0, most: int = _MOST) -> int:
    value = table.data.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise table.wrong(key, f"a whole number from {least} to {most}")
    return value


def _amount(table: Table, key: str, default: float) -> float:
    value = table.data.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
        raise table.wrong(key, f"a number from 0 to {_MOST}")
    return float(value)


def _streams(top: Table) -> dict[str, Table]:
    given = top.data.get("streams", {})
    names = Table(f"{top.where}: [streams]", given, given).names()
    return {
        name: Table(
            f"{top.where}: [streams.{name}]", given[name], ("promoted_from", "history_required", "image_stream")
        )
        for name in names
    }
