"""Folders of this host in a machine, by virtiofs: QEMU passes the guest's requests to a virtiofsd for each folder.

Source: the manual of virtiofsd (the one written in Rust). QEMU's own older way, 9p, would need no such program, but
Fedora CoreOS's kernel, like the test OS's, has no driver for it.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from kola.errors import ConfigError
from kola.spec import bind_tag
from platforms.qemu.elements import escaped
from platforms.qemu.helpers import Helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kola.spec import Bind

PROGRAM = "virtiofsd"
MISSING = f"{PROGRAM} is not installed"
# Distributions put it where no user's path leads to.
_FOLDERS = "/usr/libexec:/usr/lib/qemu:/usr/lib"
_SLOT = 0xF
MOST = 8  # functions of a slot


def find() -> str | None:
    """Return the path of virtiofsd, or None."""
    return shutil.which(PROGRAM) or shutil.which(PROGRAM, path=_FOLDERS)


def helpers(binds: Sequence[Bind], folder: Path) -> list[Helper]:
    """Return what has to run beside a machine.

    Args:
        binds: the folders that it sees.
        folder: of the machine.

    Raises:
        ConfigError: there is no such folder, or no virtiofsd.
    """
    if not binds:
        return []
    program = find()
    if program is None:
        raise ConfigError(f"folders of this host in a machine: {MISSING}")
    if len(binds) > MOST:
        raise ConfigError(f"platform qemu: at most {MOST} folders of this host in a machine")
    return [_helper(program, bind, socket) for bind, socket in zip(binds, sockets(folder, len(binds)), strict=True)]


def sockets(folder: Path, count: int) -> tuple[Path, ...]:
    """Return the sockets of a machine's folders, in order."""
    return tuple(folder / f"{PROGRAM}{index}.sock" for index in range(count))


def arguments(listening: Sequence[Path]) -> list[str]:
    """Return QEMU's arguments for the folders behind these sockets. The guest's memory must be shared memory."""
    found: list[str] = []
    for index, socket in enumerate(listening):
        found += ["-chardev", f"socket,id=bind{index},path={escaped(socket)}"]
        place = f"addr={_SLOT:#x}.{index},multifunction=on"
        found += ["-device", f"vhost-user-fs-pci,chardev=bind{index},tag={bind_tag(index)},{place}"]
    return found


def _helper(program: str, bind: Bind, socket: Path) -> Helper:
    if not Path(bind.host).is_dir():
        raise ConfigError(f"bind {bind.host}: no such folder on this host")
    # It has the user's own rights and no others: a sandbox of its own would take root, or a range of subordinate ids.
    command = [program, f"--socket-path={socket}", f"--shared-dir={bind.host}", "--sandbox=none", "--seccomp=none"]
    if os.geteuid() == 0:  # a container's root has not everything that it would keep
        command.append("--modcaps=-mknod:-setfcap")
    if bind.read_only and _knows_read_only(program):
        command.append("--readonly")
    return Helper(tuple(command), socket)


@functools.cache
def _knows_read_only(program: str) -> bool:
    """Tell whether it can refuse to write; since 1.13. Earlier ones leave it to the guest's mount."""
    done = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    return "--readonly" in done.stdout
