"""Running pytest with the plugin in a process of its own, on real machines, and looking at what is left after it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from kola.arch import host_arch
from kola.platform import Prepared
from kola.ssh import Connection
from platforms.qemu.driver import Qemu
from platforms.qemu.options import Options
from tests.integration.local_machine import LocalGuest, local_guest
from tests.integration.local_sshd import LocalSshd, connect, local_sshd
from tests.integration.qemu_guests import HALT, context_in, image_of, make_disk

ROOT = Path(__file__).parent.parent.parent
TESTOS = Path(os.environ.get("KOLA_CACHE") or Path.home() / ".cache/kola") / "testos/x86_64/image.json"

needs_testos = pytest.mark.skipif(not TESTOS.exists(), reason="the test OS is not built (ci/testos/build)")


def heed_signals() -> None:
    """Undo what a background job (SIGINT) and nohup (SIGHUP) make all processes below them ignore."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


@dataclass
class InnerRun:
    """A pytest process with the plugin: started in its own folder, with its own output folder."""

    folder: Path
    process: subprocess.Popen[str]
    began: float = field(default_factory=time.monotonic)

    @property
    def log(self) -> Path:
        return self.folder / "pytest.log"

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def results(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.folder / "kola-runs/latest/results.json").read_text())
        return data

    @property
    def tests(self) -> dict[str, dict[str, Any]]:
        return {test["nodeid"].rpartition("::")[2]: test for test in self.results["tests"]}

    @property
    def run_id(self) -> str:
        return str(self.results["run_id"])

    def wait(self, timeout: float = 600) -> int:
        return self.process.wait(timeout)

    def section(self, name: str) -> str:
        """Return what pytest printed of one test's failure."""
        begin = self.output.index(f" {name} __")
        end = self.output.find("\n____", begin + 1)
        return self.output[begin : end if end > 0 else None]


@pytest.fixture
def kola_pytest(tmp_path: Path) -> Iterator[Callable[..., InnerRun]]:
    """Start pytest in an empty folder: ``kola_pytest("--image=testos", FILE, files={"test_x.py": "..."})``."""
    started: list[InnerRun] = []

    def start(*arguments: str | Path, files: dict[str, str] | None = None, platform: str = "qemu") -> InnerRun:
        for name, text in (files or {}).items():
            (tmp_path / name).write_text(text)
        if not (tmp_path / "pytest.ini").exists():
            (tmp_path / "pytest.ini").write_text("[pytest]\nkola_image = testos\n")
        command: list[str | Path] = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", tmp_path]
        command += [f"--platform={platform}"] if platform else []
        with (tmp_path / "pytest.log").open("w") as log:
            process = subprocess.Popen(
                [*command, "-c", tmp_path / "pytest.ini", *arguments],
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tests/integration", "COLUMNS": "160"},
                start_new_session=True,
                preexec_fn=heed_signals,  # noqa: PLW1509 - no threads here
            )
        started.append(InnerRun(tmp_path, process))
        return started[-1]

    yield start
    for run in started:
        if run.process.poll() is None:
            run.process.send_signal(signal.SIGINT)
            run.wait(60)


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of its own: the test OS is there, no saved machine, and nothing is known of earlier runs."""
    return cache_with_testos(tmp_path_factory.mktemp("cache"))  # not where pytest collects tests


def cache_with_testos(folder: Path) -> Path:
    """Make a folder such a cache."""
    common = Path(os.environ.get("KOLA_CACHE") or Path.home() / ".cache/kola")
    (folder / "testos").symlink_to(common / "testos")
    return folder


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSshd]:
    """An sshd on this host."""
    with local_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def connection(sshd: LocalSshd) -> Iterator[Connection]:
    """A connection to it."""
    opened = connect(sshd)
    yield opened
    opened.close()
    assert not opened.alive


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[LocalGuest]:
    """A machine that is this host, with an sshd of its own."""
    with local_guest(tmp_path) as made:
        yield made


def left_behind(run_id: str) -> list[str]:
    """Return what of a run is still there: processes that carry its id, and scratch folders."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if run_id in line and process.info["pid"] != os.getpid():
            found.append(f"{process.info['pid']}: {line[:200]}")
    return found + [str(path) for path in Path("/tmp").glob(f"kola-{run_id}*")]


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder with a short path, as libvirt's sockets need it."""
    with tempfile.TemporaryDirectory(prefix="kq-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def qemu(folder: Path) -> Iterator[Qemu]:
    """One for all tests: libvirt's embedded driver is one a process."""
    with contextlib.closing(Qemu(Options(), host_arch(), context_in(folder))) as one:
        yield one


@pytest.fixture(scope="session")
def idle(qemu: Qemu, folder: Path) -> Prepared:
    """A disk whose only sector halts the machine."""
    return qemu.prepare(image_of(make_disk(folder / "halt.img", HALT)))
