"""The hook for every new machine, and the plugin that breaks machines by it, on simulated ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kola.results import Outcome, RunRecord, read
from trust.observation import Context, given_machines, observe

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

@pytest.mark.kola(isolation="shared")
@pytest.mark.parametrize("number", [1, 2])
def test_shared(machine, number):
    assert machine.run("cat seen").stdout == "hook\\n"

@pytest.mark.kola(isolation="first_boot", machines=2)
def test_two(machines):
    assert [machine.run("cat seen").stdout for machine in machines] == ["hook\\n"] * 2

@pytest.mark.kola(isolation="fresh")
def test_launched(flight):
    assert flight.launch().run("cat seen").stdout == "hook\\n"
"""
HOOK = """
def pytest_kola_machine_up(machine):
    machine.run("echo hook >>seen")
"""
# The machines are folders of this host: what the plugin puts below /run goes into one of theirs.
ELSEWHERE = "import trust.kolafault\n\ntrust.kolafault.PLACE = 'kola-fault'\n"


def simulate(folder: Path, *arguments: str | Path, tests: str = TESTS, conftest: str = "") -> RunRecord:
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(tests)
    (folder / "conftest.py").write_text(conftest)
    image = folder / "image.raw"
    image.write_bytes(b"\0" * 510 + b"\x55\xaa")
    command: list[str | Path] = [
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-P", "boot=0.1"),
        *("--platform=tests.simulation.platform:Simulated", f"--image={image}", f"--kola-cache={folder / 'cache'}"),
        *(*arguments, "test_it.py"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    print(done.stdout, done.stderr)
    return read(folder / "kola-runs/latest/results.json")


def outcomes(record: RunRecord) -> dict[str, Outcome]:
    return {name.partition("::")[2]: test.outcome for name, test in record.tests.items()}


@pytest.mark.parametrize("workers", ["0", "2"])
def test_every_machine_is_told_of_once_before_its_first_test(tmp_path: Path, workers: str) -> None:
    record = simulate(tmp_path, "-n", workers, conftest=HOOK)
    names = ("test_shared[1]", "test_shared[2]", "test_two", "test_launched")
    assert outcomes(record) == dict.fromkeys(names, Outcome.PASSED)


def test_what_a_hook_raises_is_the_tests_error(tmp_path: Path) -> None:
    record = simulate(tmp_path, conftest="def pytest_kola_machine_up(machine):\n    assert machine.name == 'nobody'\n")
    assert set(outcomes(record).values()) == {Outcome.FAILED}


def fault(folder: Path, script: str) -> Path:
    (folder / "files").mkdir()
    (folder / "files/word").write_text("hook\n")
    file = folder / "wrong-word.toml"
    file.write_text(
        'title = "x"\nwhy = "y"\nkind = "live"\nsuites = ["a"]\nnames = ["b"]\nfiles = ["word"]\n'
        f"apply = '''\n{script}\n'''\n"
    )
    return file


def seen(folder: Path, record: RunRecord) -> Context:
    given = given_machines(folder / "kola-runs/latest")
    return Context(started=record.started, seconds=1, live_fault="wrong-word", given=given)


def test_a_fault_is_in_every_machine_and_on_record(tmp_path: Path) -> None:
    file = fault(tmp_path, "cat kola-fault/word >>seen")
    record = simulate(tmp_path, "-p", "trust.kolafault", "--kola-fault", file, conftest=ELSEWHERE)
    assert set(outcomes(record).values()) == {Outcome.PASSED}
    context = seen(tmp_path, record)
    assert len(context.given) == 4
    found = observe(record, context)
    assert (len(found.passed), found.problem, found.not_applied) == (4, "", False)


def test_a_fault_that_cannot_be_applied_is_never_a_failed_test(tmp_path: Path) -> None:
    """Every command of the script counts: the one that fails is not its last."""
    file = fault(tmp_path, "cat there-is-none\ntrue")
    record = simulate(tmp_path, "-p", "trust.kolafault", "--kola-fault", file, conftest=ELSEWHERE)
    assert set(outcomes(record).values()) == {Outcome.PROVIDER_ERROR}
    found = observe(record, seen(tmp_path, record))
    assert found.not_applied
    assert found.problem.startswith("fault wrong-word could not be applied: exit code 1: ")
    assert "there-is-none" in found.problem
    assert not found.failures


def test_a_run_without_the_plugin_proves_nothing(tmp_path: Path) -> None:
    record = simulate(tmp_path, conftest=HOOK)
    found = observe(record, seen(tmp_path, record))
    assert found.not_applied
    assert "machines without the fault: " in found.problem


def test_a_wrong_definition_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    file = tmp_path / "some.toml"
    file.write_text("title = 1\n")
    command = [sys.executable, "-m", "pytest", "-p", "trust.kolafault", f"--kola-fault={file}", "test_it.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert f"{file}: title = 1: expected a text" in done.stderr


def test_a_run_that_is_killed_while_it_ends_its_machines_is_not_complete(tmp_path: Path) -> None:
    conftest = (
        HOOK
        + """
import os

def pytest_sessionstart(session):
    machines = session.config.pluginmanager.getplugin("kola-machines")
    machines._stack.callback(os._exit, 9)  # called before anything else that ends with the session
"""
    )
    record = simulate(tmp_path, conftest=conftest)
    assert (record.complete, record.finished, record.exit_code) == (False, None, None)
