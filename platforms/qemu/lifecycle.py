"""Starting a guest through libvirt, hearing of its end, ending it."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import socket
from typing import TYPE_CHECKING, Any

from kola.errors import PlatformError
from kola.wait import wait_until
from platforms.qemu.binding import libvirt
from platforms.qemu.domain import domain_xml
from platforms.qemu.link import message_of
from platforms.qemu.process import guests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from platforms.qemu.domain import Guest
    from platforms.qemu.instance import QemuInstance

_PORT_TAKEN = "Could not set up host forwarding rule"
_PORT_ATTEMPTS = 10
_GONE_SECONDS = 20.0  # libvirt waits for init to reap QEMU


def start_paused(connection: Any, guest: Guest) -> tuple[Any, int]:
    """Start QEMU, its processors stopped, with SSH on a free port; return libvirt's domain and that port.

    A port cannot be held free for another process: one is chosen, and another if someone else was faster.

    Raises:
        PlatformError: QEMU does not start.
    """
    for attempt in range(1, _PORT_ATTEMPTS + 1):
        port = _free_port()
        xml = domain_xml(dataclasses.replace(guest, ssh_port=port))
        try:
            return connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED), port
        except libvirt.libvirtError as e:
            if _PORT_TAKEN not in str(e) or attempt == _PORT_ATTEMPTS:
                raise PlatformError(f"machine {guest.name}: QEMU does not start: {message_of(e)}") from e
    raise AssertionError("unreachable: the last attempt returns or raises")


@contextlib.contextmanager
def lifecycle_events(connection: Any, domain: Any, instance: QemuInstance) -> Iterator[None]:
    """Tell the instance of libvirt's lifecycle events inside the context."""
    kind = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
    registered = connection.domainEventRegisterAny(domain, kind, instance.on_event, None)
    try:
        yield
    finally:
        connection.domainEventDeregisterAny(registered)


def end(name: str) -> None:
    """End a guest's QEMU at once; no such guest is fine too.

    It is killed here and not through libvirt, which waits until init has seen the process die: seconds on some hosts,
    for ever in a container whose init reaps nothing. libvirt drops the domain when it sees the process gone.

    Raises:
        PlatformError: it cannot be killed.
    """
    for found, process in guests():
        with contextlib.closing(process):
            if found == name:
                process.kill()


def await_gone(connection: Any, name: str) -> None:
    """Wait until a daemon has seen the end of a guest and written the last line of its log.

    Raises:
        WaitTimeout: it has not.
    """

    def gone() -> bool:
        try:
            connection.lookupByName(name)
        except libvirt.libvirtError as e:
            return bool(e.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN)
        return False

    wait_until(gone, _GONE_SECONDS, what=f"libvirt to drop {name}")


def keep_log(log: Path, folder: Path) -> None:
    """Move libvirt's log of a guest to what is kept of the machine, as ``qemu.log``, if this user may read it."""
    with contextlib.suppress(OSError):
        shutil.copyfile(log, folder / "qemu.log")
    with contextlib.suppress(OSError):
        log.unlink()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
