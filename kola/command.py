"""What a command on a machine gave, and the errors that carry it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola.errors import CommandFailed, CommandTimeout, ConfigError
from kola.text import block, cut_middle, strip_terminal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHOWN = 8000
"""Characters of each stream that an error shows in full."""


@dataclass(frozen=True)
class CommandResult:
    """What a command gave.

    Attributes:
        command: as the caller wrote it.
        stdout: UTF-8 with replacement characters for what is not.
        stderr: likewise.
        exit_code: 128 + N if signal N ended it, as a shell says it.
        duration: seconds between sending it and having all its output.
    """

    command: str
    stdout: str
    stderr: str
    exit_code: int
    duration: float

    def streams(self) -> str:
        """Return both streams for a person, long ones cut in the middle."""
        return "\n".join(
            block(name, cut_middle(strip_terminal(text), SHOWN))
            for name, text in (("stdout", self.stdout), ("stderr", self.stderr))
        )


class FailedCommand(CommandFailed):
    """``CommandFailed`` with its ``result``."""

    def __init__(self, machine: str, result: CommandResult) -> None:
        self.result = result
        super().__init__(
            f"command failed on {machine}: exit code {result.exit_code} after {result.duration:.1f} s\n"
            f"{block('command', result.command)}\n{result.streams()}"
        )


class TimedOutCommand(CommandTimeout):
    """``CommandTimeout`` with the partial ``result``; its exit code is -1 while the command had none.

    Args:
        where: the machine.
        result: what there was so far.
        notes: what else is known, as finished paragraphs.
    """

    def __init__(self, where: str, result: CommandResult, notes: tuple[str, ...] = ()) -> None:
        self.result = result
        self.notes = notes
        super().__init__(
            "\n".join(
                [
                    f"command timed out on {where} after {result.duration:.1f} s (this is a timeout, not a failure)",
                    block("command", result.command),
                    result.streams(),
                    *notes,
                ]
            )
        )


def remote_line(
    cmd: str | Sequence[str], *, login: str, user: str | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Return what the login shell on the machine is given to run a command.

    Args:
        cmd: a line of shell script for ``bash -c``, or a program and its arguments.
        login: who is logged in.
        user: who is to run it, by ``sudo`` if that is another; None is ``login``.
        env: added to its environment.

    Raises:
        ConfigError: an empty command, a null byte, or a name that no environment variable can have.
    """
    if not cmd:
        raise ConfigError("the command is empty")
    # Below sshd every bash -c would read ~/.bashrc, which takes longer than most commands.
    words = ["bash", "--norc", "-c", cmd] if isinstance(cmd, str) else list(cmd)
    if any("\0" in word for word in words):
        raise ConfigError("the command holds a null byte")
    for name in env or {}:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ConfigError(f"env: {name!r} is no name of an environment variable")
    if env:
        words = ["env", *(f"{name}={value}" for name, value in env.items()), *words]
    if user not in {None, login}:
        words = ["sudo", "-n", "-H", "-u", str(user), "--", *words]
    return "exec " + shlex.join(words)


@dataclass(frozen=True)
class Line:
    """A command line in the shapes that it needs.

    Attributes:
        login: for the shell of the user who logs in.
        root: for a shell that is root already; empty if it is not root's.
        replaces: it replaces its shell (``exec ...``), so that input can be put behind it.
    """

    login: str
    root: str = ""
    replaces: bool = False

    @classmethod
    def of(
        cls, cmd: str | Sequence[str], *, login: str, user: str | None = None, env: Mapping[str, str] | None = None
    ) -> Line:
        """Return the line of a command for ``user``; arguments and errors as ``remote_line``."""
        as_root = remote_line(cmd, login="root", env=env) if user == "root" != login else ""
        return cls(remote_line(cmd, login=login, user=user, env=env), as_root, replaces=True)
