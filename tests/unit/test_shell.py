"""The protocol of a shell that stays: frames there, cut streams back."""

from __future__ import annotations

import io
import random
import subprocess

import pytest

from kola.shell import Cutter, frame, with_input

MARK = b"0123456789abcdef"


def test_frame() -> None:
    assert frame("echo a") == b"00000006-echo a"
    assert frame("echo a", only_after_success=True) == b"00000006&echo a"


@pytest.mark.parametrize("text", ["größer", "it's \\ ü\n%s", "\u2028 $(id) `id`"])
def test_frame_is_ascii_and_means_the_same(text: str) -> None:
    sent = frame(f"printf %s $'{text}'" if "'" not in text else f'printf %s "{text}"'.replace("$(id) `id`", ""))
    direct = f"printf %s $'{text}'" if "'" not in text else f'printf %s "{text}"'.replace("$(id) `id`", "")
    assert sent.isascii()
    assert int(sent[:8]) == len(sent) - 9
    for environment in ({"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}):
        outputs = [
            subprocess.run(["bash", "-c", line], capture_output=True, check=True, env=environment).stdout
            for line in (direct, sent[9:].decode())
        ]
        assert outputs[0] == outputs[1] != b""


def test_input_is_delivered_byte_for_byte() -> None:
    data = bytes(range(256)) + b"%s%%\\n'\"" + b"0123"
    line = with_input("exec cat", data)
    assert line.isascii()
    assert subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout == data
    assert with_input("exec cat", b"") == "exec cat"


def cut_in_pieces(stream: bytes, seed: int) -> tuple[list[bytes], list[str]]:
    """Feed a stream in random pieces; return what was between the marks, and what was behind them."""
    pick = random.Random(seed)  # noqa: S311 - which pieces does not matter
    cutter, outputs, behind = Cutter(MARK), [io.BytesIO()], []
    while stream:
        size = pick.randint(1, 20)
        cutter.write(stream[:size])
        stream = stream[size:]
        while said := cutter.cut(outputs[-1], 3):
            behind.append(said)
            outputs.append(io.BytesIO())
    cutter.flush(outputs[-1])
    return [output.getvalue() for output in outputs], behind


@pytest.mark.parametrize("seed", range(20))
def test_stream_is_cut_at_marks_however_it_arrives(seed: int) -> None:
    parts = [b"", b"one\n", b"two " + MARK[:9] + b" three", b"\xff\0" * 40 + MARK[:15], b"0012" * 9]
    stream = b"".join(part + MARK + b"%03d" % n for n, part in enumerate(parts)) + b"rest" + MARK[:4]
    outputs, behind = cut_in_pieces(stream, seed)
    assert outputs == [*parts, b"rest" + MARK[:4]]
    assert behind == ["000", "001", "002", "003", "004"]


def test_only_what_may_be_a_mark_is_kept_back() -> None:
    cutter, out = Cutter(MARK), io.BytesIO()
    cutter.write(b"prompt> ")
    assert cutter.cut(out, 3) == ""
    assert out.getvalue() == b"prompt> "
    cutter.write(MARK[:5])
    assert cutter.cut(out, 3) == ""
    assert out.getvalue() == b"prompt> "
    cutter.write(b"!")
    assert cutter.cut(out, 3) == ""
    assert out.getvalue() == b"prompt> " + MARK[:5] + b"!"
