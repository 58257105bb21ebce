"""The HTTP server, by real connections; faults in test_httpd_faults.py."""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO

import pytest

from kola.errors import ConfigError, WaitTimeout
from kola.httpd import HttpServer
from kola.httpmessage import Reply, Request, byte_range
from kola.tls import Authority

DATA = bytes(range(256)) * 1000


@pytest.fixture
def server() -> Iterator[HttpServer]:
    before = threading.active_count()
    with HttpServer("10.0.2.2") as running:
        yield running
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", running.port), 5)


def ask(
    server: HttpServer, path: str, method: str = "GET", body: object = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=named)  # type: ignore[arg-type]
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_the_url_is_known_before_anything_is_served_and_is_the_guests(server: HttpServer) -> None:
    assert server.url("/a/b?c=d") == f"http://10.0.2.2:{server.port}/a/b?c=d"
    assert server.local_url() == f"http://127.0.0.1:{server.port}"
    with pytest.raises(ConfigError, match="must begin with /"):
        server.url("a")


def test_bytes_with_all_that_a_client_wants_to_know(server: HttpServer) -> None:
    server.add("/x/config.json", b"{}")
    response, body = ask(server, "/x/config.json")
    assert (response.status, body) == (200, b"{}")
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Content-Length"] == "2"
    assert response.headers["Accept-Ranges"] == "bytes"
    assert abs(parsedate_to_datetime(response.headers["Last-Modified"]).timestamp() - time.time()) < 60
    tag = response.headers["ETag"]
    assert tag[0] == tag[-1] == '"'
    assert ask(server, "/x/config.json", If_None_Match=f'"other", W/{tag}')[0].status == 304
    assert ask(server, "/x/config.json", If_None_Match='"other"')[0].status == 200
    server.add("/x/config.json", b"[]", "text/x-mine")
    response, body = ask(server, "/x/config.json", If_None_Match=tag)
    assert (response.status, body, response.headers["Content-Type"]) == (200, b"[]", "text/x-mine")
    server.remove("/x/config.json")
    assert ask(server, "/x/config.json")[0].status == 404


def test_head_is_get_without_the_body(server: HttpServer) -> None:
    server.add("/x", DATA)
    response, body = ask(server, "/x", "HEAD")
    assert (response.status, body, response.headers["Content-Length"]) == (200, b"", str(len(DATA)))
    assert response.headers["ETag"] == ask(server, "/x")[0].headers["ETag"]


