from __future__ import annotations

from kola.command import CommandResult, FailedCommand, TimedOutCommand
from kola.errors import CommandFailed, CommandTimeout
from kola.text import block, cut_middle, last_lines, strip_terminal


def test_strip_terminal_leaves_the_words() -> None:
    raw = "\x1b[0;1;31mFAILED\x1b[0m \x1b]0;title\x07to start\x1b(B\r\n\x1b[2J\x1b]3008;start=1\x1b\\a\tb\x00"
    assert strip_terminal(raw) == "FAILED to start\na\tb"


def test_last_lines() -> None:
    text = "one\n\n  \ntwo\r\n\x1b[31mthree\x1b[0m\n"
    assert last_lines(text, 2) == ["two", "three"]
    assert last_lines(text, 9) == ["one", "two", "three"]
    assert last_lines(text, 0) == []
    assert last_lines("x\n" * 5_000_000 + "end", 1) == ["end"]


def test_cut_middle_counts_bytes() -> None:
    assert cut_middle("abcdef", 6) == "abcdef"
    assert cut_middle("abéédef", 4) == "ab\n[... 5 bytes not shown ...]\nef"


def test_block() -> None:
    assert block("stdout", "a\n b\n") == "  stdout:\n    | a\n    |  b"
    assert block("stderr", " \n") == "  stderr: (empty)"


def test_errors_show_both_streams_and_carry_the_result() -> None:
    result = CommandResult("false\ntrue", "out\n", "x" * 20_000 + "\x1b[1mend", 3, 1.25)
    failed = FailedCommand("kola-1", result)
    assert isinstance(failed, CommandFailed)
    assert failed.result is result
    text = str(failed)
    assert text.startswith("command failed on kola-1: exit code 3 after 1.2 s\n  command:\n    | false\n    | true\n")
    assert "  stdout:\n    | out\n" in text
    assert "[... 12003 bytes not shown ...]" in text
    assert text.endswith("xend")
    late = TimedOutCommand("kola-1", result, ("  queued jobs: (empty)",))
    assert isinstance(late, CommandTimeout)
    assert str(late).startswith("command timed out on kola-1 after 1.2 s (this is a timeout, not a failure)")
    assert str(late).endswith("queued jobs: (empty)")
