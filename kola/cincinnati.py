"""The update graph that Fedora CoreOS machines follow: which release may go to which, by the rules of Fedora's server.

Format: https://coreos.github.io/zincati/development/cincinnati/protocol/. Rules: of coreos/fedora-coreos-cincinnati.
Pure: no clock, no network.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from kola.document import Document
from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCHEME = "org.fedoraproject.coreos.scheme"
AGE_INDEX = "org.fedoraproject.coreos.releases.age_index"
_UPDATES = "org.fedoraproject.coreos.updates"
BARRIER, BARRIER_REASON = f"{_UPDATES}.barrier", f"{_UPDATES}.barrier_reason"
DEADEND, DEADEND_REASON = f"{_UPDATES}.deadend", f"{_UPDATES}.deadend_reason"
ROLLOUT, DURATION = f"{_UPDATES}.rollout", f"{_UPDATES}.duration_minutes"
START_EPOCH, START_VALUE = f"{_UPDATES}.start_epoch", f"{_UPDATES}.start_value"

LEAST_WARINESS = 0.000001
"""Of a machine that does not say how wary it is; 0 is reserved for those that do."""


@dataclass(frozen=True)
class Rollout:
    """Offers a release to a growing part of the machines; by default to all at once.

    Attributes:
        start_percentage: part of the machines at the start: 0.25 is a quarter.
        start_epoch: when it starts, in seconds since the epoch; nobody gets it before.
        duration_minutes: after which all machines get it; None stays at the start's percentage.
    """

    start_percentage: float = 1.0
    start_epoch: int = 0
    duration_minutes: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start_percentage <= 1:
            raise ConfigError(f"rollout: start_percentage {self.start_percentage}; allowed: 0.0 to 1.0")
        if self.duration_minutes is not None and self.duration_minutes < 1:
            raise ConfigError(f"rollout: duration_minutes {self.duration_minutes}; at least 1, or None")

    def progress(self, now: float) -> float:
        """Return the part of the machines that may have it at that time: those at most so wary."""
        if now < self.start_epoch:
            return 0.0
        if self.duration_minutes is None:
            return self.start_percentage
        passed = (now - self.start_epoch) / (self.duration_minutes * 60)
        return min(1.0, self.start_percentage + (1.0 - self.start_percentage) * passed)


@dataclass(frozen=True)
class Release:
    """A release of a stream, as its metadata have it.

    Attributes:
        version: unique within the stream.
        checksum: of the OSTree commit; without it the release is not in the graph of commits.
        pullspec: ``NAME@sha256:DIGEST`` of the container image; without it the release is not in the graph of images.
        rollout: makes it a target of updates; None for releases that were rolled out once.
        barrier: why every update from before goes through this release (``""``: no reason given); None for no barrier.
        deadend: why no update leads away from it (``""``: no reason given); None where one may.
    """

    version: str
    checksum: str = ""
    pullspec: str = ""
    rollout: Rollout | None = None
    barrier: str | None = None
    deadend: str | None = None

    def __post_init__(self) -> None:
        if not self.version or not (self.checksum or self.pullspec):
            raise ConfigError(f"release '{self.version}': a version and a checksum or pullspec are needed")
        if self.pullspec and not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", self.pullspec):
            raise ConfigError(f"release '{self.version}': pullspec '{self.pullspec}'; expected NAME@sha256:DIGEST")


@dataclass(frozen=True)
class Node:
    """A release in a graph; ``rollout`` is kept beside its metadata, which are all text."""

    version: str
    payload: str
    metadata: Mapping[str, str]
    rollout: Rollout | None = field(default=None, compare=False)


class Edge(NamedTuple):
    """An update that is allowed, by the places of the two nodes; an array of two numbers in JSON."""

    start: int
    end: int


@dataclass(frozen=True)
class Graph:
    """Releases, oldest first, and the updates between them."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def throttled(self, wariness: float, now: float) -> Graph:
        """Return what a machine of that wariness, 0.0 to 1.0, is offered at that time."""
        rollouts = {index: node.rollout for index, node in enumerate(self.nodes) if node.rollout is not None}
        hidden = {index for index, rollout in rollouts.items() if wariness > rollout.progress(now)}
        return Graph(self.nodes, tuple(edge for edge in self.edges if edge.end not in hidden))

    def to_json(self) -> bytes:
        """Return what goes over the wire."""
        nodes = [{"version": n.version, "metadata": dict(n.metadata), "payload": n.payload} for n in self.nodes]
        return json.dumps({"nodes": nodes, "edges": self.edges}, indent=2).encode()


