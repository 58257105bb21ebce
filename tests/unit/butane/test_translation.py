"""The translator against answers of Butane 0.25.1 that were written down, and what it says of mistakes."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

import pytest

from kola import butane
from kola.errors import ConfigError
from kola.ignition import VERSIONS
from tests.unit.butane.compare import meaning
from tests.unit.butane.configs import BODIES, FILES
from tests.unit.butane.oracle import Answer, recorded
from tests.unit.butane.verdict import difference, verdict

ANSWERS = recorded()
HEAD = "variant: fcos\nversion: 1.6.0\n"
GROWING = "a: &a [x]\n" + "".join(
    f"{n}: &{n} [{', '.join([f'*{b}'] * 9)}]\n" for b, n in itertools.pairwise("abcdefgh")
)


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.name)
def test_same_as_butane(answer: Answer) -> None:
    assert not difference(answer)


def test_the_corpus_is_worth_it() -> None:
    """At least 200 configs, of which many are accepted and many refused."""
    accepted = sum(bool(answer.ignition) for answer in ANSWERS)
    assert len(ANSWERS) > 900
    assert accepted > 400
    assert len(ANSWERS) - accepted > 200


def test_the_comparison_sees_a_difference() -> None:
    wrong = Answer("x", HEAD + BODIES["file"], '{"ignition": {"version": "3.5.0"}}', "")
    assert "butane makes" in difference(wrong)
    assert "we say" in difference(Answer("x", HEAD + BODIES["file"], "", ""))
    assert meaning({"a": {"source": "data:,x"}}) != meaning({"a": {"source": "data:,y"}})


@pytest.mark.parametrize("version", butane.VERSIONS)
def test_version(version: str) -> None:
    made = butane.translate(f"variant: fcos\nversion: {version}\n")
    assert made.version in VERSIONS


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("storage:\n  files:\n  - path: etc\n", "line 5: storage.files[0].path: 'etc' is not an absolute path"),
        ("storage:\n  filesx: []\n", "line 4: storage.filesx: unknown key; known here: directories, disks, files,"),
        ("storage:\n  files:\n  - path: /a\n    mode: rwx\n", "line 6: storage.files[0].mode: expected an integer"),
        ("storage:\n  files:\n  - path: /a\n    mode: 644\n", "line 6: storage.files[0].mode: 644 is a strange mode"),
        ("systemd:\n  units: {}\n", "line 4: systemd.units: expected a list, found an object"),
        ("a: b\na: c\n", "line 4: the key 'a' is given twice, first in line 3"),
        ("a: [\n", "line 4, column 1: not YAML: "),
        ("é: é\na: \x08\n", "line 4: not YAML: control characters are not allowed: 0x08"),
        ("a: !!python/name:os.system x\n", "line 3: the tag !!python/name:os.system is not supported"),
        ("storage:\n  trees:\n  - local: /../..\n", "line 5: storage.trees[0]: '/../..' leads out of the files folder"),
        ("storage:\n  files:\n  - {path: /a, contents: {local: no}}\n", "line 5: storage.files[0].contents.local: "),
        ("passwd:\n  users:\n  - name: a\n    uid: 99999999999999999999\n", "line 6: passwd.users[0].uid: "),
        ("---\na: b\n", "line 3, column 1: not YAML: "),
    ],
)  # fmt: skip
def test_message(body: str, says: str) -> None:
    """One line: file, line, key, what is wrong."""
    message = verdict(HEAD + body)[1]
    assert message.startswith(f"x.bu: {says}"), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "x.bu: expected an object with the keys 'variant' and 'version', found nothing"),
        ("- a", "x.bu: expected an object with the keys 'variant' and 'version', found a list"),
        ("version: 1.5.0", "x.bu: variant: required, but missing; allowed: fcos"),
        ("variant: flatcar\nversion: 1.0.0", "x.bu: line 1: variant: 'flatcar'; allowed: fcos"),
        ("variant: fcos\nversion: 1.7.0-experimental", "x.bu: line 2: version: '1.7.0-experimental'; allowed: 1.0.0, "),
        ("variant: fcos\nversion: [1]", "x.bu: line 2: version: a list; allowed: 1.0.0, "),
        ("variant: fcos\nversion: &a 1.5.0\nx: &b [*b]", "x.bu: line 3"),
        (GROWING, "x.bu: line 1: nested too deeply"),
    ],
)  # fmt: skip
def test_message_about_the_whole(text: str, says: str) -> None:
    assert verdict(text)[1].startswith(says), verdict(text)[1]


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(ConfigError, match=re.escape("x.bu: not UTF-8: byte 0 is 0xff")):
        butane.translate(b"\xff", "x.bu")


def test_without_files_folder() -> None:
    with pytest.raises(ConfigError, match="there is no files folder"):
        butane.translate(HEAD + BODIES["local file"], "x.bu")


def test_file_of_the_tree_that_is_neither_file_nor_link(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe is neither a file nor a directory nor a symbolic link"):
        butane.translate(HEAD + "storage: {trees: [{local: .}]}", "x.bu", files=tmp_path)


def test_large_contents_are_compressed() -> None:
    made = butane.translate(HEAD + "storage: {files: [{path: /a, contents: {local: big.txt}}]}", "x.bu", files=FILES)
    contents = made.tree["storage"]["files"][0]["contents"]
    assert contents["compression"] == "gzip"
    assert len(contents["source"]) < 300
