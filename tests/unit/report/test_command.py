"""``kola report``."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote
from urllib.request import urlopen

import pytest

from kola.cli import main
from tests.unit.report.nightly import BROKEN_LABEL, TARGETS, Nightly, write_nightly


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Nightly(tmp_path / "runs", lines=3).run(0, TARGETS[0], "basic")


def test_it_writes_a_page_and_says_what_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = write_nightly(tmp_path / "nights", lines=3)
    page = tmp_path / "out" / "page.html"
    page.parent.mkdir()
    assert main(["report", str(last), "--history", str(tmp_path / "nights"), "-o", str(page)]) == 0
    assert re.fullmatch(rf"{page}: 12 runs, 13 cells, 5 problems, 0\.\d MB\n", capsys.readouterr().out)
    links = set(re.findall(r'href="(\.\./[^"]*)"', page.read_text()))
    assert len(links) > 10
    for link in links:
        assert (page.parent / unquote(link)).is_file()
    # Moved together, page and logs still belong together.
    shutil.move(tmp_path / "nights", tmp_path / "moved" / "nights")
    shutil.move(page.parent, tmp_path / "moved" / "out")
    assert all((tmp_path / "moved" / "out" / unquote(link)).is_file() for link in links)


def test_what_could_not_be_read_is_said(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs" / "old").mkdir()
    (tmp_path / "runs" / "old" / "results.json").write_text('{"schema": 1}')
    assert main(["report", str(run.parents[1]), "-o", str(tmp_path / "x.html")]) == 0
    assert "not read: " in capsys.readouterr().err
    assert "schema 1 is not known" in (tmp_path / "x.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}/none"], "{}/none: no such folder"),
        (["{}/empty"], "{}/empty: no results.json that can be read"),
        (["{}/bad"], "{}/bad: no results.json that can be read: {}/bad/results.json: not a whole JSON document: .*"),
        (["{}/empty", "--history-runs=-1"], "--history-runs -1: expected a number, 0 or more"),
        (["{}/empty", "--serve", "--port=70000"], r"--port 70000: expected 0 \(a free one\) to 65535"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "results.json").write_text("{")
    assert main(["report", *(argument.format(tmp_path) for argument in arguments)]) == 4
    assert re.fullmatch(f"ERROR: {message.replace('{}', str(tmp_path))}\n", capsys.readouterr().err)


def test_a_page_that_cannot_be_written_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(run), "-o", str(tmp_path / "no" / "x.html")]) == 4
    assert capsys.readouterr().err == f"ERROR: --output {tmp_path}/no/x.html: No such file or directory\n"


def test_it_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    run = Nightly(tmp_path / "runs", lines=3).run(0, TARGETS[0], "basic", {"test_dns": BROKEN_LABEL})
    # What runs in the background of a shell ignores Ctrl-C, and so would its child.
    heed = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{heed}; from kola.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "report", "--serve", str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split()[0]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        with urlopen(url) as reply:  # noqa: S310 - this host's
            page = reply.read().decode()
        assert 'href="/log#file=0%2Fmachines' in page
        port = url.rpartition(":")[2].rstrip("/")
        taken = subprocess.run([*command, "--port", port], capture_output=True, text=True, check=False)
        assert (taken.returncode, taken.stderr) == (4, f"ERROR: --port {port}: Address already in use\n")
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
    assert list(tmp_path.glob("*.html")) == []