def parse_graph(text: bytes, source: str) -> Graph:
    """Read a graph as it goes over the wire; ``Node.rollout`` is not read back.

    Args:
        text: of the answer, or of a file with it.
        source: names it in messages.

    Raises:
        ConfigError: it is none.
    """
    document = Document.parse(text, source)
    nodes = tuple(_read_node(node) for node in document.need("nodes").items())
    edges = tuple(_read_edge(edge) for edge in document.need("edges").items())
    if any(not 0 <= end < len(nodes) for edge in edges for end in edge):
        raise ConfigError(f"{source}: no update graph: an edge of a node that is not there")
    return Graph(nodes, edges)


def _read_node(node: Document) -> Node:
    found = node.need("metadata")
    metadata = {key: str(value) for key, value in found.of(dict, "an object").value.items()}
    if not re.fullmatch(r"[0-9]{1,9}", found.text(AGE_INDEX)):
        raise ConfigError(
            f"{found.source}: {found.path}: {AGE_INDEX}: expected a number, found '{metadata[AGE_INDEX]}'"
        )
    return Node(node.text("version"), node.text("payload"), metadata)


def _read_edge(edge: Document) -> Edge:
    ends = [end.of(int, "the number of a node").value for end in edge.items()]
    if len(ends) != len(Edge._fields):
        raise ConfigError(f"{edge.source}: {edge.path}: expected two numbers of nodes")
    return Edge(*ends)


def graph_of(releases: Iterable[Release], *, oci: bool) -> Graph:
    """Return the graph of a stream.

    An update leads to each release that is rolled out and to each barrier, from all releases back to the barrier before
    it, that one included; none leads away from a dead end.

    Args:
        releases: oldest first.
        oci: the graph of container images instead of that of OSTree commits.

    Raises:
        ConfigError: a version is there twice.
    """
    listed = list(releases)
    if len({release.version for release in listed}) < len(listed):
        raise ConfigError(f"releases: a version is there twice: {', '.join(r.version for r in listed)}")
    # The age is the place among all releases of the stream, also those that are not in this graph.
    aged = [(age, r) for age, r in enumerate(listed) if (r.pullspec if oci else r.checksum)]
    edges, barrier = [], 0
    for end, (_, release) in enumerate(aged):
        if release.rollout is not None or release.barrier is not None:
            edges += [Edge(start, end) for start in range(barrier, end) if aged[start][1].deadend is None]
        if release.barrier is not None:
            barrier = end
    return Graph(tuple(_node(age, release, oci=oci) for age, release in aged), tuple(edges))


def _node(age: int, release: Release, *, oci: bool) -> Node:
    metadata = {AGE_INDEX: str(age), SCHEME: "oci" if oci else "checksum"}
    if release.deadend is not None:
        metadata |= {DEADEND: "true", DEADEND_REASON: release.deadend or "generic"}
    if release.barrier is not None:
        metadata |= {BARRIER: "true", BARRIER_REASON: release.barrier or "generic"}
    if (rollout := release.rollout) is not None:
        value = f"{rollout.start_percentage:.6f}".rstrip("0").rstrip(".")
        metadata |= {ROLLOUT: "true", START_EPOCH: str(rollout.start_epoch), START_VALUE: value}
        if rollout.duration_minutes is not None:
            metadata[DURATION] = str(rollout.duration_minutes)
    return Node(release.version, release.pullspec if oci else release.checksum, metadata, release.rollout)


def wariness_of(given: str, node_uuid: str) -> float:
    """Return how wary a machine is, 0.0 to 1.0: what it says, or what its identity makes of it, always the same.

    The share of machines below a wariness is that of Fedora's server; which machines these are is not, as that depends
    on its hash function.
    """
    try:
        said = float(given)
    except ValueError:
        share = int.from_bytes(hashlib.sha256(node_uuid.encode()).digest()[:8]) / 2**64
        return max(share, LEAST_WARINESS)
    return 0.0 if math.isnan(said) else min(max(said, 0.0), 1.0)
