"""What of ``Machine`` is pure; the rest needs an SSH server (tests/integration)."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence

import pytest

from kola.command import remote_line
from kola.errors import ConfigError
from kola.machine import Limits, Machine


def executed(line: str) -> list[str]:
    """Split a line that replaces the login shell into the words of its program."""
    words = shlex.split(line)
    assert words[0] == "exec"
    return words[1:]


@pytest.mark.parametrize(
    ("cmd", "user", "env", "words"),
    [
        ("echo a | wc", None, None, ["bash", "--norc", "-c", "echo a | wc"]),
        (["ls", "a b", "$x"], None, None, ["ls", "a b", "$x"]),
        (["ls"], "core", None, ["ls"]),
        ("id", "root", None, ["sudo", "-n", "-H", "-u", "root", "--", "bash", "--norc", "-c", "id"]),
        ("id", None, {"A": "1 2", "b": "'"}, ["env", "A=1 2", "b='", "bash", "--norc", "-c", "id"]),
        (["id"], "al", {"A": ""}, ["sudo", "-n", "-H", "-u", "al", "--", "env", "A=", "id"]),
    ],
)
def test_remote_line(
    cmd: str | Sequence[str], user: str | None, env: Mapping[str, str] | None, words: list[str]
) -> None:
    assert executed(remote_line(cmd, login="core", user=user, env=env)) == words


@pytest.mark.parametrize(
    "script", ['echo \'a"b\' "$0" $#', "printf '%s\\n' \\\\ \"x  y\"", "cat <<'E'\n$HOME `id`\nE\n"]
)
def test_remote_line_survives_a_login_shell(script: str) -> None:
    direct = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    line = remote_line(script, login="core")
    assert subprocess.run(["sh", "-c", line], capture_output=True, check=True).stdout == direct


@pytest.mark.parametrize("cmd", ["", [], ()])
def test_empty_command(cmd: str | Sequence[str]) -> None:
    with pytest.raises(ConfigError, match="the command is empty"):
        remote_line(cmd, login="core")


@pytest.mark.parametrize("name", ["", "A=B", "A B", "1A", "$(id)"])
def test_bad_name_in_the_environment(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name of an environment variable"):
        remote_line("id", login="core", env={name: "1"})


def test_every_limit_is_scaled() -> None:
    fast, slow = Limits(), Limits().scaled(3)
    assert all(value > 0 for value in vars(fast).values())
    assert vars(slow) == {name: 3 * value for name, value in vars(fast).items()}


def test_the_face_of_a_machine() -> None:
    public = {name for name in vars(Machine) if not name.startswith("_")}
    assert public == {
        "audit_log", "audit_size", "await_boot", "boot_id", "close", "connect", "connected", "console", "cursor",
        "describe", "failed_units", "get", "interface", "journal", "journal_on_host", "put", "read_bytes",
        "read_file", "reboot", "reboot_by", "reset", "run", "run_many", "soft_reboot_by", "ssh_command",
        "wait_for_unit", "write_file",
    }  # fmt: skip
