"""docs/migration.md: it is complete against the flags of `kola`, and what it names instead exists and is accepted."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from kola import cli, options
from kola.platform import load_platform, parse_options
from kola.results import ExitCode

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/migration.md"
FLAGS: dict[str, Any] = json.loads((Path(__file__).parent / "data/kola-flags.json").read_text())
SECTIONS = {
    "kola run": FLAGS["run"],
    "kola run-upgrade": FLAGS["run-upgrade"],
    "kola list": FLAGS["list"],
    "kola spawn": FLAGS["spawn"],
    "Other commands": FLAGS["check-console"],
}
NO_COUNTERPART = ("none: ", "none yet: ")


@dataclass(frozen=True)
class Row:
    """One line of a table: what `kola` has, and what is said of it."""

    section: str
    theirs: str
    ours: str

    @property
    def flags(self) -> list[str]:
        return [span for span in spans(self.theirs) if span.startswith("--")]

    @property
    def commands(self) -> list[str]:
        """What is to be tried."""
        return [span for span in spans(self.ours) if re.match(r"-{1,2}\w|pytest |kola ", span)]


def spans(cell: str) -> list[str]:
    return [span.replace("\\|", "|") for span in re.findall(r"`([^`]+)`", cell)]


def rows() -> Iterator[Row]:
    section = ""
    for line in PAGE.read_text().splitlines():
        section = line.removeprefix("## ") if line.startswith("## ") else section
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 2 and not set(cells[0]) <= {"-"}:
            yield Row(section, *cells)


ROWS = [row for row in rows() if row.ours != "here"]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_flag_is_there_and_no_other(section: str) -> None:
    named = [flag for row in ROWS if row.section == section for flag in row.flags]
    missing = [flag for flag in SECTIONS[section] if not any(fnmatchcase(flag, one) for one in named)]
    invented = [one for one in named if not any(fnmatchcase(flag, one) for flag in SECTIONS[section])]
    assert (missing, invented) == ([], [])
    assert len(set(named)) == len(named), "a flag has two rows"


def test_every_command_is_there() -> None:
    named = {span for row in ROWS if row.section == "Other commands" for span in spans(row.theirs)}
    assert set(FLAGS["commands"]) | {"check-console"} <= named
    assert len(ROWS) > 60


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.theirs.replace("`", "")[:40])
def test_it_has_a_counterpart_or_a_reason(row: Row) -> None:
    has_reason = any(row.ours.startswith(word) and row.ours != word.strip() for word in NO_COUNTERPART)
    assert row.commands or has_reason, row


@pytest.fixture
def meant(tmp_path: Path) -> dict[str, str]:
    """What the page's placeholders stand for."""
    (tmp_path / "file").write_text("{}")
    return {
        "FILE": str(tmp_path / "file"), "DIR": str(tmp_path), "PATH": str(ROOT / "tests/sample"), "GLOB": "ext.*",
        "NAME": "stable", "VERSION": "42.1", "ID": "latest", "TAG": "reboot", "N": "2", "IMAGE": "testos",
        "ARGS": "quiet",
    }  # fmt: skip


TRIED = sorted({command for row in ROWS for command in row.commands})


def words_of(command: str, meant: dict[str, str]) -> list[str]:
    filled = re.sub(r"\b[A-Z]+\b", lambda match: meant.get(match[0], match[0]), command.partition(" ||")[0])
    return [word for word in shlex.split(filled) if word not in {"...", "pytest", "kola"}]


@pytest.mark.parametrize("command", [command for command in TRIED if not command.startswith("kola ")])
def test_pytest_takes_the_counterpart(command: str, meant: dict[str, str], pytester: pytest.Pytester) -> None:
    settings = options.settings(pytester.parseconfig(*words_of(command, meant)))
    parse_options(load_platform("qemu"), settings.platform_options)


@pytest.mark.parametrize("command", [command for command in TRIED if command.startswith("kola ")])
def test_kola_takes_the_counterpart(command: str, meant: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is parsed, not run."""
    words = words_of(command, meant)
    parsed: list[object] = []

    def run(args: object) -> ExitCode:
        parsed.append(args)
        return ExitCode.PASSED

    monkeypatch.setattr(import_module(f"kola.commands.{cli.COMMANDS[words[0]]}"), "run", run)
    assert cli.main(words) == 0
    assert len(parsed) == 1


def test_a_counterpart_that_is_none_is_found(pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(pytest.UsageError, match="--nope"):
        pytester.parseconfig("--nope")
    with pytest.raises(SystemExit):
        cli.main(["spawn", "--nope"])
    assert "--nope" in capsys.readouterr().err
