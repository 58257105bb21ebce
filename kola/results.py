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
from kola.typed import typed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SCHEMA = 2


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


@dataclass(frozen=True)
class FirstFailure:
    """The first try of a test that was run again. ``phase``: ``setup``, ``call`` or ``teardown``."""

    reason: str
    phase: str = ""
    text: str = ""
    """As ``TestRecord.text``."""
    machines: list[str] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)


@dataclass
class TestRecord:
    """One test. Durations in seconds; paths relative to the folder of ``results.json``."""

    __test__ = False

    nodeid: str
    outcome: Outcome = Outcome.NOT_RUN
    suite: str = ""
    description: str = ""
    covers: str = ""
    started: float | None = None
    """Unix seconds at which its set-up began; of one that was run again, the second try's."""
    duration: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    """Why it was skipped, or the first line of what went wrong."""
    text: str = ""
    """What pytest shows of one that did not pass: the error, the checks, the machine's last words; if long, its end."""
    first_failure: FirstFailure | None = None
    """With ``--rerun-failed``: how the first try went wrong, also if the second did."""
    machines: list[str] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    isolation: str = ""
    worker: str = ""
    attempt: str = ""
    """With ``--multiply``: the test that this is one attempt of."""


@dataclass(frozen=True)
class MachineRecord:
    """One machine. Moments in unix seconds, None if it did not come to that; memory in MiB.

    Attributes:
        name: as in ``TestRecord.machines``.
        worker: the process that made it.
        origin: ``boot``, or ``clone`` of a machine that was booted before.
        updated: whether it booted the image of ``--from-image``.
        firmware: that it was asked to boot by; empty for the platform's own.
        deployment: what it had booted when SSH answered first, read in it: OSTree checksum, or ``sha256:...`` of the
            manifest of the container image that it was made of; empty if it is not known.
        arrived: of one that is ``updated``: what it had booted when its test was over, read in it; else empty.
        created: the platform was asked for it.
        booting: it ran.
        up: SSH answered.
        gone: it was no more.
        memory_mib: of the machine.
        peak_mib: the most that it was seen to use of the host; None where that is not measured.
        kept: whether it went on after the run (``--keep-machines``); ``gone`` is when the run let go of it then.
        artifacts: its folder, relative to the folder of ``results.json``.
    """

    name: str
    worker: str = ""
    origin: str = "boot"
    updated: bool = False
    firmware: str = ""
    deployment: str = ""
    arrived: str = ""
    created: float | None = None
    booting: float | None = None
    up: float | None = None
    gone: float | None = None
    memory_mib: int = 0
    peak_mib: float | None = None
    kept: bool = False
    artifacts: str = ""

    @property
    def boot_seconds(self) -> float | None:
        """Seconds from power-on until SSH answered; None of a clone, and of one that did not get there."""
        if self.origin != "boot" or self.booting is None or self.up is None:
            return None
        return self.up - self.booting


@dataclass(frozen=True)
class ImageRecord:
    """What was booted, as in ``kola.images.Image``; ``sha256`` is of the image file as it was booted, never packed.

    Attributes:
        artifact_sha256: of the file as it was published, which may be packed; empty if it is not known.
        platform_id: what a cloud calls it, such as an AMI; empty where the file itself is booted.
    """

    reference: str
    name: str = ""
    version: str = ""
    build_id: str = ""
    stream: str = ""
    distro: str = ""
    sha256: str = ""
    artifact_sha256: str = ""
    platform_id: str = ""


@dataclass(frozen=True)
class Target:
    """One platform, architecture and image that the run was about.

    Attributes:
        platform: as given to ``--platform``.
        arch: rpm spelling.
        accelerator: ``kvm``, ``tcg``, ``cloud``...
        image: of ``--image``.
        from_image: of ``--from-image``, if there is one.
        firmware: that machines boot by where a test does not say; empty where the platform leaves no choice.
        deployments: what machines of ``image`` had booted, as ``MachineRecord.deployment``; sorted, one if all is well.
    """

    platform: str
    arch: str
    accelerator: str
    image: ImageRecord
    from_image: ImageRecord | None = None
    firmware: str = ""
    deployments: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Tells it from the other targets of a build: ``qemu x86_64 uefi``."""
        return " ".join(part for part in (self.platform, self.arch, self.firmware) if part)


@dataclass(frozen=True)
class Share:
    """The run had share ``number`` of ``total`` of the tests (``--sharding``), from 1 on."""

    number: int
    total: int


@dataclass
class RunRecord:
    """One run, or the merged record of several that had a share each. Times in unix seconds."""

    run_id: str
    kola_version: str
    started: float
    targets: list[Target] = field(default_factory=list)
    tests: dict[str, TestRecord] = field(default_factory=dict)
    machines: dict[str, MachineRecord] = field(default_factory=dict)
    suites: list[str] = field(default_factory=list)
    """What ``--suite`` names, or the folders of the selected tests."""
    shard: Share | None = None
    artifacts: list[str] = field(default_factory=list)
    """Of the run itself, relative to the folder of ``results.json``."""
    finished: float | None = None
    complete: bool = False
    """False while the run goes on, and for ever when it was cut short."""
    exit_code: int | None = None
    name: str = ""
    """Of ``--run-name``."""
    deselected: int = 0
    """Number of tests that somebody asked not to run; those of other shares are not among them."""

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
            "suites": self.suites,
            "deselected": self.deselected,
            "shard": None if self.shard is None else dataclasses.asdict(self.shard),
            "targets": [dataclasses.asdict(target) for target in self.targets],
            "counts": self.counts(),
            "artifacts": self.artifacts,
            "machines": [dataclasses.asdict(machine) for _, machine in sorted(self.machines.items())],
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
        text = path.read_bytes()
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from e
    return parse(text, str(path))


def parse(text: bytes, source: str) -> RunRecord:
    """Return the record of a file's content.

    Args:
        text: of the file.
        source: names it in messages.

    Raises:
        ConfigError: as ``read``; and its counts are not those of its tests, or a test or machine is there twice.
    """
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError, OverflowError) as e:
        raise ConfigError(f"{source}: not a whole JSON document: {e}") from e
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else None
        raise ConfigError(f"{source}: schema {found!r} is not known; this version reads {SCHEMA}")
    try:
        record = _record({key: value for key, value in data.items() if key not in {"schema", "counts"}})
        counts = typed(dict[str, int], data.get("counts"), "counts")
    except (TypeError, KeyError, ValueError, OverflowError) as e:
        raise ConfigError(f"{source}: not a results record of schema {SCHEMA}: {e}") from e
    twice = len(record.tests) != len(data["tests"]) or len(record.machines) != len(data["machines"])
    if twice or record.counts() != counts:
        raise ConfigError(f"{source}: contradicts itself: counts, or a test or machine that is there twice")
    return record


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


def _record(data: dict[str, Any]) -> RunRecord:
    tests = typed(list[TestRecord], data.pop("tests"), "tests")
    machines = typed(list[MachineRecord], data.pop("machines"), "machines")
    record: RunRecord = typed(RunRecord, data)
    return dataclasses.replace(
        record, tests={test.nodeid: test for test in tests}, machines={one.name: one for one in machines}
    )
