"""Whole logs in parts, and who gets them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from kola.httpd import HttpServer
from kola.httpmessage import Request as HttpRequest
from kola.report.gathering import Library
from kola.report.runs import combine
from kola.report.scrub import PLACEHOLDER
from kola.report.stores import open_store
from kola.report.viewing import LINES, PARTS, Desk, Part, part_after, part_before
from kola.results import read
from tests.unit.report.nightly import TARGETS, Nightly

LOG = b"".join(b"line %d\n" % number for number in range(2000))


def numbers(part: Part) -> list[int]:
    return [int(text.split()[-1]) for _, text in part.lines]


def test_all_parts_in_a_row_are_the_file() -> None:
    file, at, seen = io.BytesIO(LOG), 0, list[int]()
    while at < len(LOG):
        part = part_after(file, at)
        assert part.start == at
        assert len(part.lines) <= LINES
        seen += numbers(part)
        at = part.end
    assert seen == list(range(2000))


def test_backwards_too() -> None:
    file, at, seen = io.BytesIO(LOG), len(LOG), list[int]()
    while at:
        part = part_before(file, at)
        assert part.end == at
        seen = numbers(part) + seen
        at = part.start
    assert seen == list(range(2000))


def test_in_the_middle_of_a_line_the_next_one_is_the_first() -> None:
    assert numbers(part_after(io.BytesIO(LOG), 7, most=2)) == [1, 2]
    assert numbers(part_after(io.BytesIO(LOG), 8, most=2)) == [2, 3]


def test_a_filter_finds_lines_and_goes_on_behind_them() -> None:
    part = part_after(io.BytesIO(LOG), 0, "LINE 19", most=100)
    assert numbers(part) == [19, *range(190, 200), *range(1900, 1989)]
    assert numbers(part_after(io.BytesIO(LOG), part.end, "line 19", most=100)) == list(range(1989, 2000))


@pytest.mark.parametrize("content", [b"", b"no end", b"\n\n"])
def test_odd_files(content: bytes) -> None:
    part = part_after(io.BytesIO(content), 0)
    assert (part.start, part.end, part.size) == (0, len(content), len(content))
    assert part_before(io.BytesIO(content), len(content)).lines == part.lines
    assert part_after(io.BytesIO(content), 99).lines == ()


KEY = [b"-----BEGIN PRIVATE KEY-----\n", *[b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n"] * 20, b"-----END PRIVATE KEY-----\n"]


@pytest.mark.parametrize("start", [0, 1200, 1300])
@pytest.mark.parametrize("find", ["", "miie"])
def test_a_key_is_hidden_wherever_a_part_begins(start: int, find: str) -> None:
    content = b"before\n" * 150 + b"".join(KEY) + b"after\n" * 5
    part = part_after(io.BytesIO(content), start, find)
    shown = [text for _, text in part.lines]
    assert "MIIE" not in "".join(shown)
    assert (PLACEHOLDER in shown) == (not find)
    assert ("after" in shown) == (not find)


def test_a_key_in_a_journal_is_hidden_however_long_its_entries_are() -> None:
    inside = [
        "-----BEGIN RSA PRIVATE KEY-----",
        *["MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" * 2] * 50,
        "-----END RSA PRIVATE KEY-----",
    ]
    entries = [json.dumps({"MESSAGE": line, "_CMDLINE": "x" * 1200}).encode() + b"\n" for line in inside]
    content = b"".join(entries)

    def message(line: str) -> str:
        return str(json.loads(line)["MESSAGE"])

    for part in (
        part_after(io.BytesIO(content), sum(map(len, entries[:40])), show=message),
        part_before(io.BytesIO(content), len(content), message, most=10),
    ):
        assert "MIIE" not in "".join(text for _, text in part.lines)
        assert "END RSA" in part.lines[-1][1]


def test_a_file_may_begin_in_the_middle_of_a_key() -> None:
    part = part_after(io.BytesIO(b"".join(KEY[5:]) + b"after\n"), 0)
    assert [text for _, text in part.lines[-2:]] == [f"{PLACEHOLDER} {KEY[-1].decode().strip()}", "after"]
    assert {text for _, text in part.lines[:-2]} == {PLACEHOLDER}


def test_a_carriage_return_ends_no_line() -> None:
    log = b"".join(b"10 %%\rline %d\n" % number for number in range(30))
    part = part_before(io.BytesIO(log), len(log) // 2, most=10)
    assert (part.lines[0][0], len(part.lines)) == (part.start, 10)


def test_a_line_is_fit_for_a_person() -> None:
    part = part_after(io.BytesIO(b"\x1b[31mred\x1b[0m\r\npassword=hunter2\n\xff\n" + b"x" * 10_000), 0)
    texts = [text for _, text in part.lines]
    assert texts[:3] == ["red", f"password={PLACEHOLDER}", "\ufffd"]
    assert len(texts[3]) == 4001


def test_a_secret_that_goes_on_behind_what_is_shown_is_none_of_it() -> None:
    secret = f"{'x' * 3900} https://user:{'hunter2' * 100}@example.com/ {'y' * 500_000}"
    ((_, text),) = part_after(io.BytesIO(secret.encode()), 0).lines
    assert "hunter2" not in text
    assert len(text) == 4001


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Nightly(tmp_path / "runs", lines=5).run(0, TARGETS[0], "basic")


class Client:
    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        try:
            with urlopen(Request(self.url + path, headers=headers)) as reply:  # noqa: S310 - this host's
                return reply.status, reply.read()
        except HTTPError as e:
            with e:
                return e.code, e.read()

    def parts(self, **query: object) -> tuple[int, bytes]:
        return self.get(f"/parts?{urlencode(query)}")


@pytest.fixture
def client(run: Path) -> Iterator[Client]:
    library = Library((open_store(str(run)),))
    runs, _ = combine(library.found(0)[0])
    with HttpServer() as server:
        server.route("/", Desk(runs, library, b"<p>page").answer)
        yield Client(server.local_url())


def test_the_page_the_viewer_and_nothing_else(client: Client) -> None:
    assert client.get("/") == (200, b"<p>page")
    status, viewer = client.get("/log")
    assert status == 200
    assert b"connect-src 'self'" in viewer
    assert client.get("/results.json")[0] == 404


def test_a_journal_is_rendered(client: Client, run: Path) -> None:
    folder = next((run / "machines").iterdir())
    status, body = client.parts(file=f"0/machines/{folder.name}/journal.jsonl")
    assert status == 200
    part = json.loads(body)
    assert part["size"] == (folder / "journal.jsonl").stat().st_size
    texts = [text for _, text in part["lines"]]
    assert any(": Linux version 6.17.8" in text for text in texts)
    assert not any(text.startswith("{") for text in texts)


@pytest.mark.parametrize(
    "file",
    [
        "", "0", "0/", "0/results.json", "0/machines/x/../../results.json", "0/machines/../results.json", "9/x", "x/y",
        "/etc/passwd", "0/../secret.txt",
    ],
)  # fmt: skip
def test_only_logs_of_the_runs_can_be_looked_at(client: Client, run: Path, file: str) -> None:
    (run.parent / "secret.txt").write_text("secret")
    assert client.parts(file=file) == (404, b"no such log in these runs\n")


def test_a_folder_of_a_machine_has_more_than_is_served(client: Client, run: Path) -> None:
    """Its Ignition config, and what a record calls an artifact of the run."""
    name = next((run / "machines").iterdir()).name
    for path in (f"machines/{name}/ignition.json", "progress.jsonl"):
        (run / path).write_text("{}\n")
        assert client.parts(file=f"0/{path}")[0] == 404
    assert client.parts(file=f"0/machines/{name}/console.txt")[0] == 200


@pytest.mark.parametrize("file", ["foo", "7", "-1", "console.txt", "/console.txt", "0/console.txt", "x/console.txt"])
def test_odd_records_and_odd_names_break_nothing(run: Path, file: str) -> None:
    record = read(run / "results.json")
    first, *rest = record.machines.values()
    odd = [replace(first, artifacts=""), *(replace(one, artifacts="..") for one in rest)]
    record = replace(record, machines={one.name: one for one in odd}, tests={}, artifacts=["foo", "console.txt"])
    record.write(run / "results.json")
    library = Library((open_store(str(run)),))
    found = library.found(0)[0]
    request = HttpRequest("GET", PARTS, {"file": file}, {"host": "127.0.0.1:80"}, b"", "", 0.0)
    assert Desk(combine(found)[0], library, b"").answer(request, io.BytesIO()).status == HTTPStatus.NOT_FOUND
    assert library.file(file) is None
    assert library.tail(file, 10) is None


def test_a_bad_place_is_refused(client: Client, run: Path) -> None:
    name = next((run / "machines").iterdir()).name
    assert client.parts(file=f"0/machines/{name}/console.txt", **{"from": "-1"})[0] == 400


def test_a_page_elsewhere_cannot_ask(client: Client) -> None:
    """Whose name was made to lead here (DNS rebinding)."""
    assert client.get("/", Host="evil.example:80")[0] == 403
    assert client.get("/", Host="localhost:80")[0] == 200
