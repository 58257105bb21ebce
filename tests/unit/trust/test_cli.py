"""The command line: what is run, what is shown, the exit code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kola.results import ExitCode
from trust.cli import ROOT, main
from trust.faults import read_fault
from trust.observation import Failure, Observation
from trust.planning import Key, clean_key, key_of
from trust.running import Bench, Job
from trust.store import Record, Store

TEST = "basic/test_ssh.py::test_passwords_are_refused"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "faults").mkdir()
    for name in ("one", "two"):
        (tmp_path / f"faults/{name}.toml").write_text(
            f'title = "The {name}"\nwhy = "y"\nkind = "live"\nsuites = ["basic/test_ssh.py"]\nnames = ["passw"]\n'
            'green = ["basic/*", "!basic/test_ssh.py"]\napply = "true"\n'
        )
    return tmp_path


def trust(place: Path, *arguments: str) -> int:
    return main([f"--faults={place / 'faults'}", f"--output={place / 'out'}", *arguments])


def keep(place: Path, name: str, *failures: Failure, problem: str = "", key: Key | None = None) -> None:
    store = Store(place / "out")
    now = key_of(read_fault(place / f"faults/{name}.toml"), ROOT)
    seen = Observation(started=1.0, seconds=2.0, passed=("a", "b"), failures=failures, problem=problem)
    store.keep(store.fault(name), Record(key or now, seen))


CAUGHT = Failure(TEST, "offers a password\n", "offers", 12.4)


def test_what_is_done_is_not_run_again(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trust(place, "--dry-run") == ExitCode.PASSED
    assert "==> 2 to run" in capsys.readouterr().out
    keep(place, "one", CAUGHT)
    trust(place, "--dry-run")
    out = capsys.readouterr().out
    assert "two: basic/test_ssh.py, 18 tests of the smoke set\n==> 1 to run" in out
    keep(place, "two", problem="provider error: no room")
    trust(place, "--dry-run")
    assert "==> 1 to run" in capsys.readouterr().out, "that was no result"
    trust(place, "--dry-run", "--fault", "one")
    assert capsys.readouterr().out.startswith("one: "), "asked for by name"


def test_what_has_changed_is_run_again_unless_that_is_not_wanted(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(place, "one", CAUGHT, key=Key("other", "other"))
    keep(place, "two", CAUGHT)
    trust(place, "--dry-run")
    assert "==> 1 to run" in capsys.readouterr().out
    trust(place, "--dry-run", "--keep-stale")
    assert "==> 0 to run" in capsys.readouterr().out


def test_clean_runs_are_counted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(place / "out")
    seen = Observation(started=1.0, seconds=2.0, passed=("a",))
    store.keep(store.clean("", 1), Record(clean_key("", ROOT), seen))
    store.keep(store.clean("containers", 1), Record(clean_key("containers", ROOT), seen))
    trust(place, "--dry-run", "--clean", "3", "--clean-full", "2")
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "clean run 2 of the smoke set: 20 tests of the smoke set",
        "clean run 3 of the smoke set: 20 tests of the smoke set",
        *(f"clean run 1 of {name}: {name}" for name in ("basic", "ignition", "selinux", "upgrade")),
        *(f"clean run 2 of {name}: {name}" for name in ("basic", "containers", "ignition", "selinux", "upgrade")),
        "==> 11 to run",
    ]
    trust(place, "--report")
    assert "==> clean runs of containers: 1 (1 tests), no false alarm\n" in capsys.readouterr().out


def test_the_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(place, "one", CAUGHT, Failure("basic/test_users.py::test_groups", "no | group", "no", 20.0))
    assert trust(place, "--report") == ExitCode.PROVIDER_ERROR, "one was never run"
    out = capsys.readouterr().out
    assert "one    live  caught   right  12 s\n" in out
    assert f"    caught by: {TEST}, basic/test_users.py::test_groups\n" in out
    assert "    had to stay green: basic/test_users.py::test_groups\n" in out
    assert "two    live  not run\n" in out
    assert "==> now: 1 of 1 caught (100 %), 1 of them named right; no result: two\n" in out
    page = (place / "out/report.md").read_text()
    assert f"| one | live | caught | right | 12 s | {TEST}, basic/test_users.py::test_groups |" in page


def test_the_first_results_stay_on_the_page(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(place, "one")
    keep(place, "one", CAUGHT)
    keep(place, "two", Failure(TEST, "something else", "x", 3.0))
    assert trust(place, "--report") == ExitCode.FAILED
    out = capsys.readouterr().out
    assert "==> now: 2 of 2 caught (100 %), 1 of them named right\n" in out
    assert "==> first results: 1 of 2 caught (50 %), 0 of them named right; missed: one\n" in out
    keep(place, "two", CAUGHT)
    assert trust(place, "--report") == ExitCode.PROVIDER_ERROR, "whether it was a false alarm is not known"
    assert "==> no clean run of these tests: which of them fail for nothing is not known\n" in capsys.readouterr().out
    store, seen = Store(place / "out"), Observation(started=1.0, seconds=2.0, passed=("a",))
    store.keep(store.clean("", 1), Record(clean_key("", ROOT), replace(seen, problem="no room")))
    assert trust(place, "--report") == ExitCode.PROVIDER_ERROR
    store.keep(store.clean("", 1), Record(clean_key("", ROOT), seen))
    assert trust(place, "--report") == ExitCode.PASSED
    assert "no clean run" not in capsys.readouterr().out.rpartition("fault  kind")[2]


def test_a_first_result_of_another_definition_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(place, "one", CAUGHT, key=Key("other", "of other tests"))
    now = key_of(read_fault(place / "faults/two.toml"), ROOT)
    keep(place, "two", CAUGHT, key=Key(now.fault, "of other tests"))
    trust(place, "--report")
    firsts = next(line for line in capsys.readouterr().out.splitlines() if "first results" in line)
    assert firsts.endswith("; defined otherwise then: one")


def test_a_false_alarm_is_on_the_page_and_catches_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(place, "one", CAUGHT)
    keep(place, "two", CAUGHT, Failure("basic/test_users.py::test_groups", "passwd", "x", 3.0))
    store = Store(place / "out")
    alarm = Observation(started=1.0, seconds=2.0, passed=("a", "b"), failures=(CAUGHT,))
    store.keep(store.clean("", 1), Record(clean_key("", ROOT), alarm))
    store.keep(store.clean("", 2), Record(Key("", "of other tests"), replace(alarm, failures=())))
    assert trust(place, "--report") == ExitCode.FAILED
    out = capsys.readouterr().out
    assert f"==> clean runs of the smoke set: 1 (3 tests), run 1: {TEST}; 1 before a change\n" in out
    assert "one    live  missed\n" in out
    assert f"    note: failed in a clean run, too: {TEST}\n" in out


def test_a_false_alarm_stays_until_a_clean_run_of_now(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another test of the suite was changed: that proves nothing about this one."""
    keep(place, "one", CAUGHT)
    keep(place, "two", CAUGHT)
    store, key = Store(place / "out"), clean_key("basic", ROOT)
    alarm = Observation(started=1.0, seconds=2.0, passed=("a", "b"), failures=(CAUGHT,))
    store.keep(store.clean("basic", 1), Record(Key("", "of other tests"), alarm))
    store.keep(store.clean("", 1), Record(clean_key("", ROOT), replace(alarm, failures=())))
    line = f"==> clean runs of basic: 0 (0 tests), nothing known; 1 before a change, still counted: run 1: {TEST}\n"
    assert trust(place, "--report") == ExitCode.FAILED
    out = capsys.readouterr().out
    assert "one    live  missed\n" in out
    assert line in out
    store.keep(store.clean("basic", 2), Record(key, replace(alarm, failures=(), problem="no room")))
    assert trust(place, "--report") == ExitCode.FAILED, "that one says nothing"
    assert "1 without a result; 1 before a change, still counted: run 1" in capsys.readouterr().out
    store.keep(store.clean("basic", 2), Record(key, replace(alarm, failures=())))
    assert trust(place, "--report") == ExitCode.PASSED
    assert "basic: 1 (2 tests), no false alarm; 1 before a change\n" in capsys.readouterr().out


