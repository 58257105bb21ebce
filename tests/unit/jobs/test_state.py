"""What is known of jobs, in memory, in their folder, and in front of a person."""

from __future__ import annotations

import io
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kola.cli import main
from kola.errors import ConfigError, PlatformError
from kola.filelock import FileLock
from kola.jobs import state
from kola.jobs.board import QUIET_SECONDS, Board, picture, table, totals
from kola.jobs.folder import Folder, Subject, locked
from kola.jobs.running import Runs, Share
from kola.jobs.state import JobState, Phase, duration, worst
from kola.matrix import Cell, Job, Platform, Runner, Stream, Suite
from kola.results import PRECEDENCE, ExitCode, Outcome, RunRecord, TestRecord
from kola.statement import load_signer, sign_results

JOB = Job(Cell(Stream("os", "testos"), Platform("qemu", "qemu"), "x86_64", Suite("basic", ("tests",))))
NAME = "os.qemu.x86_64.basic"
SUBJECT = Subject(JOB.arguments, "digest")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    with locked(tmp_path / "out", print) as made:
        pass
    return made


def record(*, complete: bool = True, code: int | None = 0, name: str = NAME) -> RunRecord:
    tests = {"a": TestRecord("a", Outcome.PASSED), "b": TestRecord("b", Outcome.NOT_RUN)}
    return RunRecord("id", "0", 1.0, tests=tests, finished=9.0, complete=complete, exit_code=code, name=name)


def put(folder: Folder, written: RunRecord, job: Job = JOB) -> None:
    (folder.path / job.name).mkdir(exist_ok=True)
    written.write(folder.path / job.name / "results.json")


# -- what is done ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 5, 77])
def test_a_verdict_on_the_same_subject_stands(folder: Folder, code: int) -> None:
    folder.begin(JOB, SUBJECT)
    put(folder, record(code=code))
    assert folder.done(JOB, SUBJECT) is None, "nobody knows how it ended"
    folder.end(JOB, SUBJECT, code)
    found = folder.done(JOB, SUBJECT)
    assert found is not None
    assert found.exit_code == code


@pytest.mark.parametrize(
    "written",
    [
        record(complete=False, code=1),
        record(complete=False, code=None),
        record(code=75),
        record(code=4),
        record(name="os.qemu.x86_64.other"),
        record(name=""),
    ],
    ids=["cut-short", "killed", "provider-error", "usage-error", "of-another-job", "of-no-job"],
)
def test_what_is_no_verdict_is_run_again(folder: Folder, written: RunRecord) -> None:
    folder.begin(JOB, SUBJECT)
    put(folder, written)
    folder.end(JOB, SUBJECT, written.exit_code or 0)
    assert folder.done(JOB, SUBJECT) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(SUBJECT, image="x"),
        replace(SUBJECT, from_image="x"),
        replace(SUBJECT, arguments=(*JOB.arguments, "-v")),
        replace(SUBJECT, kola="2"),
        replace(SUBJECT, suite="x"),
    ],
)
def test_another_subject_is_run_again(folder: Folder, other: Subject) -> None:
    folder.begin(JOB, SUBJECT)
    put(folder, record())
    folder.end(JOB, SUBJECT, 0)
    assert folder.done(JOB, SUBJECT) is not None
    assert folder.done(JOB, other) is None


def test_what_could_not_be_signed_is_run_again(folder: Folder, tmp_path: Path) -> None:
    """Its record is good, its pytest's exit code was not; nor is it done if nobody signed it and somebody should."""
    folder.begin(JOB, SUBJECT)
    put(folder, record())
    folder.end(JOB, SUBJECT, 1)
    assert folder.done(JOB, SUBJECT) is None
    folder.end(JOB, SUBJECT, 0)
    assert folder.done(JOB, SUBJECT) is not None
    assert folder.done(JOB, SUBJECT, signed=True) is None
    key = tmp_path / "key.pem"
    private = Ed25519PrivateKey.generate()
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    sign_results(folder.path / NAME, load_signer(str(key)))
    assert folder.done(JOB, SUBJECT, signed=True) is not None
    put(folder, replace(record(), run_id="other"))
    assert folder.done(JOB, SUBJECT, signed=True) is None


def test_what_is_too_old_is_run_again(folder: Folder) -> None:
    folder.begin(JOB, SUBJECT)
    put(folder, replace(record(), started=100.0, finished=200.0))
    folder.end(JOB, SUBJECT, 0)
    assert folder.done(JOB, SUBJECT, since=200.0) is not None
    assert folder.done(JOB, SUBJECT, since=200.5) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"arguments": 3}'])
def test_a_broken_note_is_none(folder: Folder, text: str) -> None:
    put(folder, record())
    (folder.path / "jobs" / f"{NAME}.json").write_text(text)
    assert folder.done(JOB, SUBJECT) is None


