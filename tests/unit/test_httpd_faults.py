"""What the server does wrong on demand, as a client meets it."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from typing import IO

import pytest

from kola.errors import ConfigError
from kola.faults import Corrupted, Outage, Slow, Truncated
from kola.httpd import HttpServer
from kola.httpmessage import Reply, Request
from tests.unit.test_httpd import ask

DATA = bytes(range(250)) * 40


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as running:
        running.add("/x", DATA)
        running.add("/y/z", DATA)
        yield running


def test_an_outage_and_its_end_on_the_same_port(server: HttpServer) -> None:
    url = server.url("/x")
    outage = server.fault(Outage())
    for _ in range(3):
        with pytest.raises(http.client.RemoteDisconnected):
            ask(server, "/x")
    with pytest.raises(http.client.RemoteDisconnected):
        ask(server, "/x", "HEAD")
    outage.clear()
    assert ask(server, "/x")[1] == DATA
    assert server.url("/x") == url
    assert outage.hits == 4
    assert len(server.requests("/x")) == 5


def test_an_outage_with_a_status_of_some_paths(server: HttpServer) -> None:
    with server.fault(Outage(503), "/y/*"):
        response, body = ask(server, "/y/z")
        assert (response.status, body) == (503, b"an outage, made by the test\n")
        assert ask(server, "/x")[1] == DATA
    assert ask(server, "/y/z")[1] == DATA


def test_an_outage_keeps_handlers_from_acting(server: HttpServer) -> None:
    calls = []

    def act(request: Request, _body: IO[bytes]) -> Reply:
        calls.append(request)
        return Reply(204)

    server.route("/act", act)
    with server.fault(Outage(500)):
        assert ask(server, "/act", "POST", b"x" * 1_000_000)[0].status == 500
    assert not calls
    ask(server, "/act", "POST", b"x")
    assert len(calls) == 1


def test_only_the_first_requests(server: HttpServer) -> None:
    fault = server.fault(Outage(502), "/x", first=2)
    assert [ask(server, path)[0].status for path in ("/x", "/y/z", "/x", "/x")] == [502, 200, 502, 200]
    assert fault.hits == 2


def test_a_truncated_reply_declares_all_and_ends_early(server: HttpServer) -> None:
    with server.fault(Truncated(1000)):
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(server, "/x")
        assert caught.value.partial == DATA[:1000]
        assert caught.value.expected == len(DATA) - 1000
        # Its rest can be fetched, again a thousand bytes of it.
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(server, "/x", Range="bytes=1000-")
        assert caught.value.partial == DATA[1000:2000]
        assert ask(server, "/x", Range="bytes=0-999")[1] == DATA[:1000]
    with server.fault(Truncated()), pytest.raises(http.client.IncompleteRead) as caught:
        ask(server, "/x")
    assert caught.value.partial == DATA[: len(DATA) // 2]
    assert ask(server, "/x")[1] == DATA


@pytest.mark.parametrize(("fault", "first", "count"), [(Corrupted(), len(DATA) // 2, 1), (Corrupted(10, 3), 10, 3)])
def test_corrupted_bytes_are_the_same_ones_however_they_are_fetched(
    server: HttpServer, fault: Corrupted, first: int, count: int
) -> None:
    spoilt = bytes(b ^ 0xFF if first <= i < first + count else b for i, b in enumerate(DATA))
    with server.fault(fault):
        response, whole = ask(server, "/x")
        assert whole == spoilt != DATA
        assert response.headers["Content-Length"] == str(len(DATA))
        assert ask(server, "/x", Range=f"bytes={first - 1}-{first + 1}")[1] == spoilt[first - 1 : first + 2]
        assert ask(server, "/x", Range=f"bytes={first + count}-")[1] == DATA[first + count :]
    assert ask(server, "/x")[1] == DATA


def test_corruption_across_the_pieces_that_are_sent(server: HttpServer) -> None:
    big = bytes(200_000)
    server.add("/big", big)
    with server.fault(Corrupted(65_000, 100_000)):
        assert ask(server, "/big")[1] == bytes(65_000) + b"\xff" * 100_000 + bytes(35_000)


def test_a_slow_reply_takes_as_long_as_it_should(server: HttpServer) -> None:
    with server.fault(Slow(20_000), "/x"):
        began = time.monotonic()
        assert ask(server, "/x")[1] == DATA
        assert 0.4 < time.monotonic() - began < 5
        began = time.monotonic()
        assert ask(server, "/y/z")[1] == DATA
        assert time.monotonic() - began < 0.4


def test_a_slow_reply_does_not_hold_up_the_end() -> None:
    with HttpServer() as server:
        server.add("/x", DATA)
        server.fault(Slow(1))
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", "/x")
        response = connection.getresponse()
        began = time.monotonic()
    assert time.monotonic() - began < 3
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    connection.close()


def test_faults_of_different_kinds_add_up_and_of_one_kind_the_last_counts(server: HttpServer) -> None:
    server.fault(Truncated(500))
    server.fault(Truncated(100))
    server.fault(Corrupted(0))
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(server, "/x")
    assert caught.value.partial == b"\xff" + DATA[1:100]


@pytest.mark.parametrize(
    "make",
    [lambda: Outage(200), lambda: Slow(0), lambda: Truncated(-1), lambda: Corrupted(-1), lambda: Corrupted(0, 0)],
)
def test_faults_that_make_no_sense(make: object) -> None:
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]


def test_a_fault_of_no_request(server: HttpServer) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        server.fault(Outage(), first=0)