def test_another_image_has_live_faults_only_and_a_folder_of_its_own(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trust.running.Bench.command", lambda *_: ["true"])
    variant = place / "faults/three"
    variant.mkdir()
    (variant / "fault.toml").write_text(
        'title = "x"\nwhy = "y"\nkind = "image"\nsuites = ["basic/test_ssh.py"]\nnames = ["x"]\n'
    )
    (variant / "variant.toml").write_text('description = "x"\n')
    trust(place, "--dry-run")
    assert "==> 3 to run" in capsys.readouterr().out
    trust(place, "--image", "other.qcow2")
    assert "three" not in capsys.readouterr().out
    assert trust(place, "--fault", "one") == ExitCode.USAGE_ERROR
    assert "has results of {'image': 'other.qcow2'" in capsys.readouterr().err


def test_what_was_before_a_change_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(place, "one", CAUGHT, key=Key("other", "other"))
    trust(place, "--report")
    assert "    note: before a change\n" in capsys.readouterr().out


def test_the_list(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(place, "one", CAUGHT)
    assert trust(place, "--list") == ExitCode.PASSED
    lines = [line.split(maxsplit=3) for line in capsys.readouterr().out.splitlines()]
    assert lines == [["one", "live", "caught", "The one"], ["two", "live", "not", "run              The two"]]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--fault", "three"], "ERROR: --fault three: there is none; known: one, two\n"),
        (["--faults", "there-is-none"], "ERROR: there-is-none: no such folder\n"),
    ],
)
def test_a_wrong_word(place: Path, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert trust(place, *arguments) == ExitCode.USAGE_ERROR
    assert capsys.readouterr().err == problem


@pytest.mark.parametrize("number", ["0", "-1", "x", "²"])
def test_a_wrong_number(place: Path, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        trust(place, "--clean", number)
    assert caught.value.code == 4
    assert "expected a number, 1 or more" in capsys.readouterr().err


def test_jobs_run_beside_each_other(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits_for_the_other(_bench: Bench, job: Job) -> list[str]:
        other = job.folder.parent / {"one": "two", "two": "one"}[job.name] / "began"
        script = f"touch {job.folder}/began; for _ in {{1..300}}; do [ -e {other} ] && exit; sleep 0.1; done; exit 1"
        return ["bash", "-c", script]

    monkeypatch.setattr("trust.running.Bench.command", waits_for_the_other)
    assert trust(place, "--jobs", "2") == ExitCode.PROVIDER_ERROR
    out = capsys.readouterr().out
    assert "==> 1/2 one: The one\n" in out
    assert "==> 2/2 two: The two\n" in out
    assert out.count("pytest ended with 0 and left no record") >= 2, "each saw the other running"