def test_old_results_are_gone_before_the_new_subject_is_noted(folder: Folder) -> None:
    """Killed between the two, the old results would be taken for the new image's."""
    folder.begin(JOB, SUBJECT)
    put(folder, record())
    folder.begin(JOB, replace(SUBJECT, image="new"))
    assert folder.done(JOB, replace(SUBJECT, image="new")) is None


def test_one_run_works_in_a_folder_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path, print):
        state.write(tmp_path, [])
        with pytest.raises(ConfigError, match=rf"'kola matrix run' works there already \(pid {os.getpid()}\)"):
            locked(tmp_path, print).__enter__()
    with locked(tmp_path, print):
        pass


def test_what_a_killed_run_left_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kola.jobs.keeper.MOST_SECONDS", -30)
    said: list[str] = []
    with FileLock(tmp_path / ".lock") as keeper:
        assert keeper.try_take()
        with pytest.raises(ConfigError, match="somebody else works there: timed out"):
            locked(tmp_path, said.append).__enter__()
    assert said == ["waiting for the jobs of a run that was killed to end"]


# -- states ----------------------------------------------------------------------------------------------------------


def test_the_worst_exit_code_is_the_first_in_the_table() -> None:
    assert worst([]) == ExitCode.PASSED
    for number, code in enumerate(PRECEDENCE):
        assert worst([*PRECEDENCE[number:], ExitCode.PASSED]) == code


def test_an_unknown_exit_code_is_an_internal_error() -> None:
    job = JobState("x")
    job.finish(137)
    assert (job.code, job.verdict, job.why) == (ExitCode.INTERNAL_ERROR, "internal error", "exit code 137")


def test_states_come_back_from_the_file(tmp_path: Path) -> None:
    done, running, waiting = JobState("done", required=False), JobState("running"), JobState("waiting")
    done.start()
    done.finish(1, "why")
    running.start()
    state.write(tmp_path, [done, running, waiting])
    assert state.read(tmp_path).jobs == (done, running, waiting)


def test_what_ran_when_its_process_was_killed_is_interrupted(tmp_path: Path) -> None:
    running = JobState("running")
    running.start()
    state.write(tmp_path, [running, JobState("waiting")])
    plain = json.loads((tmp_path / "matrix.json").read_text())
    plain["process"]["started"] = "another boot:1"
    (tmp_path / "matrix.json").write_text(json.dumps(plain))
    first, second = state.read(tmp_path).jobs
    assert (first.verdict, first.why) == ("interrupted", "its 'kola matrix run' is gone")
    assert second.phase is Phase.WAITING


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 1}', '{"schema": 1, "process": {}, "jobs": []}', '{"schema": 2}']
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "matrix.json").write_text(text)
    assert main(["matrix", "status", "--output", str(tmp_path)]) == 4
    assert capsys.readouterr().err.startswith(f"ERROR: {tmp_path / 'matrix.json'}: ")


def test_status_shows_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = JobState("done")
    done.finish(0)
    state.write(tmp_path, [done, JobState("later", required=False)])
    assert main(["matrix", "status", "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "done   passed",
        "later  waiting  informing",
        "",
        "2 jobs: 1 passed, 1 waiting",
        f"pid {os.getpid()} works on it",
    ]
    assert main(["matrix", "status", "--output", str(tmp_path), "--json"]) == 0
    assert [job["name"] for job in json.loads(capsys.readouterr().out)["jobs"]] == ["done", "later"]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3600, "1:00:00")])
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# -- what is shown ---------------------------------------------------------------------------------------------------


def running(name: str = NAME) -> JobState:
    made = JobState(name, limit=600)
    made.start()
    made.began = time.time() - 65
    made.counts = {"passed": 3, "failed": 1, "not-run": 6}
    return made


def test_what_runs_says_how_far_it_is() -> None:
    assert picture([running(), JobState("x")]) == [
        f"{NAME}: running, 4/10 tests, 1 failed, 1:05 of 10:00",
        "2 jobs: 1 running, 1 waiting",
    ]


