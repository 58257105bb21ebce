"""The installed ``ignition-validate``, or a script in its place: what it says counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from kola.errors import ConfigError
from kola.ignition_validate import validate_with_tool


def _tool(folder: Path, script: str) -> str:
    path = folder / "ignition-validate"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_tool_that_is_not_there_says_nothing() -> None:
    assert validate_with_tool(b"nonsense", tool="kola-has-no-such-tool") == ()


def test_tool_refuses(tmp_path: Path) -> None:
    tool = _tool(tmp_path, "cat >/dev/null; echo 'warning at $: w'; echo 'error at $.storage: e'; exit 1")
    with pytest.raises(ConfigError) as caught:
        validate_with_tool(b"{}", "x.ign", tool=tool)
    assert str(caught.value) == f"x.ign: {tool}: error at $.storage: e"


def test_tool_warns_or_does_not_know_the_version(tmp_path: Path) -> None:
    tool = _tool(tmp_path, "grep -q 3.9 && { echo 'unsupported config version' >&2; exit 1; }; echo 'warning at $: w'")
    assert validate_with_tool(b'{"ignition":{"version":"3.0.0"}}', tool=tool) == ("warning at $: w",)
    assert validate_with_tool(b'{"ignition":{"version":"3.9.0"}}', tool=tool) == ()
