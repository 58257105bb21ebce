"""A TPM 2.0 in a machine: swtpm, a program beside QEMU, emulates it.

Source: QEMU's documentation (specs/tpm), the manual of swtpm.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from kola.errors import ConfigError
from platforms.qemu.elements import escaped
from platforms.qemu.helpers import Helper

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "swtpm"
MISSING = f"{PROGRAM} is not installed"


def find() -> str | None:
    """Return the path of swtpm, or None."""
    return shutil.which(PROGRAM)


def socket_in(folder: Path) -> Path:
    """Return where the TPM of a machine with that folder listens."""
    return folder / f"{PROGRAM}.sock"


def helper(folder: Path) -> Helper:
    """Return what has to run beside a machine; makes the folder of the TPM's state.

    Args:
        folder: of the machine, with an absolute path.

    Raises:
        ConfigError: there is no swtpm.
    """
    program = find()
    if program is None:
        raise ConfigError(f"a machine with a TPM: {MISSING}")
    state, socket = folder / "tpm", socket_in(folder)
    state.mkdir(mode=0o700)
    command = (
        program, "socket", "--tpm2", "--terminate", "--tpmstate", f"dir={state}",
        "--ctrl", f"type=unixio,path={socket}",
    )  # fmt: skip
    return Helper(command, socket)


def arguments(socket: Path | None) -> list[str]:
    """Return QEMU's arguments for a TPM behind this socket; none for None."""
    if socket is None:
        return []
    return [
        "-chardev", f"socket,id=tpm,path={escaped(socket)}",
        "-tpmdev", "emulator,id=tpm0,chardev=tpm",
        "-device", "tpm-tis,tpmdev=tpm0",
    ]  # fmt: skip
