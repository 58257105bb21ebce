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
    TOO_FEW = "too-few"
    BOOT_TIME = "boot-time"
    TEST_TIME = "test-time"
    IMAGE_SIZE = "image-size"
    METADATA = "metadata"
    PARENT = "parent"
    GRAPH_NODE = "graph-node"
    GRAPH_EDGES = "graph-edges"


_AGAIN = "run the job again: rm -r RESULTS/JOB, then kola matrix run --output RESULTS --job JOB"
_LOOK = "look at the test in the report (kola report RESULTS -o report.html); if others wait for the repair, waive it"
_WAIT = "the next builds bring results to compare with; until then waive it"
_SLOWER = "compare with the build before in the report (kola report RESULTS --history DIR); if that is meant, waive it"
_GRAPH = "mend the update graph's metadata of the stream, and ask again with the graph as it is served then"
NEXT = {
    Code.MISSING: "run the job: kola matrix run --output RESULTS --job JOB",
    Code.UNTESTED: "run the required cells of that architecture; nobody can answer for all of them",
    Code.UNREADABLE: _AGAIN,
    Code.UNSIGNED: "run the job with --sign-key; results that nobody signed prove nothing",
    Code.SIGNATURE: f"find out who wrote them, and if --key and the policy's keys are the right ones; else {_AGAIN}",
    Code.DUPLICATE: "remove the folder that is too many",
    Code.MISPLACED: f"have the job's results in the folder of its name; else {_AGAIN}",
    Code.INCOMPLETE: f"look at RESULTS/jobs/JOB.log for why it ended; {_AGAIN}",
    Code.BUILD: f"ask about the build that was tested, or {_AGAIN}",
    Code.DIGEST: f"the job tested something else than this build: {_AGAIN}",
    Code.STALE: _AGAIN,
    Code.NO_TESTS: "look at RESULTS/jobs/JOB.log for why none ran",
    Code.FAILED: _LOOK,
    Code.PROVIDER_ERROR: f"the platform failed, not the build: {_AGAIN}",
    Code.NOT_RUN: f"look at RESULTS/jobs/JOB.log for why; {_AGAIN}",
    Code.WARNED: _LOOK,
    Code.FLAKY_BUDGET: _LOOK,
    Code.FLAKY_AGAIN: _LOOK,
    Code.SHRUNK: "have the tests run again; if they were removed on purpose, waive it until the next release",
    Code.NO_HISTORY: "put the results of the last release into HISTORY/STREAM/BUILD, or waive it",
    Code.TOO_FEW: _WAIT,
    Code.BOOT_TIME: _SLOWER,
    Code.TEST_TIME: _SLOWER,
    Code.IMAGE_SIZE: _SLOWER,
    Code.METADATA: "look at BUILDS/ID/ARCH/meta.json: the build may not be over, or --builds is another stream's",
    Code.PARENT: "build again on top of the last release; if it is released already, ask with --phase rollout",
    Code.GRAPH_NODE: _GRAPH,
    Code.GRAPH_EDGES: _GRAPH,
}
"""What to do about each. Capitals stand for what the question and the finding name."""

WAIVABLE = frozenset(
    {
        *(Code.MISSING, Code.INCOMPLETE, Code.NO_TESTS, Code.FAILED, Code.PROVIDER_ERROR, Code.NOT_RUN, Code.WARNED),
        *(Code.FLAKY_BUDGET, Code.FLAKY_AGAIN, Code.SHRUNK, Code.NO_HISTORY, Code.TOO_FEW),
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
