"""The commands of ``kola`` that boot nothing."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kola.cli import COMMANDS, main

SAMPLE = Path(__file__).parents[1] / "sample"
KOLA = str(Path(sys.executable).with_name("kola"))
OOPS = "[    5.123456] BUG: unable to handle page fault for address: 0000000000001000\n[    5.2] Oops: 0000 [#1] SMP\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"kola {command}" in capsys.readouterr().out


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "-E", str(SAMPLE), "--tag", "mine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "PLATFORMS", "ARCHITECTURES", "DISTROS", "TAGS", "DESCRIPTION"]
    assert [line.split()[0] for line in lines[1:]] == [
        "ext.sample.folder", "ext.sample.stanzas.inline", "ext.sample.stanzas.yaml",
    ]  # fmt: skip
    assert "mine other  YAML in a block." in lines[-1]


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json", "-E", str(SAMPLE), "--test", "ext.sample.chosen.other-*"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["ext.sample.chosen.other-platform"]["platforms"] == ["aws", "gcp"]
    assert rows["ext.sample.chosen.other-architecture"]["architectures"] == ["!x86_64", "!aarch64"]
    assert rows["ext.sample.chosen.other-distro"]["distros"] == ["fcos"]


def test_list_of_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marker = "@pytest.mark.kola(tags=['a'], isolation='shared')"
    (tmp_path / "test_it.py").write_text(f"import pytest\n{marker}\ndef test_one(machine):\n    '''It works.'''\n")
    assert main(["list", "--json", str(tmp_path)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["tags"], row["isolation"], row["description"], row["external"]) == (["a"], "shared", "It works.", False)


def test_list_of_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "-E", "/nowhere"]) == 4
    assert "ERROR: -E /nowhere: no such file or folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--nope"], "ERROR: unrecognized arguments: --nope\n"),
        (["--tag"], "ERROR: argument --tag: expected one argument\n"),
        (["/nowhere"], "ERROR: file or directory not found: /nowhere\n"),
        (["--tag", "!"], "ERROR: --tag '!': expected one word, or '!' and one word\n"),
    ],
)
def test_list_wrongly(arguments: list[str], says: str) -> None:
    """In a process of its own, as a user runs it: pytest and kola are imported in another order there."""
    done = subprocess.run([KOLA, "list", *arguments], cwd=SAMPLE, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (4, "", says.strip())


def test_list_from_elsewhere(tmp_path: Path) -> None:
    project = shutil.copytree(SAMPLE, tmp_path / "project")
    command = [KOLA, "list", "-E", str(project), "--tag", "mine"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 4


def test_list_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "no tests here; give a path, or a project with -E\n"


@pytest.mark.parametrize("arguments", [["--tag", "reboot"], ["-k", "nothing"]])
def test_list_of_nothing_that_was_asked_for(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "-E", str(SAMPLE), *arguments]) == 0
    assert re.fullmatch(r"none of \d+ tests is chosen by these arguments\n", capsys.readouterr().err)


def test_check_console(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, good = tmp_path / "bad.txt", tmp_path / "good.txt"
    bad.write_text(f"Booting\n{OOPS}")
    good.write_text("Booting\nlogin:\n")
    assert main(["check-console", str(good)]) == 0
    assert capsys.readouterr().out == ""
    assert main(["check-console", str(good), str(bad)]) == 1
    out = capsys.readouterr().out
    assert f"{bad}: kernel-oops: " in out
    assert str(good) not in out
    assert main(["check-console", "--skip", "kernel-oops", str(bad)]) == 0


def test_check_journal_of_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {
        "MESSAGE": "stress invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        "SYSLOG_IDENTIFIER": "kernel",
        "_TRANSPORT": "kernel",
    }
    data = json.dumps(entry).encode() + b"\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["check-console"]) == 1
    assert capsys.readouterr().out.startswith("-: oom: ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["/nowhere"], "ERROR: /nowhere: No such file or directory\n"),
        (["--skip", "nope"], "ERROR: --skip nope: no such rule; known: "),
    ],
)
def test_check_console_wrongly(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-console", *arguments]) == 4
    assert capsys.readouterr().err.startswith(says)


def test_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk = tmp_path / "fedora-coreos-42.20250901.3.0-qemu.x86_64.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1M"], check=True)
    where = ["--arch", "x86_64", "--kola-cache", str(tmp_path / "cache")]
    assert main(["image", "fetch", str(disk), *where]) == 0
    assert capsys.readouterr().out == f"{disk}\n"
    assert main(["image", "info", str(disk), *where]) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (shown["version"], shown["stream"], shown["distro"]) == ("42.20250901.3.0", "stable", "fcos")
    assert main(["image", "info", "--json", str(disk), *where]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == "qcow2"
    assert main(["image", "info", "/nowhere", *where]) == 4
    assert capsys.readouterr().err.startswith("ERROR: image /nowhere: no such file; accepted: testos")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--butane", "/nowhere.bu"], "ERROR: --butane /nowhere.bu: No such file or directory\n"),
        (["--memory", "1"], "ERROR: memory_mib must be at least 256, not 1\n"),
        (["--add-disk", "5G:sata"], "ERROR: disk '5G:sata': unknown option 'sata'; allowed: channel="),
        (["--bind-ro", "/srv"], "ERROR: bind '/srv': expected HOST,GUEST such as"),
        (["--bind-rw", "/srv,mnt"], "ERROR: bind: guest='mnt': expected an absolute path"),
        (["--platform", "nowhere"], "ERROR: "),
        ([], "ERROR: no image: give --image"),
        (
            ["--image=cloud:a", "--image-metadata=/nowhere"],
            "ERROR: --image-metadata /nowhere: no such file or folder\n",
        ),
        (["--image=testos", "--image-metadata=/etc/hostname"], "ERROR: --image-metadata /etc/hostname: only with --im"),
        (["--image=cloud:a", "--image-metadata=/etc"], "ERROR: image cloud:a: /etc: Is a directory\n"),
    ],
)
def test_spawn_wrongly(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["spawn", "--kola-output", str(tmp_path), *arguments]) == 4
    err = capsys.readouterr().err
    assert err.startswith(says), err
    assert "Traceback" not in err