def test_many_requests_on_one_connection(server: HttpServer) -> None:
    server.add("/x", DATA)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    sockets = set()
    for method, path in [("GET", "/x"), ("HEAD", "/x"), ("GET", "/none"), ("POST", "/x"), ("GET", "/x")]:
        connection.request(method, path, body=b"12345" if method == "POST" else None)
        connection.getresponse().read()
        sockets.add(connection.sock)
    connection.close()
    assert len(sockets) == 1


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=10-", (10, 100)),
        ("bytes=10-500", (10, 100)),
        ("bytes=-5", (95, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=5-4", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=-", None),
        ("", None),
    ],
)
def test_ranges(header: str, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=200-300", "bytes=-0"])
def test_ranges_of_nothing(header: str) -> None:
    with pytest.raises(ValueError, match="bytes"):
        byte_range(header, 100)


def test_a_download_is_resumed(server: HttpServer, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(DATA)
    server.mount("/files", tmp_path)
    whole, _ = ask(server, "/files/big")
    response, body = ask(server, "/files/big", Range="bytes=1000-1999", If_Range=whole.headers["ETag"])
    assert (response.status, body) == (206, DATA[1000:2000])
    assert response.headers["Content-Range"] == f"bytes 1000-1999/{len(DATA)}"
    assert response.headers["Content-Length"] == "1000"
    response, body = ask(server, "/files/big", Range=f"bytes={len(DATA)}-")
    assert (response.status, body) == (416, b"")
    assert response.headers["Content-Range"] == f"bytes */{len(DATA)}"
    (tmp_path / "big").write_bytes(DATA[::-1] + b"!")
    response, body = ask(server, "/files/big", Range="bytes=1000-1999", If_Range=whole.headers["ETag"])
    assert (response.status, body) == (200, DATA[::-1] + b"!")


def test_a_folder_and_nothing_outside_it(server: HttpServer, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub dir").mkdir(parents=True)
    (root / "sub dir" / "ä.txt").write_text("inside")
    (root / "link").symlink_to("sub dir/ä.txt")
    (root / "way-out").symlink_to(tmp_path)
    (tmp_path / "secret").write_text("not yours")
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root-2" / "secret").write_text("not yours")
    server.mount("/m/", root)
    assert ask(server, "/m/sub%20dir/%C3%A4.txt")[1] == b"inside"
    assert ask(server, "/m/link")[1] == b"inside"
    for path in [
        "/m", "/m/", "/m/sub%20dir", "/m/none", "/m/../secret", "/m/%2e%2e/secret", "/m/sub%20dir/../../secret",
        "/m/..%2fsecret", "/m/way-out/secret", "/m/../root-2/secret", f"/m/{tmp_path}/secret", "/m/a%00b",
        "/m/" + "a" * 5000, "/m-2/secret", "/secret", "/",
    ]:  # fmt: skip
        response, body = ask(server, path)
        assert response.status == 404, path
        assert b"yours" not in body
    with pytest.raises(ConfigError, match="no such folder"):
        server.mount("/n", root / "none")


def test_the_longest_prefix_wins(server: HttpServer, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("of the folder")
    server.mount("/", tmp_path)
    server.add("/b", b"of its own")
    server.add("/file", tmp_path / "a")
    assert ask(server, "/a")[1] == b"of the folder"
    assert ask(server, "/b")[1] == b"of its own"
    assert ask(server, "/file")[1] == b"of the folder"
    (tmp_path / "a").unlink()
    assert ask(server, "/file")[0].status == 404


def test_content_is_for_reading(server: HttpServer) -> None:
    server.add("/x", b"1")
    response, _ = ask(server, "/x", "PUT", b"2")
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    assert ask(server, "/x", "BREW")[0].status == 501


def test_the_record(server: HttpServer) -> None:
    body = b"x" * 100_000
    ask(server, "/a%20b?stream=stable&empty=&d=%2F", "POST", body, X_Mine="1")
    (request,) = server.requests("/a*", "POST")
    assert request.path == "/a b"
    assert request.target == "/a%20b?stream=stable&empty=&d=%2F"
    assert request.query == {"stream": "stable", "empty": "", "d": "/"}
    assert request.headers["x-mine"] == "1"
    assert request.body == body[:65536]
    assert abs(request.time - time.time()) < 60
    assert server.requests("/other") == server.requests(method="GET") == []


def test_waiting_for_a_request(server: HttpServer) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.wait_for_request, "/x", count=2, timeout=20)
        ask(server, "/x?n=1")
        ask(server, "/y")
        ask(server, "/x?n=2")
        assert waiting.result().query == {"n": "2"}
    with pytest.raises(WaitTimeout, match="request 3 of"):
        server.wait_for_request("/x", count=3, timeout=0.2)


def test_a_handler_gets_the_whole_body_however_it_is_sent(server: HttpServer) -> None:
    def echo(request: Request, body: IO[bytes]) -> Reply:
        return Reply(201, body.read()[::-1], {"X-Path": request.path})

    server.route("/echo", echo)
    response, body = ask(server, "/echo/deep", "PUT", DATA)
    assert (response.status, response.headers["X-Path"], body) == (201, "/echo/deep", DATA[::-1])
    chunks = iter([DATA[:1], DATA[1:100_000], DATA[100_000:]])
    assert ask(server, "/echo", "PATCH", chunks)[1] == DATA[::-1]
    assert ask(server, "/echo", "POST", io.BytesIO(b"ab"), Content_Length="2")[1] == b"ba"
    for length in ("x", "-1"):
        assert ask(server, "/echo", "POST", Content_Length=length)[0].status == 400


def test_a_handler_that_fails_fails_the_test() -> None:
    def fail(_request: Request, _body: IO[bytes]) -> Reply:
        raise KeyError("oops")

    def use() -> None:
        with HttpServer() as server:
            server.route("/", fail)
            response, body = ask(server, "/x")
            assert (response.status, body) == (500, b"KeyError: 'oops'\n")

    with pytest.raises(KeyError, match="oops"):
        use()


def test_a_reply_that_cannot_be_sent_fails_the_test() -> None:
    def use() -> None:
        with HttpServer() as server:
            server.route("/", lambda _request, _body: Reply(200, Path("/nowhere/file")))
            with pytest.raises(http.client.RemoteDisconnected):
                ask(server, "/x")

    with pytest.raises(FileNotFoundError, match="/nowhere/file"):
        use()


def test_a_client_that_goes_away_fails_nothing(server: HttpServer) -> None:
    server.add("/x", bytes(50_000_000))
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port), 5) as client:
            client.sendall(b"GET /x HTTP/1.1\r\n\r\n")
            client.recv(1)
    with socket.create_connection(("127.0.0.1", server.port), 5) as client:
        client.sendall(b"POST /x HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc")
    with socket.create_connection(("127.0.0.1", server.port), 5) as client:
        client.sendall(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
    assert ask(server, "/x", Range="bytes=0-9")[1] == bytes(10)


def test_many_clients_at_once(server: HttpServer, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(DATA)
    server.mount("/", tmp_path)
    with ThreadPoolExecutor(20) as pool:
        bodies = list(pool.map(lambda n: ask(server, f"/big?n={n}")[1], range(100)))
    assert set(bodies) == {DATA}
    assert {request.query["n"] for request in server.requests()} == {str(n) for n in range(100)}


def test_clients_that_stay_keep_nobody_waiting_at_the_end() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    idle, half, unread = socket.socket(), socket.socket(), socket.socket()
    began = time.monotonic()
    with HttpServer() as server:
        server.add("/x", bytes(50_000_000))
        for client in (idle, half, unread):
            client.connect(("127.0.0.1", server.port))
        half.sendall(b"POST /x HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc")
        unread.sendall(b"GET /x HTTP/1.1\r\n\r\n")
        unread.recv(1)
    assert time.monotonic() - began < 5
    for client in (idle, half, unread):
        client.close()
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


def fetch(server: HttpServer, context: ssl.SSLContext) -> bytes:
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=20, context=context)
    connection.request("GET", "/x")
    try:
        return connection.getresponse().read()
    finally:
        connection.close()


def test_tls_is_trusted_by_who_trusts_the_authority_and_nobody_else() -> None:
    with HttpServer("10.0.2.2", authority=(authority := Authority())) as server:
        assert server.url("/x") == f"https://10.0.2.2:{server.port}/x"
        server.add("/x", DATA)
        trusting = ssl.create_default_context(cadata=authority.pem)
        assert fetch(server, trusting) == DATA
        raw = socket.create_connection(("127.0.0.1", server.port), 20)
        with trusting.wrap_socket(raw, server_hostname="10.0.2.2") as checked:  # what the guest checks
            assert ("IP Address", "10.0.2.2") in checked.getpeercert()["subjectAltName"]  # type: ignore[index]
        for stranger in (ssl.create_default_context(), ssl.create_default_context(cadata=Authority().pem)):
            raw = socket.create_connection(("127.0.0.1", server.port), 20)
            with raw, pytest.raises(ssl.SSLCertVerificationError):
                stranger.wrap_socket(raw, server_hostname="10.0.2.2")
        raw = socket.create_connection(("127.0.0.1", server.port), 20)
        with raw, pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
            trusting.wrap_socket(raw, server_hostname="10.0.2.3")
        mute = socket.create_connection(("127.0.0.1", server.port), 20)
        assert fetch(server, trusting) == DATA
    mute.close()
