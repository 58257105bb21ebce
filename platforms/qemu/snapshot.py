"""A machine saved in a folder: the contents of its memory, the state of its devices, its disks and its logs so far.

libvirt's own save and restore insist on the saved machine's name and UUID and allow one restored machine at a time;
QEMU's migration to and from a file does not.

What a folder holds: ``state`` (memory and devices; zero pages take no room), ``root.qcow2`` and ``diskN.qcow2``
(what differs from the image), ``config.ign``, the logs, and ``machine.json`` (``Saved``). Memory may hold secrets.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kola.errors import PlatformError, WaitTimeout
from kola.wait import wait_until
from platforms.qemu.monitor import qmp

if TYPE_CHECKING:
    from pathlib import Path

    from platforms.qemu.domain import Guest

STATE = "state"
FACTS = "machine.json"
LOGS = ("console", "journal", "ignition_journal")
_BANDWIDTH = 10 << 30  # bytes/s; QEMU's default is meant for networks
_SAVE_SECONDS = 120.0
_LOAD_SECONDS = 60.0


@dataclass(frozen=True)
class Saved:
    """What a restored machine must have in common with the saved one, beside what its spec says."""

    macs: tuple[str, ...]


def save(domain: Any, guest: Guest, folder: Path) -> None:
    """Save a running machine, which stands still meanwhile (under a second) and goes on afterwards.

    Args:
        domain: libvirt's.
        guest: what it was made from.
        folder: empty.

    Raises:
        PlatformError: QEMU cannot write it, no space on the disk; the machine goes on.
    """
    try:
        qmp(domain, "stop")
        try:
            qmp(domain, "migrate-set-parameters", max_bandwidth=_BANDWIDTH)
            qmp(domain, "migrate", uri=f"file:{folder / STATE}")
            _finish(domain, _SAVE_SECONDS)
            # QEMU has let go of the disks' files until it goes on: they are whole.
            for disk in guest.disks:
                shutil.copyfile(disk.path, folder / disk.path.name)
            if guest.flash is not None:
                shutil.copyfile(guest.nvram, folder / guest.nvram.name)
            for log in LOGS:
                source: Path = getattr(guest, log)
                if source.exists():
                    shutil.copyfile(source, folder / log)
        finally:
            qmp(domain, "cont")
        shutil.copyfile(guest.ignition, folder / guest.ignition.name)
        (folder / FACTS).write_text(json.dumps(asdict(Saved(guest.macs))))
    except OSError as e:
        raise PlatformError(f"machine {guest.name} cannot be saved in {folder}: {e.strerror}") from e


def read(folder: Path) -> Saved:
    """Read what a saved machine's folder says of it.

    Raises:
        PlatformError: it cannot be read.
    """
    try:
        return Saved(macs=tuple(json.loads((folder / FACTS).read_text())["macs"]))
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise PlatformError(f"saved machine {folder}: {FACTS} cannot be read: {e}") from e


def continue_logs(folder: Path, guest: Guest) -> None:
    """Let the logs of a machine to be restored begin with the saved one's: its boot is this one's history."""
    for log in LOGS:
        if (folder / log).exists():
            shutil.copyfile(folder / log, getattr(guest, log))


def load(domain: Any, folder: Path) -> None:
    """Fill a guest that waits for it (``Guest.incoming``) with the saved one; its processors are still stopped.

    Raises:
        PlatformError: it does not fit, or is damaged.
    """
    qmp(domain, "migrate-incoming", uri=f"file:{folder / STATE}")
    _finish(domain, _LOAD_SECONDS)


def _finish(domain: Any, seconds: float) -> None:
    def ended() -> bool:
        found = qmp(domain, "query-migrate")
        if found.get("status") in {"failed", "cancelled"}:
            raise PlatformError(f"machine {domain.name()}: {found.get('error-desc', 'no reason given')}")
        return bool(found.get("status") == "completed")

    try:
        wait_until(ended, seconds, what="QEMU to move the machine's memory", interval=0.005)
    except WaitTimeout as e:
        raise PlatformError(f"machine {domain.name()}: {e}") from e
