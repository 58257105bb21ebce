"""QEMU's own monitor (QMP), for what libvirt has no call for."""

from __future__ import annotations

import json
from typing import Any

from kola.errors import PlatformError
from platforms.qemu.binding import libvirt, libvirt_qemu
from platforms.qemu.link import message_of


def qmp(domain: Any, execute: str, **arguments: object) -> Any:
    """Give one command to a domain's monitor and return what it answers; ``_`` in argument names stands for ``-``.

    Source: QEMU QMP Reference Manual.

    Raises:
        PlatformError: QEMU refuses, or is gone.
    """
    command = {"execute": execute, "arguments": {key.replace("_", "-"): value for key, value in arguments.items()}}
    try:
        answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, json.dumps(command), 0))
    except libvirt.libvirtError as e:
        raise PlatformError(f"machine {domain.name()}: QEMU does not answer: {message_of(e)}") from e
    if "error" in answer:
        raise PlatformError(f"machine {domain.name()}: {execute}: {answer['error']['desc']}")
    return answer["return"]
