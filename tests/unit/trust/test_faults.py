"""The definitions of faults: those that are there, and what is said of wrong ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kola.errors import ConfigError
from trust.faults import Kind, check_suites, read_fault, read_faults
from trust.observation import EXTERNAL

ROOT = Path(__file__).parents[3]
GOOD = 'title = "x"\nwhy = "y"\nkind = "live"\nsuites = ["basic/test_ssh.py"]\nnames = ["ssh"]\napply = "true"\n'


def written(folder: Path, text: str, name: str = "some.toml") -> Path:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


def test_the_faults_of_this_repository() -> None:
    """Enough of them, each of a suite that there is, and each script one that bash can read."""
    faults = read_faults(ROOT / "ci/faults")
    assert len(faults) >= 30
    check_suites(faults.values(), ROOT / EXTERNAL)
    assert {fault.kind for fault in faults.values()} == set(Kind)
    assert len({fault.title for fault in faults.values()}) == len(faults)


def scripts() -> list[tuple[str, str]]:
    folder = ROOT / "ci/faults"
    texts = {fault.name: fault.apply for fault in read_faults(folder).values()}
    texts |= {str(file): file.read_text() for file in folder.glob("*/configure")}
    return [(name, line) for name, text in texts.items() for line in text.splitlines()]


def test_a_check_in_a_script_ends_it() -> None:
    """`! command` alone never ends a script, whatever `set -e` says."""
    assert [(name, line) for name, line in scripts() if line.startswith("! ") and "||" not in line] == []


def test_no_pipe_is_closed_before_all_is_said() -> None:
    """`grep -q` ends at the first match: by `pipefail` the command before it has failed then, if it had more to say."""
    assert [(name, line) for name, line in scripts() if re.search(r"\|\s*grep -q", line)] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("title =", "Invalid value"),
        (GOOD + "colour = 1\n", "unknown key 'colour'; allowed: title, why, kind, apply, suites, names, green, files"),
        (GOOD.replace('"x"', "1"), "title = 1: expected a text"),
        (GOOD.replace('["ssh"]', '"ssh"'), "names = 'ssh': expected a list of texts"),
        (GOOD.replace('["ssh"]', "[]"), "missing or empty: names"),
        (GOOD.replace('names = ["ssh"]\n', ""), "missing or empty: names"),
        (GOOD.replace('"live"', '"dead"'), "kind = 'dead': allowed: live, image"),
        (GOOD.replace('["ssh"]', '["("]'), "names: '(' is no regular expression"),
        (GOOD.replace('["ssh"]', '["x*"]'), "names: 'x*' is found in any text"),
        (GOOD.replace('"live"', '"image"'), "a live fault is a file NAME.toml, one of the image a folder"),
        (GOOD.replace('apply = "true"\n', ""), "a live fault needs 'apply', a script"),
        (GOOD + 'files = ["there-is-none"]\n', "files: not there: "),
    ],
)
def test_a_wrong_definition(tmp_path: Path, text: str, problem: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_fault(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert problem in str(caught.value)


def test_a_fault_of_the_image(tmp_path: Path) -> None:
    folder = written(
        tmp_path, GOOD.replace('"live"', '"image"').replace('apply = "true"\n', ""), "some/fault.toml"
    ).parent
    with pytest.raises(ConfigError, match=r"there is no variant\.toml beside it"):
        read_fault(folder)
    written(tmp_path, 'description = "x"\n', "some/variant.toml")
    fault = read_faults(tmp_path)["some"]
    assert (fault.kind, fault.source) == (Kind.IMAGE, folder)
    before = fault.digest()
    written(tmp_path, "new", "some/configure")
    assert fault.digest() != before


def test_the_digest_is_of_the_file_and_of_what_its_script_calls(tmp_path: Path) -> None:
    tool = written(tmp_path, "one", "files/tool")
    fault = read_fault(written(tmp_path, GOOD + 'files = ["tool"]\n'))
    before = fault.digest()
    assert read_fault(fault.source).digest() == before
    tool.write_text("two")
    assert fault.digest() != before


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ((), "no faults"),
        (("Some.toml",), "'Some' is no name for a fault"),
        (("some.toml", "some/fault.toml"), "kind = 'live': a live fault is a file"),
    ],
)
def test_a_wrong_folder(tmp_path: Path, names: tuple[str, ...], problem: str) -> None:
    for name in names:
        written(tmp_path, GOOD, name)
    with pytest.raises(ConfigError, match=problem):
        read_faults(tmp_path)
    with pytest.raises(ConfigError, match="no such folder"):
        read_faults(tmp_path / "elsewhere")


def test_a_suite_that_is_not_there(tmp_path: Path) -> None:
    fault = read_fault(written(tmp_path, GOOD))
    with pytest.raises(ConfigError, match=r"suites: there is no .*basic/test_ssh\.py"):
        check_suites([fault], tmp_path)
