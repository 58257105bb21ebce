"""The record of a run: outcomes, exit codes, ``results.json``. What a later gate reads. Schema: docs/results.md."""

from __future__ import annotations

import dataclasses
import enum
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SCHEMA = 1


class Outcome(enum.StrEnum):
    """How one test ended. A result that was not run is never any of the others."""

    PASSED = "passed"
    FAILED = "failed"
    FLAKY = "flaky"
    """Failed first, passed when it was run again in a fresh machine."""
    WARNED = "warned"
    """Failed, but the denylist says that this one only warns."""
    SKIPPED = "skipped"
    PROVIDER_ERROR = "provider-error"
    """The platform failed: nothing is known about the operating system."""
    NOT_RUN = "not-run"
    """Selected, but the run ended before it."""


class ExitCode(enum.IntEnum):
    """The exit codes of a test run, in one table; pytest's own keep their meaning."""

    PASSED = 0
    FAILED = 1
    INTERRUPTED = 2
    INTERNAL_ERROR = 3
    USAGE_ERROR = 4
    NOTHING_COLLECTED = 5
    PROVIDER_ERROR = 75
    """EX_TEMPFAIL of sysexits.h: run it again."""
    ONLY_WARNINGS = 77
    """As kola: nothing failed, but something warned."""


PRECEDENCE = (
    ExitCode.USAGE_ERROR,
    ExitCode.INTERNAL_ERROR,
    ExitCode.INTERRUPTED,
    ExitCode.FAILED,
    ExitCode.PROVIDER_ERROR,
    ExitCode.ONLY_WARNINGS,
    ExitCode.NOTHING_COLLECTED,
    ExitCode.PASSED,
)
"""When several apply, the first of these is the exit code."""


def exit_code(pytest_code: int, outcomes: Iterable[Outcome], *, warnings_fail: bool = False) -> int:
    """Combine pytest's own verdict with what it cannot express.

    Args:
        pytest_code: the code that pytest would exit with; one that is not in the table (a plugin's) is left alone.
        outcomes: of all tests.
        warnings_fail: whether ``ONLY_WARNINGS`` was asked for.
    """
    if pytest_code not in set(ExitCode):
        return pytest_code
    seen = set(outcomes)
    codes = {ExitCode(pytest_code)}
    if Outcome.PROVIDER_ERROR in seen:
        # pytest counts a provider error as a failure; it is one only when something else failed too.
        if ExitCode(pytest_code) is ExitCode.FAILED and Outcome.FAILED not in seen:
            codes.discard(ExitCode.FAILED)
        codes.add(ExitCode.PROVIDER_ERROR)
    if Outcome.WARNED in seen and warnings_fail:
        codes.add(ExitCode.ONLY_WARNINGS)
    return next(code for code in PRECEDENCE if code in codes)


@dataclass
class TestRecord:
    """One test. Durations in seconds; paths relative to the folder of ``results.json``."""

    __test__ = False

    nodeid: str
    outcome: Outcome = Outcome.NOT_RUN
    description: str = ""
    covers: str = ""
    duration: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    """Why it was skipped, or the first line of what went wrong."""
    machines: list[str] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    isolation: str = ""
    worker: str = ""
    attempt: str = ""
    """With ``--multiply``: the test that this is one attempt of."""


@dataclass(frozen=True)
class Target:
    """One platform, architecture and image that the run was about; and the image of ``--from-image``, if there is."""

    platform: str
    arch: str
    accelerator: str
    image: Mapping[str, Any]
    from_image: Mapping[str, Any] | None = None


@dataclass
class RunRecord:
    """One run. Times in unix seconds."""

    run_id: str
    kola_version: str
    started: float
    targets: list[Target] = field(default_factory=list)
    tests: dict[str, TestRecord] = field(default_factory=dict)
    finished: float | None = None
    complete: bool = False
    """False while the run goes on, and for ever when it was cut short."""
    exit_code: int | None = None
    name: str = ""
    """Of ``--run-name``."""

    def counts(self) -> dict[str, int]:
        """Number of tests by outcome, every outcome present."""
        counter = Counter(test.outcome for test in self.tests.values())
        return {outcome.value: counter[outcome] for outcome in Outcome}

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``results.json`` holds."""
        return {
            "schema": SCHEMA,
            "run_id": self.run_id,
            "name": self.name,
            "kola_version": self.kola_version,
            "started": round(self.started, 3),
            "finished": None if self.finished is None else round(self.finished, 3),
            "complete": self.complete,
            "exit_code": self.exit_code,
            "targets": [dataclasses.asdict(target) for target in self.targets],
            "counts": self.counts(),
            "tests": [dataclasses.asdict(test) for _, test in sorted(self.tests.items())],
        }

    def write(self, path: Path) -> None:
        """Replace ``path`` atomically: a reader sees a whole record, also when the run is killed."""
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(self.to_json(), indent=1) + "\n")
        draft.replace(path)


def read(path: Path) -> RunRecord:
    """Read a record.

    Raises:
        ConfigError: no such file, not JSON, another schema, a missing or unknown key.
    """
    try:
        data = json.loads(path.read_text())
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from e
    except ValueError as e:
        raise ConfigError(f"{path}: not a whole JSON document: {e}") from e
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else None
        raise ConfigError(f"{path}: schema {found!r} is not known; this version reads {SCHEMA}")
    data = {key: value for key, value in data.items() if key not in {"schema", "counts"}}
    try:
        tests = [TestRecord(**{**test, "outcome": Outcome(test["outcome"])}) for test in data.pop("tests")]
        targets = [Target(**target) for target in data.pop("targets")]
        return RunRecord(**data, targets=targets, tests={test.nodeid: test for test in tests})
    except (TypeError, KeyError, ValueError) as e:
        raise ConfigError(f"{path}: not a results record of schema {SCHEMA}: {e}") from e
