from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kola.journal import JournalEntry, JournalFile, after, of_unit, parse, parse_line, render

# As journalctl of systemd 257 writes them (fields left out that nothing here looks at).
KERNEL = (
    r'{"__CURSOR":"s=1;i=1","__REALTIME_TIMESTAMP":"1795415881123456","_BOOT_ID":"b00t","_TRANSPORT":"kernel",'
    r'"_HOSTNAME":"core1","PRIORITY":"4","SYSLOG_IDENTIFIER":"kernel","MESSAGE":"Linux version 6.1"}'
)
SSHD = (
    r'{"_PID":"712","__CURSOR":"s=1;i=2","_SYSTEMD_UNIT":"sshd.service","_HOSTNAME":"core1","_COMM":"sshd",'
    r'"__REALTIME_TIMESTAMP":"1795415882000000","_TRANSPORT":"stdout","_UID":"0",'
    r'"MESSAGE":"says \"{\"a\": 1}\" \\ and\nmore"}'
)
STARTED = (
    r'{"_PID":"1","UNIT":"sshd.service","_SYSTEMD_UNIT":"init.scope","_UID":"0","MESSAGE":"Started OpenSSH.",'
    r'"__CURSOR":"s=1;i=3","_COMM":"systemd","INVOCATION_ID":["a1","b2"]}'
)
ALL = f"{KERNEL}\n{SSHD}\n{STARTED}"


def entry(**fields: Any) -> JournalEntry:
    found = parse_line(json.dumps(fields))
    assert found is not None
    return found


def test_fields() -> None:
    kernel, sshd, started = parse(ALL)
    assert kernel == JournalEntry(
        message="Linux version 6.1", identifier="kernel", priority=4, transport="kernel", cursor="s=1;i=1",
        realtime_usec=1795415881123456, boot_id="b00t", hostname="core1",
    )  # fmt: skip
    assert (sshd.unit, sshd.identifier, sshd.pid, sshd.priority) == ("sshd.service", "sshd", 712, 6)
    assert sshd.message == 'says "{"a": 1}" \\ and\nmore'
    assert started.unit == "sshd.service"
    assert started.fields["INVOCATION_ID"] == "a1\nb2"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", "text"),
        (None, ""),
        ([104, 105, 255, 10], "hi\ufffd\n"),
        (["one", "two"], "one\ntwo"),
        (["one", [116, 119, 111], None], "one\ntwo\n"),
        ([], ""),
        (["1", "2"], "1\n2"),
    ],
)
def test_forms_of_a_value(value: object, message: str) -> None:
    assert entry(MESSAGE=value).message == message


@pytest.mark.parametrize("line", ["", "{", '{"a":', "[1]", "3", "null", "no json", SSHD[:-1], SSHD[: len(SSHD) // 2]])
def test_what_is_no_entry(line: str) -> None:
    assert parse_line(line) is None


@pytest.mark.parametrize("cut", [1, 20, len(SSHD) // 2, len(SSHD) - 30, len(SSHD) - 1])
def test_next_boot_behind_half_a_line_is_found(cut: int) -> None:
    assert parse_line(SSHD[:cut] + KERNEL) == parse_line(KERNEL)


def test_odd_numbers_do_not_hurt() -> None:
    assert entry(PRIORITY="x", _PID="", __REALTIME_TIMESTAMP="-1").priority == 6
    assert entry(_PID="").pid is None


def test_short_lines() -> None:
    assert render(parse(KERNEL)) == "Nov 23 06:38:01.123 core1 kernel: Linux version 6.1"
    lines = parse(SSHD)[0].short().splitlines()
    assert lines[0] == 'Nov 23 06:38:02.000 core1 sshd[712]: says "{"a": 1}" \\ and'
    assert lines[1] == " " * len("Nov 23 06:38:02.000 core1 sshd[712]: ") + "more"
    assert "\x1b" not in entry(MESSAGE="\x1b[31mred\x1b[0m").short()


def test_unit_as_journalctl_matches_it() -> None:
    entries = parse(ALL)
    assert [e.cursor for e in of_unit(entries, "sshd")] == ["s=1;i=2", "s=1;i=3"]
    assert of_unit(entries, "sshd.service") == of_unit(entries, "sshd")
    assert of_unit(entries, "ssh") == of_unit(entries, "sshd.socket") == []
    assert entry(_UID="0", OBJECT_SYSTEMD_UNIT="a.mount").concerns("a.mount")
    assert entry(_UID="0", COREDUMP_UNIT="a.service").concerns("a")
    assert not entry(_UID="1000", OBJECT_SYSTEMD_UNIT="a.service").concerns("a")  # anybody could claim it
    assert not entry(_PID="77", UNIT="a.service").concerns("a")
    assert entry(_SYSTEMD_UNIT="app@1.2.service").concerns("app@1.2")


def test_separators_inside_a_message(tmp_path: Path) -> None:
    text = '{"MESSAGE":"a\u2028b\u0085c\\u001dd"}\n' * 2
    path = tmp_path / "journal.json"
    path.write_text(text)
    assert [e.message for e in parse(text)] == ["a\u2028b\u0085c\x1dd"] * 2
    assert len(JournalFile(path).entries()) == 2


def test_after_cursor() -> None:
    entries = parse(ALL)
    assert after(entries, "s=1;i=2") == entries[2:]
    assert after(entries, "s=1;i=3") == []
    assert after(entries, None) == after(entries, "rotated away") == entries


def test_file_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    reader = JournalFile(path)
    assert reader.entries() == []
    with path.open("w") as file:

        def write(text: str) -> list[str]:
            file.write(text)
            file.flush()
            return [e.cursor[-1] for e in reader.entries()]

        assert write(KERNEL) == []  # the line may still go on
        assert write("\n") == ["1"]
        assert write(SSHD[:50]) == ["1"]
        assert write(SSHD[50:] + "\n\n" + STARTED[:9]) == ["1", "2"]
        assert write("\n" + KERNEL + "\n" + SSHD + "\n" + STARTED + "\n") == ["1", "2", "3"]  # the stream began anew
    assert reader.damaged == 1
    assert reader.entries() == parse(ALL)


def test_file_reads_only_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    path.write_text(KERNEL + "\n" + SSHD + "\n")
    reader = JournalFile(path)
    first = reader.entries()
    path.write_text("x" * (len(KERNEL) + len(SSHD) + 1) + "\n" + STARTED + "\n")
    assert reader.entries() == first + parse(STARTED)
    assert reader.damaged == 0  # the line of x was behind it


def test_multibyte_character_cut_in_two(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    line = '{"MESSAGE":"größer"}\n'.encode()
    reader = JournalFile(path)
    for end in range(len(line) + 1):
        path.write_bytes(line[:end])
        messages = [e.message for e in reader.entries()]
    assert messages == ["größer"]
    assert reader.damaged == 0
