"""What is kept of a run, and what is gone on with after a stop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kola.errors import ConfigError
from trust.observation import Failure, Observation
from trust.planning import Key
from trust.store import RECORD, Record, Store

KEY = Key("fault", "suites")


def record(key: Key = KEY, *, problem: str = "", failed: str = "") -> Record:
    failures = (Failure(failed, "text", "reason", 1.5),) if failed else ()
    seen = Observation(started=1.0, seconds=2.0, passed=("a", "b"), failures=failures, problem=problem)
    return Record(key, seen)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "out")


def test_a_record_comes_back_as_it_was(store: Store) -> None:
    folder = store.fault("some")
    assert store.record(folder) is None
    store.keep(folder, record(failed="c"))
    assert store.record(folder) == record(failed="c")
    assert [path.name for path in folder.iterdir()] == [RECORD], "no draft is left"


def test_what_holds() -> None:
    assert record().holds(KEY)
    assert not record().holds(Key("fault", "others"))
    assert not record(problem="interrupted").holds(KEY), "it is run again"


def test_the_first_result_stays_for_ever(store: Store) -> None:
    folder = store.fault("some")
    store.keep(folder, record(problem="provider error"))
    assert store.first("some") is None, "that was no result"
    store.keep(folder, record())
    store.keep(folder, record(failed="c"))
    assert store.first("some") == record()
    assert store.record(folder) == record(failed="c")


def test_clean_runs(store: Store) -> None:
    store.keep(store.clean("", 1), record())
    store.keep(store.clean("", 10), record(failed="c"))
    store.keep(store.clean("basic", 2), record(failed="d"))
    assert [number for number, _ in store.cleans("")] == [1, 10]
    assert [number for number, _ in store.cleans("basic")] == [2]
    assert not (store.path / "first").exists(), "a clean run is no fault's"


def test_results_of_another_image_have_another_folder(store: Store) -> None:
    store.claim("testos", "qemu")
    store.claim("testos", "qemu")
    with pytest.raises(ConfigError, match=r"has results of .*testos.* for --image=testos --platform=aws give another"):
        store.claim("testos", "aws")


def test_the_first_result_is_never_behind_the_record(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two, the fault is not taken for done without a first result."""
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.keep(store.fault("some"), record())
    assert not (store.fault("some") / RECORD).exists()
    assert [path.name.startswith(".some.json") for path in (store.path / "first").iterdir()] == [True]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": {"colour": 1}}', '{"key": {"fault": "", "suites": ""}}'])
def test_what_is_no_record_is_said_to_be_none(store: Store, text: str) -> None:
    path = store.fault("some") / RECORD
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"record\.json: not the record of a fault"):
        store.record(store.fault("some"))


def test_half_a_record_is_never_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it is written: the one before is still there."""
    folder = store.fault("some")
    store.keep(folder, record())

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        store.keep(folder, record(failed="c"))
    assert store.record(folder) == record()


def test_one_at_a_time(store: Store) -> None:
    with store.lock(), pytest.raises(ConfigError, match="another ci/trust"):
        store.lock()
    with store.lock():
        pass


def test_a_record_is_readable(store: Store) -> None:
    store.keep(store.fault("some"), record(failed="c"))
    data = json.loads((store.fault("some") / RECORD).read_text())
    assert data["key"] == {"fault": "fault", "suites": "suites"}
    assert data["seen"]["failures"] == [{"test": "c", "text": "text", "reason": "reason", "seconds": 1.5}]
