"""What can hold a release: the codes, in one table, and a finding of one of them. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kola.gate.waivers import Waiver


class Code(enum.StrEnum):
    """What is wrong."""

    MISSING = "missing"
    UNTESTED = "untested"
    UNREADABLE = "unreadable"
    UNSIGNED = "unsigned"
    SIGNATURE = "signature"
    DUPLICATE = "duplicate"
    MISPLACED = "misplaced"
    INCOMPLETE = "incomplete"
    BUILD = "build"
    DIGEST = "digest"
    STALE = "stale"
    NO_TESTS = "no-tests"
    FAILED = "failed"
    PROVIDER_ERROR = "provider-error"
    NOT_RUN = "not-run"
    WARNED = "warned"
    FLAKY_BUDGET = "flaky-budget"
    FLAKY_AGAIN = "flaky-again"
    SHRUNK = "shrunk"
    NO_HISTORY = "no-history"
    BOOT_TIME = "boot-time"
    TEST_TIME = "test-time"
    IMAGE_SIZE = "image-size"
    METADATA = "metadata"
    PARENT = "parent"
    GRAPH_NODE = "graph-node"
    GRAPH_EDGES = "graph-edges"


MEANING = {
    Code.MISSING: "there are no results of a job of a required cell",
    Code.UNTESTED: "of a whole architecture no required cell has results that can be believed, with a test that ran",
    Code.UNREADABLE: "results that are cut off, no record, of an unknown schema, or contradict themselves",
    Code.UNSIGNED: "there is no signed statement beside the results",
    Code.SIGNATURE: "the statement is not signed by known keys, or is about something else",
    Code.DUPLICATE: "the results of one run are there twice",
    Code.MISPLACED: "results are of another job than their folder says: name, suite, platform, architecture, share...",
    Code.INCOMPLETE: "the run did not come to its end, or shares do not fit together",
    Code.BUILD: "the results are of another build or stream",
    Code.DIGEST: "another image than the build's was booted, or another deployment, or nobody knows which",
    Code.STALE: "the results are older than allowed, or from the future",
    Code.NO_TESTS: "not one test ran",
    Code.FAILED: "a test failed",
    Code.PROVIDER_ERROR: "the platform failed: nothing is known of a test",
    Code.NOT_RUN: "a test was selected and did not run",
    Code.WARNED: "a test only warned, and the policy does not let that pass",
    Code.FLAKY_BUDGET: "more tests were flaky than the policy lets pass",
    Code.FLAKY_AGAIN: "a test was flaky in too many of the last builds",
    Code.SHRUNK: "tests that ran for the last promoted build did not run",
    Code.NO_HISTORY: "there is too little to compare with, and the policy wants it",
    Code.BOOT_TIME: "machines take longer to boot than before",
    Code.TEST_TIME: "a test takes longer than before",
    Code.IMAGE_SIZE: "an image is larger than before",
    Code.METADATA: "meta.json of the build is not there, or says another build, stream or digest",
    Code.PARENT: "the build does not follow the last release",
    Code.GRAPH_NODE: "the build is not in the update graph as it should be",
    Code.GRAPH_EDGES: "updates to the build are missing in the graph, or there are some that must not be",
}
"""For the documentation and for who reads a verdict."""

WAIVABLE = frozenset(
    {
        *(Code.MISSING, Code.INCOMPLETE, Code.NO_TESTS, Code.FAILED, Code.PROVIDER_ERROR, Code.NOT_RUN, Code.WARNED),
        *(Code.FLAKY_BUDGET, Code.FLAKY_AGAIN, Code.SHRUNK, Code.NO_HISTORY),
        *(Code.BOOT_TIME, Code.TEST_TIME, Code.IMAGE_SIZE),
    }
)
"""What a person may answer for. That results are genuine and of this build nobody can."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        code: what.
        subject: of what: a job or cell, ``CELL::NODEID``, an architecture... What a waiver's pattern is matched with.
        text: for people.
        required: False in a cell that only informs.
        waiver: lets it pass.
    """

    code: Code
    subject: str
    text: str
    required: bool = True
    waiver: Waiver | None = None

    @property
    def holds(self) -> bool:
        """Whether it holds the release."""
        return self.required and self.waiver is None

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.code}: {self.subject}: {self.text}"
