"""Messages are for a person's terminal."""

from __future__ import annotations

import pytest

from kola.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x1b[2J", "\\x1b[2J"),
        ("half \ud800, separator \u2028", "half \\ud800, separator \\u2028"),
        ("ünïcödé ✓ and a \\", "ünïcödé ✓ and a \\"),
    ],
)
def test_bad_input_is_quoted_in_one_line_that_prints(text: str, shown: str) -> None:
    assert str(ConfigError(f"file: '{text}'")) == f"file: '{shown}'"


def test_of_endless_input_both_ends_are_shown() -> None:
    message = str(ConfigError("begin" + "\n" * 5000 + "end"))
    assert message.startswith("begin")
    assert message.endswith("end")
    assert len(message) <= ConfigError.LONGEST
