"""The connection to libvirt: its driver in this process by default, a local daemon by option."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kola.errors import ConfigError, WaitTimeout
from kola.wait import wait_until
from platforms.qemu.binding import libvirt
from platforms.qemu.options import EMBED, SESSION, SYSTEM
from platforms.qemu.process import guests

# libvirt's sockets live under the root: DIR/lib/qemu/domain-NN-TWENTY_CHARACTERS_OF/monitor.sock
_SOCKET_LIMIT = 107
_SOCKET_TAIL = len("/lib/qemu/domain-NNN-") + 20 + len("/monitor.sock")
_CLOSE_SECONDS = 5.0
_CAPABILITIES = Path("cache", "qemu", "capabilities")
_QEMU_SPEAKS = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+Z \S*qemu\S*: )")


@functools.cache
def start_event_loop() -> None:
    """Start libvirt's event loop, one for each process, and stop it from printing errors that are raised anyway."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    libvirt.virEventRegisterDefaultImpl()

    def run() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=run, name="libvirt-events", daemon=True).start()


def message_of(error: libvirt.libvirtError) -> str:
    """Return libvirt's message as one line; where QEMU itself complained, only what QEMU said."""
    text = " ".join((error.get_error_message() or str(error)).split())
    _, stamp, said = _QEMU_SPEAKS.split(text, maxsplit=1) if _QEMU_SPEAKS.search(text) else ("", "", "")
    return said if stamp else text


class Link:
    """A lazily opened connection, one for each process: libvirt's embedded driver does not survive a fork.

    Args:
        uri: one of ``options.URIS``.
        scratch: where the embedded driver's root folder goes; its path must be short.
        cache: the user's cache folder; QEMU's capabilities, which take libvirt seconds to find out, are kept there.
    """

    def __init__(self, uri: str, scratch: Path, cache: Path) -> None:
        self.uri = uri
        self._scratch = scratch
        self._cached = cache / "libvirt"
        self._lock = threading.Lock()
        self._root: Path | None = None
        self._connection: Any = None

    @property
    def privileged(self) -> bool:
        """True for a daemon that runs as root; root's own session is the host's daemon."""
        return self.uri == SYSTEM or (self.uri == SESSION and os.geteuid() == 0)

    def connection(self) -> Any:
        """Return the open connection (a ``libvirt.virConnect``); safe to call from several threads.

        Raises:
            ConfigError: no daemon, no permission, a path too long, a user that libvirt needs is missing.
        """
        with self._lock:
            if self._connection is None:
                start_event_loop()
                self._connection = self._open()
            return self._connection

    def log_file(self, domain: str) -> Path:
        """Return where libvirt writes what QEMU says on a domain's behalf."""
        if self._root is not None:
            return self._root / "log" / "qemu" / f"{domain}.log"
        if self.privileged:
            return Path("/var/log/libvirt/qemu", f"{domain}.log")
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cache / "libvirt" / "qemu" / "log" / f"{domain}.log"

    def keep_capabilities(self) -> None:
        """Save what the embedded driver found out about QEMU for the next process; call after a first use."""
        if self._root is None:
            return
        self._cached.mkdir(parents=True, exist_ok=True)
        for found in (self._root / _CAPABILITIES).glob("*.xml"):
            kept = self._cached / found.name
            if kept.exists() and kept.read_bytes() == found.read_bytes():
                continue
            with tempfile.NamedTemporaryFile(dir=self._cached, delete=False) as new:  # atomic: others read it
                new.write(found.read_bytes())
            Path(new.name).replace(kept)

    def close(self) -> None:
        """Remove the embedded driver's folder, once libvirt has done with the machines that have ended.

        When init has reaped a QEMU, which takes seconds on some hosts, libvirt writes to that folder and makes it anew
        if it is gone. This is for the end: nothing can be launched after it. Again does nothing.
        """
        if self._root is None:
            return
        with contextlib.suppress(WaitTimeout, libvirt.libvirtError):  # there are hosts whose init reaps nothing
            wait_until(self._has_settled, _CLOSE_SECONDS, interval=0.02)
        shutil.rmtree(self._root, ignore_errors=True)

    def _has_settled(self) -> bool:
        alive = set()
        for name, process in guests():
            process.close()
            alive.add(name)
        return {domain.name() for domain in self._connection.listAllDomains()} <= alive

    def _open(self) -> Any:
        if self.uri == EMBED:
            return self._open_embedded()
        # Not in a process that has used the embedded driver: libvirt then takes every qemu: URI for an embedded one.
        try:
            return libvirt.open(self.uri)
        except libvirt.libvirtError as e:
            need = "a running libvirtd or virtqemud that this user may use" if self.privileged else "libvirtd"
            raise ConfigError(f"-P uri={self.uri}: needs {need}: {message_of(e)}") from e

    def _open_embedded(self) -> Any:
        root = Path(tempfile.mkdtemp(dir=self._scratch, prefix="lv-"))
        length, given = len(os.fsencode(root)), len(os.fsencode(self._scratch))
        if length + _SOCKET_TAIL > _SOCKET_LIMIT:
            root.rmdir()
            longest = _SOCKET_LIMIT - _SOCKET_TAIL - (length - given)
            raise ConfigError(
                f"the scratch folder {self._scratch} has a path of {given} bytes; "
                f"libvirt's sockets in it allow at most {longest}: set TMPDIR to a shorter one"
            )
        (root / "etc").mkdir()
        (root / "etc" / "qemu.conf").write_text(_qemu_conf())
        (root / _CAPABILITIES).mkdir(parents=True)
        for known in self._cached.glob("*.xml"):
            shutil.copy(known, root / _CAPABILITIES)
        try:
            connection = libvirt.open(f"{EMBED}?root={quote(str(root))}")
        except libvirt.libvirtError as e:
            shutil.rmtree(root, ignore_errors=True)
            raise ConfigError(f"-P uri={EMBED}: {_with_remedy(message_of(e))}") from e
        self._root = root
        # The folder goes with this object or at the end of the process; a killed process leaves it to the sweep.
        weakref.finalize(self, shutil.rmtree, root, ignore_errors=True)
        return connection


def _with_remedy(message: str) -> str:
    """Say what to do where libvirt, run as root, looks for the user that it was compiled for, whatever its settings."""
    missing = re.search(r"Failed to parse (?:user|group) '(\S+)'", message)
    if missing is None:
        return message
    create = f"useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {missing[1]}"
    return f"as root libvirt needs the user '{missing[1]}': run {create}"


def _qemu_conf() -> str:
    """Return a configuration with which QEMU runs as this user, unconfined, and without a log daemon."""
    lines = [
        'stdio_handler = "file"',
        'security_driver = "none"',
        "namespaces = []",
        "cgroup_controllers = []",
        "remember_owner = 0",
    ]
    if os.geteuid() == 0:  # otherwise QEMU runs as libvirt-qemu, which may not read the user's files
        lines += ['user = "root"', 'group = "root"']
    return "\n".join(lines) + "\n"
