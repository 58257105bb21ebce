"""What the tests of this folder know of SELinux: contexts, processes, the label sweep, and what they let pass."""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kola.machine import Machine

EXCEPTIONS = Path(__file__).with_name("exceptions.toml")
UNLABELED = ("unlabeled_t", "file_t", "invalid_t")
"""What the kernel shows for a file without a label, or with one that the policy does not know."""

DENIAL = re.compile(r"avc:\s+denied|type=(?:USER_)?AVC |SELINUX_ERR|type=1401 ")

_RELABEL = re.compile(r"Would relabel (?P<path>/.*) from (?P<actual>\S+) to (?P<wanted>\S+)")


@dataclass(frozen=True)
class Context:
    """A label: ``user:role:type:level``."""

    user: str
    role: str
    type: str
    level: str

    @classmethod
    def of(cls, text: str) -> Context:
        """Split what the kernel or a tool shows.

        Raises:
            ValueError: it is no context.
        """
        user, role, kind, level = text.strip().rstrip("\0").split(":", 3)
        return cls(user, role, kind, level)

    @property
    def categories(self) -> str:
        """The categories of its level, such as ``c1,c2``; empty if there are none."""
        return self.level.partition(":")[2]


@dataclass(frozen=True)
class Mislabel:
    """A file whose label is not the one that the policy has for its path."""

    path: str
    actual: Context
    wanted: Context

    def __str__(self) -> str:
        return f"{self.path}: {self.actual.type}:{self.actual.level}, not {self.wanted.type}:{self.wanted.level}"


@dataclass(frozen=True)
class Process:
    """A process: its domain, the unit that it belongs to and the start of its name."""

    context: Context
    pid: int
    parent: int
    unit: str
    command: str

    def __str__(self) -> str:
        return f"{self.command} ({self.pid}, {self.unit}) in {self.context.type}"

    @property
    def in_kernel(self) -> bool:
        """Whether it is a thread of the kernel."""
        return 2 in {self.pid, self.parent}


@functools.cache
def exceptions(kind: str, file: Path = EXCEPTIONS) -> tuple[dict[str, str], ...]:
    """Return the entries of that kind in a file of exceptions."""
    found = tomllib.loads(file.read_text())[kind]
    return tuple(found)


def policy_folder(machine: Machine) -> str:
    """Return the folder of the policy that is configured, such as ``/etc/selinux/targeted``."""
    return f"/etc/selinux/{machine.run(r'sed -n s/^SELINUXTYPE=//p /etc/selinux/config').stdout.strip()}"


def parse_sweep(output: str, *more: Path) -> list[Mislabel]:
    """Read what ``restorecon -nvF`` says, without what differs in user or role alone and without the exceptions.

    ``more`` are further files of exceptions.

    ``-F`` because restorecon passes over types that an administrator may choose (``customizable_types``) otherwise,
    and with them a container's label on a file of the system.
    """
    found = [
        Mislabel(match["path"], Context.of(match["actual"]), Context.of(match["wanted"]))
        for match in map(_RELABEL.fullmatch, output.splitlines())
        if match
    ]
    entries = [entry for file in (EXCEPTIONS, *more) for entry in exceptions("label", file)]
    return [
        item
        for item in found
        if (item.actual.type, item.actual.level) != (item.wanted.type, item.wanted.level)
        and not any(re.fullmatch(entry["path"], item.path) and entry["wanted"] == item.wanted.type for entry in entries)
    ]


def sweep(machine: Machine, *paths: str) -> list[Mislabel]:
    """Compare the labels of everything below with the policy."""
    return parse_sweep(machine.run(["restorecon", "-nvrF", *paths], sudo=True, timeout=180).stdout)


def mislabeled(machine: Machine, paths: Iterable[str]) -> list[Mislabel]:
    """Compare the labels of these paths alone with the policy; every one must exist."""
    listed = list(paths)
    machine.run(["ls", "-d", *listed], sudo=True)
    return parse_sweep(machine.run(["restorecon", "-nvF", *listed], sudo=True).stdout)


def types(machine: Machine, paths: Iterable[str]) -> dict[str, str]:
    """Return the type of each path (of a link itself, not of its target)."""
    listed = list(paths)
    lines = machine.run(["stat", "--format=%C", *listed], sudo=True).stdout.splitlines()
    return {path: Context.of(line).type for path, line in zip(listed, lines, strict=True)}


def processes(machine: Machine) -> list[Process]:
    """Return all processes, threads of the kernel included."""
    found = []
    for line in machine.run("ps -e -o label= -o pid= -o ppid= -o unit= -o comm=", sudo=True).stdout.splitlines():
        label, pid, parent, unit, command = line.split(None, 4)
        found.append(Process(Context.of(label), int(pid), int(parent), unit, command.strip()))
    return found


def show(items: Iterable[object], limit: int = 30) -> str:
    """Return them line by line, the first ones if they are many."""
    lines = [str(item) for item in items]
    more = [f"... and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n  ".join([*lines[:limit], *more])
