"""Update graphs by the rules of Fedora's server."""

from __future__ import annotations

import json
from statistics import fmean

import pytest

from kola.cincinnati import Release, Rollout, graph_of, parse_graph, wariness_of
from kola.errors import ConfigError
from tests.unit.zincati import decode_graph

DIGEST = "sha256:" + "0" * 64


def edges(*releases: Release) -> list[tuple[str, str]]:
    graph = graph_of(releases, oci=False)
    return sorted((graph.nodes[start].version, graph.nodes[end].version) for start, end in graph.edges)


def plain(version: str) -> Release:
    return Release(version, f"commit-{version}")


def rolled(version: str, **kwargs: str) -> Release:
    return Release(version, f"commit-{version}", rollout=Rollout(), **kwargs)


def test_only_what_is_rolled_out_or_a_barrier_is_a_target() -> None:
    assert edges(plain("1"), plain("2"), plain("3")) == []
    assert edges(plain("1"), plain("2"), rolled("3")) == [("1", "3"), ("2", "3")]
    assert edges(rolled("1"), plain("2")) == []
    assert edges(plain("1"), rolled("2"), rolled("3")) == [("1", "2"), ("1", "3"), ("2", "3")]


def test_nobody_jumps_over_a_barrier() -> None:
    barrier = Release("3", "commit-3", barrier="keys")
    found = edges(plain("1"), plain("2"), barrier, plain("4"), rolled("5"))
    assert found == [("1", "3"), ("2", "3"), ("3", "5"), ("4", "5")]
    two = edges(plain("1"), Release("2", "c2", barrier=""), plain("3"), Release("4", "c4", barrier=""), rolled("5"))
    assert two == [("1", "2"), ("2", "4"), ("3", "4"), ("4", "5")]
    assert edges(plain("1"), rolled("2", barrier="x"), plain("3")) == [("1", "2")]


def test_nothing_leads_away_from_a_dead_end() -> None:
    dead = Release("2", "commit-2", deadend="https://example.com/why")
    assert edges(plain("1"), dead, rolled("3")) == [("1", "3")]
    assert edges(plain("1"), Release("2", "c2", deadend="", barrier=""), rolled("3")) == [("1", "2")]


