"""``kola spawn`` and kept machines as a person uses them: the printed line logs in, nothing stays but what is kept."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kola import ignition
from kola.results import ExitCode
from tests.integration.conftest import InnerRun, cache_with_testos, heed_signals, left_behind, needs_testos

pytestmark = [needs_testos, pytest.mark.slow]

KOLA = str(Path(sys.executable).with_name("kola"))
LOOK = "cat /etc/kola-own /etc/kola-added; systemctl show -P Environment systemd-logind.service"
SEEN = ["own", "added", "SYSTEMD_LOG_LEVEL=debug"]
FAILS = """
def test_it_fails(machine):
    machine.run("echo here >/tmp/mark")
    assert False
"""


class Spawn:
    """The command, with configs that leave something to look for; all of its machines are clones of the first one."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.cache = cache
        own = ignition.add_file(ignition.empty(), "/etc/kola-own", "own\n", mode=0o644)
        (folder / "own.ign").write_bytes(ignition.serialise(own))
        (folder / "added.bu").write_text(
            "variant: fcos\nversion: 1.4.0\nstorage:\n  files:\n"
            '    - {path: /etc/kola-added, mode: 0644, contents: {inline: "added\\n"}}\n'
        )

    def command(self, *arguments: str) -> list[str]:
        return [
            KOLA, "spawn", "--image", "testos", f"--kola-cache={self.cache}", "--ignition=own.ign",
            "--append-butane=added.bu", "--debug-systemd-unit=systemd-logind.service", *arguments,
        ]  # fmt: skip

    @contextlib.contextmanager
    def started(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """A process in a session of its own; it ends with the test, however that ends."""
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, cwd=self.folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True,
            start_new_session=True, preexec_fn=heed_signals,  # noqa: PLW1509 - no threads here
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.terminate()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=900,
        )  # fmt: skip

    @property
    def run_id(self) -> str:
        return (self.folder / "kola-runs/latest").readlink().name.rpartition("-")[2]


@pytest.fixture(scope="module")
def spawn(tmp_path_factory: pytest.TempPathFactory) -> Spawn:
    return Spawn(tmp_path_factory.mktemp("spawn"), cache_with_testos(tmp_path_factory.mktemp("cache")))


def log_in(line: str, command: str) -> list[str]:
    """Run a command by the line that was printed."""
    done = subprocess.run([*shlex.split(line), "--", command], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def expect_gone(cache: Path, run_id: str) -> None:
    """End what was kept of a run, and see that nothing of it is left."""
    command = [KOLA, "gc", "--run", run_id, f"--kola-cache={cache}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["  gone"]), done.stdout + done.stderr
    assert left_behind(run_id) == []


def test_a_command(spawn: Spawn) -> None:
    ran = spawn.run("--", LOOK)
    assert (ran.returncode, ran.stdout.splitlines()[1:]) == (0, SEEN), ran.stderr
    assert left_behind(spawn.run_id) == []
    assert spawn.run("--", "exit 3").returncode == 3


def test_a_shell(spawn: Spawn) -> None:
    with spawn.started("script", "-qec", shlex.join(spawn.command()), "/dev/null") as shell:
        out, _ = shell.communicate("cat /etc/kola-own; exit 4\n", timeout=900)
    assert shell.returncode == 4, out
    assert re.search(r"^(\x1b\S*)?own\r?$", out, re.MULTILINE), out
    assert left_behind(spawn.run_id) == []


def test_until_ctrl_c(spawn: Spawn) -> None:
    with spawn.started(*spawn.command("--wait")) as waiting:
        assert waiting.stdout is not None
        assert log_in(waiting.stdout.readline(), LOOK) == SEEN
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(120) == ExitCode.INTERRUPTED
    assert left_behind(spawn.run_id) == []


def test_kept(spawn: Spawn) -> None:
    kept = spawn.run("--keep")
    assert kept.returncode == 0, kept.stderr
    assert "it runs for 24 h, or until: kola gc" in kept.stderr
    assert log_in(kept.stdout, LOOK) == SEEN
    expect_gone(spawn.cache, spawn.run_id)


def test_a_failed_test_leaves_its_machine(kola_pytest: Callable[..., InnerRun], cache: Path) -> None:
    run = kola_pytest(f"--kola-cache={cache}", "--keep-machines=failed", files={"test_it.py": FAILS})
    assert run.wait(600) == 1, run.output
    (line,) = set(re.findall(r"ssh -\S.* core@\S+", run.output))
    assert log_in(line, "cat /tmp/mark") == ["here"]
    assert json.loads((run.folder / "kola-runs/latest/results.json").read_text())["counts"]["failed"] == 1
    expect_gone(cache, run.run_id)
