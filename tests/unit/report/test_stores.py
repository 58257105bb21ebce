"""Runs in folders and in an S3-like store; the latter by moto's server, over HTTP."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from kola.errors import ConfigError
from kola.report.gathering import Library, Reader
from kola.report.model import report_of
from kola.report.runs import combine
from kola.report.stores import Store, open_store
from tests.unit.report.nightly import BUILDS, write_nightly

BUCKET = "kola-results"


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nights")
    write_nightly(folder, lines=3)
    return folder


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials as a user would have them; boto3 finds the endpoint where all its users name it."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def uploaded(endpoint: str, nights: Path) -> str:
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1"
    )
    client.create_bucket(Bucket=BUCKET)
    for file in sorted(nights.rglob("*")):
        if file.is_file():
            client.put_object(Bucket=BUCKET, Key=f"ci/{file.relative_to(nights)}", Body=file.read_bytes())
    client.put_object(Bucket=BUCKET, Key="ci/empty.txt", Body=b"")
    client.put_object(Bucket=BUCKET, Key="ci-other/results.json", Body=b"not ours")
    return f"s3://{BUCKET}/ci"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, nights: Path, s3: None, uploaded: str) -> Store:  # noqa: ARG001 - environment
    return open_store(str(nights) if request.param == "folder" else f"{uploaded}/")


def test_all_records_are_found_and_no_others(store: Store, nights: Path) -> None:
    there = {file.relative_to(nights).as_posix() for file in nights.rglob("results.json")}
    assert len(there) == 83
    found = store.records()
    assert set(found) == there
    assert len(found) == len(there)


def test_the_end_of_a_file(store: Store, nights: Path) -> None:
    key = next(nights.rglob("console.txt")).relative_to(nights).as_posix()
    data = (nights / key).read_bytes()
    assert store.tail(key, 10) == data[-10:]
    assert store.tail(key, 10**9) == data
    assert store.tail("no/such/file", 10) is None


@pytest.mark.usefixtures("s3")
def test_the_end_of_an_empty_file(uploaded: str) -> None:
    assert open_store(uploaded).tail("empty.txt", 10) == b""


@pytest.mark.usefixtures("s3")
def test_history_of_an_s3_store_is_that_of_the_folder(uploaded: str, nights: Path) -> None:
    """Since when, and the logs of the last good run, from the store alone."""
    reports = []
    for history in (uploaded, str(nights)):
        library = Library((open_store(str(nights / f"night-{BUILDS - 1}")),), (open_store(history),))
        found, unread = library.found(500)
        runs, notes = combine(found)
        assert (unread, notes) == ([], [])
        report = report_of(runs)
        reader = Reader(library)
        reports.append([(p.id, p.past.streak, reader.logs_of(p).good[0].excerpt) for p in report.problems if p.good])
        assert reader.unreadable == []
    assert reports[0] == reports[1]
    assert len(reports[0]) == 5


def test_of_a_long_history_the_newest_are_read(tmp_path: Path, nights: Path) -> None:
    for age, folder in enumerate(("new", "older", "oldest")):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "results.json"
        file.write_bytes(next(nights.rglob("results.json")).read_bytes())
        os.utime(file, (time.time() - age, time.time() - age))
    assert open_store(str(tmp_path)).records() == [f"{name}/results.json" for name in ("new", "older", "oldest")]
    found, _ = Library((), (open_store(str(tmp_path)),)).found(2)
    assert [one.folder for one in found] == ["0/new", "0/older"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, nights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read all: so it is the system call that says no."""
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_bytes(next(nights.rglob("results.json")).read_bytes())
    closed = str(tmp_path / "closed")

    def denied(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(path: Any, *arguments: Any, **more: Any) -> Any:
            if os.fspath(path).startswith(closed):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), closed)
            return call(path, *arguments, **more)

        return instead

    for name in ("scandir", "stat"):
        monkeypatch.setattr(os, name, denied(getattr(os, name)))
    found, notes = Library((open_store(str(tmp_path)),)).found(2)
    assert [one.folder for one in found] == ["0/open"]
    assert [note.text for note in notes] == [f"{closed}/results.json: Permission denied"]


@pytest.mark.parametrize("key", ["../secret.txt", "link/secret.txt", "/etc/passwd", "a" * 5000, "\0"])
def test_nothing_outside_a_folder_is_read(tmp_path: Path, key: str) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "inside" / "link").symlink_to(tmp_path)
    store = open_store(str(tmp_path / "inside"))
    assert store.tail(key, 10) is None
    assert store.file(key) is None


def test_a_latest_link_is_followed_where_it_is_named(tmp_path: Path, nights: Path) -> None:
    (tmp_path / "latest").symlink_to(nights)
    assert len(open_store(str(tmp_path / "latest")).records()) == 83
    assert open_store(str(tmp_path)).records() == []


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("no/such", "no/such: no such folder"),
        ("s3://", "s3://: names no bucket: s3://BUCKET/PREFIX"),
        ("s3://not-there/x", "s3://not-there/x: .*NoSuchBucket"),
    ],
)
def test_what_is_not_there_is_one_line(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_store(word).records()


def test_without_boto3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ConfigError, match=r"s3://b: needs the Python module 'boto3': pip install 'pytest-kola\[s3\]'"):
        open_store("s3://b")


@pytest.mark.usefixtures("s3")
def test_a_store_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="s3://b/x: Could not connect to the endpoint"):
        open_store("s3://b/x").records()