NODE = {"version": "1", "payload": "c", "metadata": {"org.fedoraproject.coreos.releases.age_index": "0"}}


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ({}, "g.json: no 'nodes'; there is: nothing"),
        ({"nodes": {}, "edges": []}, "g.json: nodes: expected a list"),
        ({"nodes": [3], "edges": []}, "g.json: nodes[0]: expected an object"),
        ({"nodes": [{**NODE, "metadata": {}}]}, "g.json: nodes[0].metadata: no 'org.fedoraproject.coreos.releases.age"),
        ({"nodes": [{**NODE, "payload": 3}]}, "g.json: nodes[0].payload: expected a string"),
        ({"nodes": [NODE]}, "g.json: no 'edges'; there is: nodes"),
        ({"nodes": [NODE], "edges": [[0]]}, "g.json: edges[0]: expected two numbers of nodes"),
        ({"nodes": [NODE], "edges": [["0", 0]]}, "g.json: edges[0][0]: expected the number of a node"),
        ({"nodes": [NODE], "edges": [[0, 1]]}, "g.json: no update graph: an edge of a node that is not there"),
    ],
)
def test_what_is_no_graph_says_where(graph: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_graph(json.dumps(graph).encode(), "g.json")
    assert str(caught.value).startswith(message)


def test_the_two_graphs_hold_the_releases_that_they_can_name() -> None:
    image = f"quay.io/fedora/fedora-coreos@{DIGEST}"
    releases = [plain("1"), Release("2", "commit-2", image), Release("3", "", image, Rollout())]
    commits, images = graph_of(releases, oci=False), graph_of(releases, oci=True)
    assert [(node.version, node.payload) for node in commits.nodes] == [("1", "commit-1"), ("2", "commit-2")]
    assert [(node.version, node.payload) for node in images.nodes] == [("2", image), ("3", image)]
    age = "org.fedoraproject.coreos.releases.age_index"
    assert [node.metadata[age] for node in images.nodes] == ["1", "2"]
    assert {node.metadata["org.fedoraproject.coreos.scheme"] for node in commits.nodes} == {"checksum"}
    assert {node.metadata["org.fedoraproject.coreos.scheme"] for node in images.nodes} == {"oci"}
    assert images.edges == ((0, 1),)


def test_the_whole_of_what_goes_over_the_wire() -> None:
    releases = [
        Release("1", "c1", deadend="https://example.com/215"),
        Release("2", "c2", barrier=""),
        Release("3", "c3", rollout=Rollout(0.25, start_epoch=1567000000, duration_minutes=2880)),
        Release("4", "c4", rollout=Rollout()),
    ]
    body = graph_of(releases, oci=False).to_json()
    decode_graph(body)
    common = "org.fedoraproject.coreos."
    assert json.loads(body) == {
        "nodes": [
            {
                "version": "1",
                "payload": "c1",
                "metadata": {
                    f"{common}releases.age_index": "0",
                    f"{common}scheme": "checksum",
                    f"{common}updates.deadend": "true",
                    f"{common}updates.deadend_reason": "https://example.com/215",
                },
            },
            {
                "version": "2",
                "payload": "c2",
                "metadata": {
                    f"{common}releases.age_index": "1",
                    f"{common}scheme": "checksum",
                    f"{common}updates.barrier": "true",
                    f"{common}updates.barrier_reason": "generic",
                },
            },
            {
                "version": "3",
                "payload": "c3",
                "metadata": {
                    f"{common}releases.age_index": "2",
                    f"{common}scheme": "checksum",
                    f"{common}updates.rollout": "true",
                    f"{common}updates.start_epoch": "1567000000",
                    f"{common}updates.start_value": "0.25",
                    f"{common}updates.duration_minutes": "2880",
                },
            },
            {
                "version": "4",
                "payload": "c4",
                "metadata": {
                    f"{common}releases.age_index": "3",
                    f"{common}scheme": "checksum",
                    f"{common}updates.rollout": "true",
                    f"{common}updates.start_epoch": "0",
                    f"{common}updates.start_value": "1",
                },
            },
        ],
        "edges": [[1, 2], [1, 3], [2, 3]],
    }


@pytest.mark.parametrize(
    ("rollout", "now", "expected"),
    [
        (Rollout(), 0, 1.0),
        (Rollout(start_epoch=100), 99, 0.0),
        (Rollout(start_epoch=100), 100, 1.0),
        (Rollout(0.1, start_epoch=1000, duration_minutes=10), 999, 0.0),
        (Rollout(0.1, start_epoch=1000, duration_minutes=10), 1000, 0.1),
        (Rollout(0.1, start_epoch=1000, duration_minutes=10), 1300, 0.55),
        (Rollout(0.1, start_epoch=1000, duration_minutes=10), 1600, 1.0),
        (Rollout(0.1, start_epoch=1000, duration_minutes=10), 10**9, 1.0),
        (Rollout(0.3, start_epoch=1000), 10**9, 0.3),
        (Rollout(0.0), 10**9, 0.0),
    ],
)
def test_a_rollout_goes_on_evenly(rollout: Rollout, now: float, expected: float) -> None:
    assert rollout.progress(now) == pytest.approx(expected)


def test_who_is_warier_than_the_rollout_is_far_does_not_see_it() -> None:
    graph = graph_of([plain("1"), Release("2", "c2", barrier=""), Release("3", "c3", rollout=Rollout(0.5))], oci=False)
    for wariness, expected in [(0.0, 2), (0.5, 2), (0.500001, 1), (1.0, 1)]:
        throttled = graph.throttled(wariness, now=0)
        assert len(throttled.edges) == expected
        assert throttled.nodes == graph.nodes
    nobody = graph_of([plain("1"), Release("2", "c2", rollout=Rollout(0.0))], oci=False)
    assert nobody.throttled(0.0, now=0).edges == ((0, 1),)  # 0.0 is who wants everything at once
    assert nobody.throttled(wariness_of("", "x"), now=0).edges == ()


@pytest.mark.parametrize(
    ("given", "expected"),
    [("0.500000", 0.5), ("0.000000", 0.0), ("1.000000", 1.0), ("-3", 0.0), ("7", 1.0), ("nan", 0.0), ("inf", 1.0)],
)
def test_wariness_that_is_said(given: str, expected: float) -> None:
    assert wariness_of(given, "any") == expected


@pytest.mark.parametrize("given", ["", "very"])
def test_wariness_by_identity_is_even_and_always_the_same(given: str) -> None:
    found = [wariness_of(given, f"{n:032x}") for n in range(2000)]
    assert found == [wariness_of(given, f"{n:032x}") for n in range(2000)]
    assert all(0.0 < wariness <= 1.0 for wariness in found)
    assert fmean(found) == pytest.approx(0.5, abs=0.03)
    assert fmean(wariness < 0.1 for wariness in found) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Release("", "c"), "a version and a checksum or pullspec"),
        (lambda: Release("1"), "a version and a checksum or pullspec"),
        (lambda: Release("1", pullspec="quay.io/x:latest"), "expected NAME@sha256:DIGEST"),
        (lambda: Rollout(1.5), "allowed: 0.0 to 1.0"),
        (lambda: Rollout(duration_minutes=0), "at least 1"),
        (lambda: graph_of([Release("1", "a"), Release("1", "b")], oci=False), "twice: 1, 1"),
    ],
)
def test_mistakes_are_named(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]
