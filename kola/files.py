"""The files of a machine: copied there, fetched from there, through its shell and in pieces."""

from __future__ import annotations

import secrets
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from kola.machine import Machine

_WRITE = """\
set -e
[ -z "$2" ] || umask 077  # nobody reads it before it has its mode
cat >"$1"
[ -z "$3" ] || chown -- "$3" "$1"
[ -z "$2" ] || chmod -- "$2" "$1"
"""


def read(machine: Machine, path: str, output: IO[bytes], *, sudo: bool, timeout: float | None = None) -> None:
    """Write what is in a file on the machine to ``output``; see ``Machine.read_bytes``."""
    limit = machine.limits.transfer if timeout is None else timeout
    machine.run(["cat", "--", path], output=output, sudo=sudo, timeout=limit)


def fetch(machine: Machine, remote: str, local: Path, *, sudo: bool, timeout: float | None) -> None:
    """Copy a file to this host; see ``Machine.get``."""
    partial = local.with_name(f".{local.name}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as file:
            read(machine, remote, file, sudo=sudo, timeout=timeout)
        partial.replace(local)
    finally:
        partial.unlink(missing_ok=True)


def write(
    machine: Machine,
    source: IO[bytes],
    path: str,
    mode: int | None,
    owner: str | None,
    *,
    sudo: bool,
    timeout: float | None,
    shown: str,
) -> None:
    """Write a file on the machine; see ``Machine.put``.

    Args:
        machine: to write on.
        source: of the content.
        path: there.
        mode: permission bits, or None.
        owner: ``USER``, ``USER:GROUP`` or None.
        sudo: as root.
        timeout: seconds, or None for the machine's limit.
        shown: what is done, for errors.
    """
    arguments = [path, "" if mode is None else f"{mode:04o}", owner or ""]
    limit = machine.limits.transfer if timeout is None else timeout
    command = ["bash", "--norc", "-c", _WRITE, "kola", *arguments]
    machine.run(command, input=source, sudo=sudo, timeout=limit, shown=shown)
