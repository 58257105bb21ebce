"""A running QEMU machine: its console, its death, its power."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from kola.diagnose import diagnose, exit_loss, ignition_has_spoken, worth_a_look
from kola.errors import Loss, PlatformError
from platforms.qemu import snapshot, wake
from platforms.qemu.binding import libvirt
from platforms.qemu.link import message_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kola.platform import Usage
    from kola.wait import Deadline
    from platforms.qemu.domain import Guest
    from platforms.qemu.process import Process

# A dying machine says several things: it is judged once it has been silent for the first number of seconds, or has
# talked for the second. An emergency shell gets time for the journal that tells whether Ignition is to blame, and
# Ignition gets time for its message, which takes a slow machine 10 s to write.
PATIENCE = {"emergency": (3.0, 6.0), "ignition": (5.0, 20.0)}
PATIENCE_ELSE = (1.0, 6.0)
EXIT_SECONDS = 0.5  # libvirt's event, which tells why QEMU ended, may come after its end


class GrowingFile:
    """A text file that QEMU appends to, read piece by piece."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin = 0
        self._line = 0  # where the last line begins that was not finished
        self._size = 0

    def text(self) -> str:
        """Return it from where ``forget`` was last called."""
        return self._read(self._begin).decode(errors="replace")

    def whole(self) -> str:
        """Return all of it."""
        return self._read(0).decode(errors="replace")

    def news(self) -> str:
        """Return what is new, from the beginning of the line that was unfinished; empty when nothing is."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return ""
        if size == self._size:
            return ""
        new = self._read(self._line)
        self._size = self._line + len(new)
        self._line += new.rfind(b"\n") + 1
        return new.decode(errors="replace")

    def forget(self) -> None:
        """Leave out of ``text`` and ``news`` what is there now."""
        self.news()
        self._begin = self._line = self._size

    def _read(self, offset: int) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(offset)
                return file.read()
        except FileNotFoundError:
            return b""


class DeathWatch:
    """Tells from the growing logs of a machine when it died and why; waits until it has said all of it."""

    def __init__(self, console: GrowingFile, ignition_journal: GrowingFile) -> None:
        self._console = console
        self._ignition_journal = ignition_journal
        self._suspected: float | None = None  # since when, monotonic
        self._last_news = time.monotonic()

    def poll(self) -> Loss | None:
        """Return the loss once it is certain. Reads only what is new as long as nothing is wrong."""
        now = time.monotonic()
        said, dumped = self._console.news(), self._ignition_journal.news()
        if said or dumped:
            self._last_news = now
        if self._suspected is None:
            if not dumped and not (said and worth_a_look(said)):
                return None
            self._suspected = now
        loss = self.verdict()
        if loss is None:
            self._suspected = None
            return None
        if ignition_has_spoken(loss):
            return loss
        silence, talk = PATIENCE.get(loss.kind, PATIENCE_ELSE)
        certain = now - self._last_news >= silence or now - self._suspected >= talk
        return loss if certain else None

    def verdict(self) -> Loss | None:
        """Return what the logs say as they are now."""
        return diagnose(self._console.text(), self._ignition_journal.text())

    def forget(self) -> None:
        """Begin anew: the power was cut."""
        self._console.forget()
        self._ignition_journal.forget()
        self._suspected = None


class QemuInstance:
    """One running machine (``kola.platform.Instance``)."""

    def __init__(self, port: int, domain: Any, process: Process, guest: Guest) -> None:
        self.id: str = domain.UUIDString()
        self.name = guest.name
        self.address = "127.0.0.1"
        self.port = port
        self.macs: Sequence[str] = guest.macs[1:]
        self.journal_path: Path | None = guest.journal
        self.kept = False
        self.slowness = guest.slowness
        self._domain = domain
        self._guest = guest
        self._process = process
        self._console = GrowingFile(guest.console)
        self._watch = DeathWatch(self._console, GrowingFile(guest.ignition_journal))
        self._qemu_log = guest.tags.log
        self._powered_off = threading.Event()
        self._disk_error = threading.Event()
        self._ended: float | None = None  # since when QEMU is known to be gone, monotonic
        self._loss: Loss | None = None

    def console(self) -> str:
        """Return everything that the machine wrote to its serial console so far."""
        return self._console.whole()

    def ready_signals(self) -> int:
        """Return how much the guest has written to say that SSH answers: a line each time, in bytes."""
        try:
            return self._guest.ready.stat().st_size
        except FileNotFoundError:
            return 0

    def lost(self) -> Loss | None:
        """Say why the machine is of no more use, or None. Once it is lost it stays so, until ``reset``."""
        if self._loss is None:
            self._loss = self._exit() or self._stopped() or self._watch.poll()
        return self._loss

    def usage(self) -> Usage | None:
        """Return what QEMU takes of this host now, or None."""
        return self._process.usage()

    def reset(self) -> None:
        """Cut the power and switch it on again.

        Raises:
            PlatformError: QEMU is gone or refuses.
        """
        self._watch.forget()
        try:
            self._domain.reset()
        except libvirt.libvirtError as e:
            raise PlatformError(f"machine {self.name} cannot be reset: {message_of(e)}") from e
        self._loss = None

    def resume(self) -> None:
        """Let the processors run.

        Raises:
            PlatformError: QEMU refuses, or has ended.
        """
        try:
            self._domain.resume()
        except libvirt.libvirtError as e:
            raise PlatformError(f"machine {self.name}: QEMU does not run: {message_of(e)}") from e

    def save(self, folder: Path) -> None:
        """Save the machine (``snapshot.save``)."""
        snapshot.save(self._domain, self._guest, folder)

    def load(self, folder: Path) -> None:
        """Fill this machine, which has not run yet, with a saved one (``snapshot.load``)."""
        snapshot.load(self._domain, folder)

    def tell_time(self) -> None:
        """Tell the guest the host's time (``wake.tell_time``)."""
        wake.tell_time(self._guest.wake, self.name)

    def set_clock(self, deadline: Deadline) -> None:
        """Set the guest's clock to the host's (``wake.set_clock``)."""
        wake.set_clock(self._guest.wake, self.name, deadline)

    def keep(self) -> None:
        """Leave the machine running when its context ends."""
        self.kept = True

    def on_event(self, _connection: Any, _domain: Any, event: int, detail: int, _opaque: Any) -> None:
        """Take note of libvirt's lifecycle events; called on the event loop's thread."""
        if event == libvirt.VIR_DOMAIN_EVENT_SHUTDOWN and detail == libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_GUEST:
            self._powered_off.set()
        elif event == libvirt.VIR_DOMAIN_EVENT_SUSPENDED and detail == libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR:
            self._disk_error.set()
        elif event == libvirt.VIR_DOMAIN_EVENT_RESUMED:
            self._disk_error.clear()

    def _stopped(self) -> Loss | None:
        """Tell of an error that QEMU does not show to the guest: it stands still until somebody makes space for it."""
        if not self._disk_error.is_set():
            return None
        where = f"no space is left for its disks in {self._guest.tags.folder}, or they have another error"
        return Loss("provider", f"QEMU stopped the machine at an error of this host: {where}")

    def _exit(self) -> Loss | None:
        if not self._powered_off.is_set():
            if self._process.alive():
                return None
            self._ended = self._ended or time.monotonic()
            if time.monotonic() - self._ended < EXIT_SECONDS:
                return None
        # A machine that panicked before someone ended it was lost by its panic.
        return self._watch.verdict() or exit_loss(
            GrowingFile(self._qemu_log).whole(), powered_off=self._powered_off.is_set()
        )