class Terminal(io.StringIO):
    """One that says that it is."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_has_its_last_lines_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("LINES", "24")
    stream = Terminal()
    board = Board(stream, tmp_path / "log")
    board.show([running()])
    drawn = stream.getvalue()
    assert drawn.splitlines() == [f"{NAME}: running"[:29], "1 jobs: 1 running"]
    board.say("something")
    assert stream.getvalue() == f"{drawn}\x1b[2F\x1b[Jsomething\n"
    board.close()
    assert stream.getvalue().endswith("something\n")
    assert (tmp_path / "log").read_text().endswith(" something\n")


def test_no_terminal_gets_a_picture_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    board = Board(stream, tmp_path / "log")
    board.show([running()])
    assert stream.getvalue() == ""
    now = time.monotonic()
    monkeypatch.setattr("kola.wait.time.monotonic", lambda: now + QUIET_SECONDS)
    board.show([running()])
    assert "1 jobs: 1 running\n" in stream.getvalue()
    assert "1 jobs: 1 running\n" in (tmp_path / "log").read_text()


def test_a_table_has_a_line_for_each_whatever_a_log_says() -> None:
    bad = JobState("a")
    bad.finish(4, "\x1b[31mred\x1b[0m\nand more")
    assert table([bad, JobState("longer")]) == ["a       usage error  red and more", "longer  waiting"]
    assert totals([bad]) == "1 jobs: 1 usage error"


# -- how a job is run, and judged ------------------------------------------------------------------------------------


def words(share: Share, cell: Cell) -> list[str]:
    return share.command(Job(cell), "out")[2:]


def test_one_at_a_time_has_the_whole_host() -> None:
    assert words(Share(1, 8), JOB.cell) == [*JOB.command("out")]
    assert words(Share(1, 8), JOB.cell)[-2:] == ["-n", "auto"]


def test_several_share_it() -> None:
    assert words(Share(2, 8), JOB.cell)[-3:] == ["-n", "4", "--memory-budget=40%"]
    assert words(Share(8, 8), replace(JOB.cell, workers="3"))[-3:] == ["-n", "3", "--memory-budget=10%"]
    assert words(Share(1, 1), replace(JOB.cell, runner=Runner.REHEARSE))[:2] == ["kola", "rehearse"]


@pytest.mark.parametrize("jobs", ["0", "-1", "1000"])
def test_there_are_no_more_jobs_than_cores(tmp_path: Path, jobs: str, capsys: pytest.CaptureFixture[str]) -> None:
    own = Path(__file__).parents[3] / "ci/matrix.toml"
    assert main(["matrix", f"--matrix={own}", "run", f"--jobs={jobs}", "--output", str(tmp_path / "out")]) == 4
    assert f"--jobs {jobs}: this host has " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def judged(folder: Folder, code: int, written: RunRecord | None, said: str = "", **subject: Any) -> JobState:
    """Run a job whose program ends so, and leaves such a record."""
    if written is not None:
        put(folder, written)
        kept = (folder.path / NAME / "results.json").rename(folder.path / "kept.json")
        said = f"mv {kept} {folder.path / NAME}/results.json"
    script = f"{said or 'true'}; exit {code}"

    class Scripted(Share):
        def command(self, job: Job, output: str, more: tuple[str, ...] = ()) -> list[str]:  # noqa: ARG002
            return ["sh", "-c", script]

    def find(job: Job) -> Subject:
        if "error" in subject:
            raise subject["error"]
        return Subject(job.arguments, "digest")

    with locked(folder.path, print) as held:
        board = Board(io.StringIO(), folder.path / "matrix.log")
        runs = Runs([JOB], held, board, Scripted(1, 1), subject=find, environment={})
        code = runs.run()
    assert code == runs.states[NAME].code
    return runs.states[NAME]


@pytest.mark.parametrize("code", [0, 1, 5, 77, 75])
def test_a_job_has_the_verdict_of_its_record(folder: Folder, code: int) -> None:
    assert judged(folder, code, record(code=code)).code == code


@pytest.mark.parametrize(
    ("code", "written"),
    [(0, None), (1, None), (5, None), (0, record(complete=False, code=None)), (0, record(name="other"))],
)
def test_no_test_is_taken_for_passed_without_a_record(folder: Folder, code: int, written: RunRecord | None) -> None:
    job = judged(folder, code, written)
    assert job.code == ExitCode.INTERNAL_ERROR
    assert job.why == f"exit code {code} without a complete record: nothing in {folder.log_of(JOB)}"


def test_an_exit_code_that_is_none_of_the_table_is_no_verdict(folder: Folder) -> None:
    assert judged(folder, 143, record(code=0)).code == ExitCode.INTERNAL_ERROR


def test_the_shell_does_not_say_which_tests_run(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k nothing")
    job = judged(folder, 4, None, 'echo "ERROR: options:$PYTEST_ADDOPTS"')
    assert job.why == "ERROR: options:"


def test_how_it_ended_is_noted(folder: Folder) -> None:
    judged(folder, 1, record(code=0))
    assert json.loads((folder.path / "jobs" / f"{NAME}.json").read_text())["exit_code"] == 1
    assert folder.done(JOB, SUBJECT) is None


def test_a_record_that_is_worse_than_the_exit_code_counts(folder: Folder) -> None:
    assert judged(folder, 0, record(code=1)).code == ExitCode.FAILED


def test_a_usage_error_shows_what_is_wrong(folder: Folder) -> None:
    job = judged(folder, 4, None, "echo one; echo ERROR: no such image")
    assert (job.code, job.why) == (ExitCode.USAGE_ERROR, "ERROR: no such image")


@pytest.mark.parametrize(("error", "code"), [(ConfigError("no image"), 4), (PlatformError("no image"), 75)])
def test_a_job_without_an_image_is_not_begun(folder: Folder, error: Exception, code: int) -> None:
    job = judged(folder, 0, None, error=error)
    assert (job.code, job.why, job.began) == (code, "no image", 0.0)
    assert not folder.log_of(JOB).exists()
