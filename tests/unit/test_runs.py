import json
import os
import secrets
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kola.errors import ConfigError, PlatformError
from kola.process import ProcessId
from kola.runs import RunRecord, RunState, collect_run, list_runs, read_record, remove_scratch, write_record

DEAD = ProcessId(1, "another-boot:1")


def make_record(folder: Path, **values: object) -> RunRecord:
    record = RunRecord(
        run_id=secrets.token_hex(4),
        owner="tester",
        platform="nowhere",
        options={"text": "a", "number": 1, "flag": True},
        arch="x86_64",
        artifacts=folder / "output",
        scratch=folder / "scratch",
        cache=folder / "cache",
        controller=ProcessId.current(),
        reaper=DEAD,
        python_path=("/somewhere",),
        kept=("kola-1-a",),
        expires_at=12.5,
    )
    return replace(record, **values)  # type: ignore[arg-type]


def test_what_is_written_is_listed(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "cache") == []
    records = sorted((make_record(tmp_path), make_record(tmp_path, reaper=None)), key=lambda record: record.run_id)
    for record in records:
        write_record(record)
    assert list_runs(tmp_path / "cache") == records
    assert [path.suffix for path in (tmp_path / "cache/runs").iterdir()] == [".json"] * 2, "no drafts"


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        record = make_record(tmp_path)
        write_record(record)
    finally:
        os.umask(before)
    assert stat.S_IMODE(record.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(record.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"version": 1}', '{"version": 2}', "\x00\xff"])
def test_other_files_are_passed_over_and_named(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    record = make_record(tmp_path)
    write_record(record)
    stray = record.path.with_name("stray.json")
    stray.write_text(content)
    assert list_runs(tmp_path / "cache") == [record]
    assert str(stray) in caplog.text


def test_a_record_of_another_version_is_not_guessed_at(tmp_path: Path) -> None:
    record = make_record(tmp_path)
    write_record(record)
    record.path.write_text(json.dumps({**record.to_plain(), "version": 2}))
    assert read_record(record.path) is None


def test_who_looks_after_a_run(tmp_path: Path) -> None:
    here = ProcessId.current()
    table = {  # reaper, controller, over, kept -> state
        (here, here, False, ()): RunState.RUNNING,
        (here, DEAD, False, ()): RunState.RUNNING,
        (here, DEAD, True, ()): RunState.RUNNING,
        (here, here, False, ("m",)): RunState.RUNNING,
        (here, here, True, ("m",)): RunState.KEPT,
        (here, DEAD, True, ("m",)): RunState.KEPT,
        (DEAD, here, False, ()): RunState.RUNNING,
        (DEAD, here, True, ("m",)): RunState.ORPHANED,
        (DEAD, DEAD, False, ("m",)): RunState.ORPHANED,
        (None, DEAD, False, ()): RunState.ORPHANED,
    }
    for (reaper, controller, over, kept), state in table.items():
        record = make_record(tmp_path, reaper=reaper, controller=controller, over=over, kept=kept)
        assert record.state is state, (reaper, controller, over, kept)


def test_collecting_a_running_run_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    record = make_record(tmp_path)
    record.scratch.mkdir()
    write_record(record)
    with pytest.raises(ConfigError, match=f"run {record.run_id} is still running"):
        collect_run(record)
    assert record.scratch.exists()
    assert record.path.exists()


def test_a_platform_that_cannot_be_loaded_leaves_the_record(tmp_path: Path) -> None:
    record = make_record(tmp_path, controller=DEAD)
    write_record(record)
    with pytest.raises(ConfigError, match="unknown platform 'nowhere'"):
        collect_run(record)
    assert record.path.exists()


def test_removing_a_scratch_folder(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    (scratch / "a/b").mkdir(parents=True)
    (scratch / "a/b/file").write_text("x")
    (scratch / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").mkdir()
    remove_scratch(scratch)
    remove_scratch(scratch)
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]


def test_a_scratch_folder_that_cannot_be_removed_is_named(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    scratch = tmp_path / "scratch"
    scratch.symlink_to(outside)  # refused: it would be somebody else's folder
    with pytest.raises(PlatformError, match=f"cannot remove the scratch folder: {scratch}: .*symbolic link"):
        remove_scratch(scratch)
    assert outside.exists()


def test_loading_the_package_needs_no_driver() -> None:
    code = "import sys, kola.reaper; print([name for name in sys.modules if name in ('libvirt', 'pytest')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
