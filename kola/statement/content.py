"""A record of results -> what a statement says of it, and back. Pure.

Format: https://in-toto.io/Statement/v1 and https://in-toto.io/attestation/test-result/v0.1.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kola.errors import ConfigError
from kola.results import ExitCode, Outcome

if TYPE_CHECKING:
    from kola.results import RunRecord, Target

PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
RESULTS, DEPLOYMENT, ARTIFACT, DISK = "results.json", "deployment", "artifact", "disk image"
"""Names of subjects."""
_MISSING = "this needs the Python module '{}': pip install 'pytest-kola[gate]'"


class Result(enum.StrEnum):
    """The predicate's words. What was not run, or what the provider failed at, is ``FAILED``: it has no such word."""

    PASSED = "PASSED"
    WARNED = "WARNED"
    FAILED = "FAILED"


_WORDS = {
    Outcome.PASSED: Result.PASSED,
    Outcome.FLAKY: Result.WARNED,
    Outcome.WARNED: Result.WARNED,
    Outcome.FAILED: Result.FAILED,
    Outcome.PROVIDER_ERROR: Result.FAILED,
    Outcome.NOT_RUN: Result.FAILED,
}
"""What is skipped stands nowhere: it is no test of this target."""


@dataclass(frozen=True)
class Statement:
    """What is asserted.

    Attributes:
        subjects: name and SHA-256 digest of each.
        result: of the whole run.
        tests: node ids by result.
        configuration: what was tested where, a descriptor each.
    """

    subjects: tuple[tuple[str, str], ...]
    result: Result
    tests: dict[Result, list[str]]
    configuration: list[dict[str, Any]]

    def digests(self, name: str) -> list[str]:
        """Return the digests of the subjects of that name."""
        return [digest for subject, digest in self.subjects if subject == name]

    def to_json(self) -> bytes:
        """Return the statement as it is signed; checked against its format.

        Raises:
            ConfigError: the libraries are not installed.
        """
        formats = _formats()
        predicate = formats.json.ParseDict(
            {
                "result": self.result.value,
                "configuration": self.configuration,
                **{f"{result.value.lower()}Tests": self.tests.get(result, []) for result in Result},
            },
            formats.test_result.TestResult(),
        )
        statement = formats.statement.Statement(
            [
                formats.descriptor.ResourceDescriptor(name, digest={"sha256": digest}).pb
                for name, digest in self.subjects
            ],
            PREDICATE_TYPE,
            formats.json.MessageToDict(predicate),
        )
        statement.validate()
        return bytes(formats.json.MessageToJson(statement.pb, indent=None).encode())


def parse_statement(text: bytes, source: str) -> Statement:
    """Read a statement.

    Args:
        text: the payload of an envelope.
        source: names it in messages.

    Raises:
        ConfigError: it is none, or one of something else; or the libraries are not installed.
    """
    formats = _formats()
    try:
        message = formats.json.Parse(text, formats.statement.Statement([], "", {}).pb)
        formats.statement.Statement.copy_from_pb(message).validate()
        if message.predicate_type != PREDICATE_TYPE:
            raise ConfigError(f"{source}: is about {message.predicate_type}; expected {PREDICATE_TYPE}")
        predicate = formats.json.ParseDict(
            formats.json.MessageToDict(message.predicate), formats.test_result.TestResult()
        )
        said = formats.json.MessageToDict(predicate)
        return Statement(
            tuple((subject.name, subject.digest["sha256"]) for subject in message.subject),
            Result(said.get("result")),
            {result: tests for result in Result if (tests := said.get(f"{result.value.lower()}Tests"))},
            said.get("configuration", []),
        )
    except (ValueError, formats.json.Error) as e:
        raise ConfigError(f"{source}: no statement about tests: {e}") from e


def result_of(record: RunRecord) -> Result:
    """Return the one word for a run; a run that was cut short, or in which no test passed, is ``FAILED``."""
    words = {_WORDS[test.outcome] for test in record.tests.values() if test.outcome in _WORDS}
    came_to_its_end = record.complete and record.exit_code in {ExitCode.PASSED, ExitCode.ONLY_WARNINGS}
    passed = any(test.outcome in {Outcome.PASSED, Outcome.FLAKY} for test in record.tests.values())
    if not came_to_its_end or not passed or Result.FAILED in words:
        return Result.FAILED
    return Result.WARNED if Result.WARNED in words else Result.PASSED


def deployment_digests(target: Target) -> list[str]:
    """Return the SHA-256 digests of what machines of a target had booted, whether they are of commits or of images."""
    return [one.removeprefix("sha256:") for one in target.deployments]


def statement_of(record: RunRecord, results_sha256: str) -> Statement:
    """Return what is asserted of a run.

    Args:
        record: of the run.
        results_sha256: digest of the file with the record.
    """
    tests: dict[Result, list[str]] = {}
    for nodeid, test in sorted(record.tests.items()):
        if test.outcome in _WORDS:
            tests.setdefault(_WORDS[test.outcome], []).append(nodeid)
    subjects = [(RESULTS, results_sha256)]
    for target in record.targets:
        subjects += [(DEPLOYMENT, digest) for digest in deployment_digests(target)]
        files = {target.image.artifact_sha256: ARTIFACT, target.image.sha256: DISK}
        subjects += [(name, digest) for digest, name in files.items() if digest]
    return Statement(
        tuple(dict.fromkeys(subjects)),
        result_of(record),
        tests,
        [part for target in record.targets for part in _configuration(record, target)],
    )


def _configuration(record: RunRecord, target: Target) -> list[dict[str, Any]]:
    image = target.image
    facts = {
        "kola": record.kola_version,
        "run": record.run_id,
        "suites": " ".join(record.suites),
        "shard": "" if record.shard is None else f"{record.shard.number} of {record.shard.total}",
        "stream": image.stream,
        "build": image.build_id,
        "version": image.version,
        "accelerator": target.accelerator,
    }
    parts = [{"name": target.name, "annotations": {key: value for key, value in facts.items() if value}}]
    if image.platform_id:
        parts.append({"name": image.platform_id, "annotations": {"image of": target.platform}})
    return parts


@dataclass(frozen=True)
class _Formats:
    """Modules of the libraries, all untyped."""

    json: Any
    test_result: Any
    statement: Any
    descriptor: Any


def _formats() -> _Formats:
    try:
        from google.protobuf import json_format  # noqa: PLC0415 - see kola.statement
        from in_toto_attestation.predicates.test_result.v0 import test_result_pb2  # noqa: PLC0415
        from in_toto_attestation.v1 import resource_descriptor, statement  # noqa: PLC0415
    except ImportError as e:
        raise ConfigError(_MISSING.format(e.name)) from e
    return _Formats(json_format, test_result_pb2, statement, resource_descriptor)
