"""The update server, asked by exactly the requests that Zincati sends."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kola.cincinnati import Release, Rollout
from kola.errors import ConfigError
from kola.faults import Outage
from kola.httpd import HttpServer
from kola.updates import UpdateServer
from tests.unit.test_httpd import ask
from tests.unit.zincati import RejectedError, Zincati

IMAGES = [f"quay.io/fedora/fedora-coreos@sha256:{n}{'0' * 63}" for n in range(3)]
OLD, DEAD, NEW = Release("1", "c1", IMAGES[0]), Release("2", "c2", IMAGES[1], deadend="why"), Release("3", "c3")


class Clock:
    """Time that stands still."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def updates(clock: Clock) -> Iterator[UpdateServer]:
    with HttpServer("10.0.2.2") as server:
        yield UpdateServer(server, clock)


def test_the_question_as_it_is_sent(updates: UpdateServer) -> None:
    updates.publish([OLD, Release("3", "c3", IMAGES[2], rollout=Rollout())])
    offered = Zincati(updates.server, IMAGES[0], oci=True, wariness=0.5, group="workers").next_update()
    assert offered is not None
    assert (offered.version, offered.payload) == ("3", IMAGES[2])
    (question,) = updates.questions()
    assert question == updates.wait_for_question()
    assert question.query == {
        "basearch": "x86_64", "stream": "stable", "platform": "qemu", "group": "workers", "oci": "true",
        "os_version": "42.20250901.3.0", "os_checksum": IMAGES[0], "rollout_wariness": "0.500000",
        "node_uuid": "e0f3745b108f471cbd4883c6fbed8cdd",
    }  # fmt: skip
    assert f"os_checksum=quay.io%2Ffedora%2Ffedora-coreos%40sha256%3A0{'0' * 63}" in question.target
    assert question.headers["accept"] == "application/json"
    assert updates.base_url == f"http://10.0.2.2:{updates.server.port}"


def test_an_update_by_commit_and_one_by_image(updates: UpdateServer) -> None:
    updates.publish([OLD, Release("2", "c2", IMAGES[1], Rollout())])
    by_commit, by_image = Zincati(updates.server, "c1"), Zincati(updates.server, IMAGES[0], oci=True)
    found = [agent.next_update() for agent in (by_commit, by_image)]
    assert [offered.payload for offered in found if offered] == ["c2", IMAGES[1]]
    assert Zincati(updates.server, "c2").next_update() is None
    assert Zincati(updates.server, "unknown").next_update() is None


def test_a_machine_goes_from_barrier_to_barrier(updates: UpdateServer) -> None:
    updates.publish([OLD, Release("2", "c2", barrier="keys"), Release("3", "c3", rollout=Rollout())])
    path, booted = [], "c1"
    while offered := Zincati(updates.server, booted).next_update():
        path.append(offered.version)
        booted = offered.payload
    assert path == ["2", "3"]


def test_a_dead_end_says_why_and_offers_nothing(updates: UpdateServer) -> None:
    updates.publish([OLD, DEAD, Release("3", "c3", rollout=Rollout())])
    assert Zincati(updates.server, "c2").next_update() is None
    assert Zincati(updates.server, "c2").deadend() == "why"
    assert Zincati(updates.server, "c1").deadend() is None


def test_a_rollout_reaches_the_wary_last(updates: UpdateServer, clock: Clock) -> None:
    updates.publish([OLD, Release("2", "c2", rollout=Rollout(0.0, start_epoch=1000, duration_minutes=10))])
    bold, wary = (Zincati(updates.server, "c1", wariness=wariness) for wariness in (0.1, 0.9))
    seen = []
    for now in (900, 1000, 1300, 1600):
        clock.now = now
        seen.append((bold.next_update() is not None, wary.next_update() is not None))
    assert seen == [(False, False), (False, False), (True, False), (True, True)]


def test_without_a_word_about_it_a_share_of_the_machines_gets_it(updates: UpdateServer) -> None:
    updates.publish([OLD, Release("2", "c2", rollout=Rollout(0.3))])
    machines = [Zincati(updates.server, "c1", node_uuid=f"{n:032x}") for n in range(200)]
    with ThreadPoolExecutor(8) as pool:
        first, second = ([*pool.map(lambda m: m.next_update() is not None, machines)] for _ in range(2))
    assert first == second
    assert 40 < sum(first) < 80


def test_what_is_published_can_be_replaced_and_withdrawn(updates: UpdateServer) -> None:
    agent = Zincati(updates.server, "c1")
    updates.publish([OLD])
    assert agent.next_update() is None
    updates.publish([OLD, Release("3", "c3", rollout=Rollout())])
    assert agent.next_update() is not None
    updates.publish([OLD, NEW])
    assert agent.next_update() is None
    updates.publish([])
    assert agent.fetch_graph() == ([], [])
    with pytest.raises(ConfigError, match="twice"):
        updates.publish([OLD, OLD])
    assert agent.fetch_graph() == ([], [])


def test_streams_are_apart(updates: UpdateServer) -> None:
    updates.publish([OLD, Release("3", "c3", rollout=Rollout())])
    updates.publish([OLD], stream="testing")
    assert Zincati(updates.server, "c1").next_update() is not None
    assert Zincati(updates.server, "c1", stream="testing").next_update() is None
    with pytest.raises(RejectedError) as caught:
        Zincati(updates.server, "c1", stream="next").next_update()
    assert caught.value.status == 400
    assert caught.value.kind == "invalid_scope"
    known = "basearch='x86_64' stream='stable', basearch='x86_64' stream='testing'"
    assert caught.value.value == f"basearch='x86_64' stream='next' was not published; published: {known}"


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("", "missing or empty: basearch, stream"),
        ("basearch=x86_64", "missing or empty: stream"),
        ("stream=stable", "missing or empty: basearch"),
        ("basearch=&stream=stable", "missing or empty: basearch"),
        ("basearch=x86_64&stream=", "missing or empty: stream"),
        ("basearch=s390x&stream=stable", "basearch='s390x' stream='stable' was not published"),
        ("basearch=x86_64&stream=stable&oci=1", "oci='1': expected true or false"),
    ],
)
def test_a_bad_question_is_answered_with_what_is_wrong(updates: UpdateServer, query: str, problem: str) -> None:
    updates.publish([OLD])
    response, body = ask(updates.server, f"/v1/graph?{query}")
    assert response.status == 400
    assert response.headers["Content-Type"] == "application/json"
    assert problem in body.decode()


def test_other_methods_and_paths(updates: UpdateServer) -> None:
    assert ask(updates.server, "/v1/graph", "POST", b"{}")[0].status == 405
    assert ask(updates.server, "/v2/graph")[0].status == 404


def test_an_outage_and_an_answer_that_is_no_graph(updates: UpdateServer) -> None:
    updates.publish([OLD])
    agent = Zincati(updates.server, "c1")
    with updates.server.fault(Outage(503)), pytest.raises(RejectedError, match="503 generic_http_503"):
        agent.next_update()
    assert agent.next_update() is None
    updates.server.add("/v1/graph", b"{}", "application/json")
    with pytest.raises(KeyError, match="nodes"):
        agent.next_update()
