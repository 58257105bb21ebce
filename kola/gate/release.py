"""What a release needs beside results: metadata before it, the update graph before its rollout. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kola.cincinnati import AGE_INDEX, BARRIER, DEADEND, ROLLOUT, SCHEME, Release, Rollout, graph_of
from kola.errors import ConfigError
from kola.gate.findings import Code, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kola.cincinnati import Graph, Node
    from kola.gate.build import Build, StreamRelease


class Phase(enum.StrEnum):
    """What is asked."""

    RESULTS = "results"
    """Are the results good? Nothing else is looked at, but meta.json if it is given."""
    PRE_RELEASE = "pre-release"
    """May the build be released?"""
    ROLLOUT = "rollout"
    """It has been released: may its rollout start?"""


@dataclass(frozen=True)
class Metadata:
    """What is known of a build beside its results.

    Attributes:
        builds: architecture -> its meta.json.
        releases: of the stream, oldest first.
        graphs: name -> update graph, one or more for each architecture; a name begins with the architecture.
        wanted: whether there has to be a meta.json of the build whatever the phase: somebody said where they are.
    """

    builds: Mapping[str, Build] = field(default_factory=dict)
    releases: Sequence[StreamRelease] = ()
    graphs: Mapping[str, Graph] = field(default_factory=dict)
    wanted: bool = False


def check_phase(phase: Phase, stream: str, build_id: str, arches: Sequence[str], known: Metadata) -> Iterator[Finding]:
    """Yield what stands against that step.

    Args:
        phase: the step.
        stream: of the build.
        build_id: of the build.
        arches: that have to be released.
        known: the metadata.
    """
    if phase is Phase.RESULTS and not known.builds and not known.wanted:
        return
    for arch in arches:
        build = known.builds.get(arch)
        if build is None:
            yield Finding(Code.METADATA, arch, "there is no meta.json of the build")
            continue
        yield from (Finding(Code.METADATA, arch, text) for text in _metadata(build, stream, build_id))
        if phase is not Phase.RESULTS:
            yield from (Finding(Code.PARENT, arch, text) for text in _parent(phase, build, known.releases))
        if phase is Phase.ROLLOUT:
            yield from _graphs(build, known)


def _metadata(build: Build, stream: str, build_id: str) -> Iterator[str]:
    if build.build_id != build_id:
        yield f"meta.json is of build {build.build_id}, not of {build_id}"
    if build.stream != stream:
        yield f"meta.json is of stream {build.stream or 'unknown'}, not of {stream}"


def _parent(phase: Phase, build: Build, releases: Sequence[StreamRelease]) -> Iterator[str]:
    """Yield why a build does not follow the last release; after its own release that is the one before."""
    versions = [release.version for release in releases]
    if phase is Phase.PRE_RELEASE:
        if build.build_id in versions:
            yield "is among the releases of the stream already"
            return
        before = releases
    else:
        if not versions or versions[-1] != build.build_id:
            yield f"the last release is {versions[-1] if versions else 'unknown'}, not {build.build_id}"
            return
        if releases[-1].commits.get(build.arch) != build.commit:
            yield f"was released with commit {releases[-1].commits.get(build.arch, 'none')}, built as {build.commit}"
        before = releases[:-1]
    last = next((release for release in reversed(before) if build.arch in release.commits), None)
    if last is None:
        if build.parent_version:
            yield f"follows {build.parent_version}, but there is no release yet"
    elif build.parent_version != last.version:
        yield f"follows {build.parent_version or 'nothing'}; the last release is {last.version}"
    elif build.parent_commit != last.commits[build.arch]:
        yield f"follows commit {build.parent_commit or 'none'}; that of {last.version} is {last.commits[build.arch]}"


def _graphs(build: Build, known: Metadata) -> Iterator[Finding]:
    graphs = {name: graph for name, graph in known.graphs.items() if name.partition(" ")[0] == build.arch}
    if not graphs:
        yield Finding(Code.GRAPH_NODE, build.arch, "there is no update graph to look at")
    for name, graph in graphs.items():
        node = next((node for node in graph.nodes if node.version == build.build_id), None)
        if node is None:
            yield Finding(Code.GRAPH_NODE, name, f"the graph has no node {build.build_id}")
            continue
        yield from (Finding(Code.GRAPH_NODE, name, text) for text in _node(node, build))
        yield from (Finding(Code.GRAPH_NODE, name, text) for text in _earlier(graph, build, known.releases))
        yield from (Finding(Code.GRAPH_EDGES, name, text) for text in _edges(graph, build.build_id))


def _node(node: Node, build: Build) -> Iterator[str]:
    if DEADEND in node.metadata:
        yield "the node is a dead end"
    if node.metadata.get(SCHEME) == "oci":
        digest = node.payload.partition("@")[2]
        if not build.container_digest:
            yield "the graph offers a container image, and meta.json names none"
        elif digest != build.container_digest:
            yield f"the graph offers the container image {digest}, built as {build.container_digest}"
    elif node.payload != build.commit:
        yield f"the graph offers commit {node.payload}, built as {build.commit}"


def _earlier(graph: Graph, build: Build, releases: Sequence[StreamRelease]) -> Iterator[str]:
    """Yield which earlier releases the graph lacks: no machine of these would be updated."""
    nodes = {node.version: node for node in graph.nodes}
    if any(node.metadata.get(SCHEME) == "oci" for node in graph.nodes):  # the older ones had no container image
        if build.parent_version and build.parent_version not in nodes:
            yield f"the graph has no node {build.parent_version}, which the build follows"
        return
    for release in releases:
        commit = release.commits.get(build.arch)
        if commit is None or release.version == build.build_id:
            continue
        if release.version not in nodes:
            yield f"the graph has no node {release.version}, which was released"
        elif nodes[release.version].payload != commit:
            yield f"the graph offers {release.version} as {nodes[release.version].payload}, released as {commit}"


def _edges(graph: Graph, build_id: str) -> Iterator[str]:
    """Compare the updates to the build with those that the rules of the graph give it."""
    names = [node.version for node in graph.nodes]
    try:
        expected = graph_of([_release(node, build_id) for node in sorted(graph.nodes, key=_age)], oci=False)
    except ConfigError as e:
        yield f"the graph contradicts itself: {e}"
        return
    ordered = [node.version for node in expected.nodes]
    wanted = {ordered[edge.start] for edge in expected.edges if ordered[edge.end] == build_id}
    there = {names[edge.start] for edge in graph.edges if names[edge.end] == build_id}
    if not wanted and len(names) > 1:
        yield "no update leads to the build: all earlier releases are dead ends"
    if missing := [name for name in ordered if name in wanted - there]:
        yield f"no update from {', '.join(missing)}"
    if more := [name for name in ordered if name in there - wanted]:
        yield f"an update from {', '.join(more)}, which leaves out a barrier or leads away from a dead end"


def _age(node: Node) -> int:
    return int(node.metadata[AGE_INDEX])


def _release(node: Node, build_id: str) -> Release:
    data = node.metadata
    rolled_out = node.version == build_id or ROLLOUT in data
    return Release(
        node.version,
        checksum=node.payload,
        rollout=Rollout() if rolled_out else None,
        barrier="" if BARRIER in data else None,
        deadend="" if DEADEND in data else None,
    )
