"""The process that outlives a killed run and removes what it left.

The controller starts one (``start_reaper``); it detaches itself and listens on a unix socket in the run's scratch
folder. Every process of the run connects (``attach``) and keeps the connection open: its end without a goodbye tells
that the process is gone, however it died. A worker's machines are then swept at once, the whole run's when the
controller goes, with or without goodbye; at last the scratch folder goes. Machines kept on purpose stay for their time
to live, and so does the reaper.

Signals: it is in a session of its own, so those sent to the run's process group do not reach it. It ignores SIGINT and
SIGHUP, and SIGTERM as long as the controller lives; afterwards SIGTERM ends the time of the machines that are kept.

Not covered: reaper and controller both killed before the controller has cleaned up, a crash of the host, and a kill
before ``start_reaper`` returned. In the first two cases the run's record (``kola.runs``) is left, and ``kola gc``
removes the rest. A reaper killed alone is no loss: ``Reaper.close`` then cleans up in the controller; only workers that
die meanwhile are not swept before the end of the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from kola.errors import ConfigError, KolaError, PlatformError, WaitTimeout
from kola.process import ProcessId
from kola.runs import RunRecord, clear_run, read_record, write_record
from kola.wait import wait_until
from kola.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from kola.platform import RunContext

Role = Literal["controller", "worker"]

KEEP_S = 24 * 3600.0
"""How long machines that are kept on purpose live, in seconds, unless told otherwise."""
GRACE_S = 10.0
"""Seconds that workers get to end after their controller."""
START_S = 30.0
SOCKET = "reaper.sock"

_SUN_PATH = 107  # bytes in the path of a unix socket on Linux, unix(7)
_CONFIG = "config: "  # how a failing reaper marks what the user has to change


class Attachment:
    """The connection of one process of the run; a context manager. Leaving it by an error says no goodbye."""

    def __init__(self, socket_path: Path, worker: str, role: Role) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(START_S)
        try:
            self._socket.connect(str(socket_path))
            self.send({"say": "hello", "worker": worker, "role": role})
        except OSError as e:
            self._socket.close()
            raise PlatformError(f"the reaper of this run does not answer at {socket_path}: {e}") from e

    def __enter__(self) -> Attachment:  # noqa: PYI034 - not made to be inherited from
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if value is None:
            self.close()
        else:  # finalizers may not have run: let the reaper look
            self._socket.close()

    def keep(self, names: Iterable[str], ttl: float = KEEP_S) -> None:
        """Keep machines when the run ends.

        Args:
            names: of the machines.
            ttl: seconds from now after which they are removed; the longest one given in a run counts for all.

        Raises:
            PlatformError: there is no reaper any more that would remove them.
        """
        try:
            self.send({"say": "keep", "names": sorted(names), "ttl": ttl})
        except OSError as e:
            raise PlatformError(f"machines cannot be kept, the reaper of this run is gone: {e}") from e

    def close(self) -> None:
        """Say goodbye: nothing of this process is left. Again, or without a reaper, does nothing."""
        with contextlib.suppress(OSError), self._socket:
            self.send({"say": "goodbye"})

    def send(self, message: Mapping[str, object]) -> None:
        """Send one message."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout: float) -> dict[str, Any]:
        """Wait for the answer to a goodbye; empty if the reaper is gone.

        Raises:
            TimeoutError: none within so many seconds.
        """
        self._socket.settimeout(timeout)
        with contextlib.suppress(ConnectionError), self._socket.makefile() as file:
            return json.loads(file.readline() or "{}")  # type: ignore[no-any-return]
        return {}


def attach(socket_path: Path, worker: str, role: Role = "worker") -> Attachment:
    """Make this process known to the reaper of its run.

    Args:
        socket_path: ``Reaper.socket_path``.
        worker: its name within the run, as in ``RunContext``; no two processes may share one.
        role: ``worker``; the controller is attached by ``start_reaper``.

    Raises:
        PlatformError: the reaper is gone.
    """
    return Attachment(socket_path, worker, role)


class Reaper:
    """The controller's hold on the reaper; a context manager: at its end the whole run is cleaned up.

    Attributes:
        socket_path: what workers ``attach`` to.
        process: the reaper itself.
        patience: seconds that the end of the run may take.
    """

    def __init__(self, record: RunRecord, socket_path: Path, process: ProcessId, attachment: Attachment) -> None:
        self._record = record
        self._attachment: Attachment | None = attachment
        self.socket_path = socket_path
        self.process = process
        self.patience = 120.0

    def __enter__(self) -> Reaper:  # noqa: PYI034 - not made to be inherited from
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except KolaError as e:
            if value is None:
                raise
            value.add_note(f"cleaning up: {e}")  # what ended the run is to be heard, not what came of that

    def keep(self, names: Iterable[str], ttl: float = KEEP_S) -> None:
        """Keep machines when the run ends, as ``Attachment.keep``."""
        if self._attachment is None:
            raise PlatformError("machines cannot be kept, the run is over")
        self._attachment.keep(names, ttl)

    def close(self, timeout: float | None = None) -> list[str]:
        """End the run: what it left and its scratch folder are gone after this, but for what is kept on purpose.

        Workers that are still there get ``GRACE_S`` to end by themselves. Again does nothing.

        Args:
            timeout: seconds to wait for all that; None: ``patience``.

        Returns:
            The names of the machines that were left and had to be removed.

        Raises:
            PlatformError: something could not be removed; ``kola gc`` can try again.
            WaitTimeout: the reaper is still at it.
        """
        attachment, self._attachment = self._attachment, None
        if attachment is None:
            return []
        timeout = self.patience if timeout is None else timeout
        with attachment:
            try:
                attachment.send({"say": "goodbye"})
                answer = attachment.receive(timeout)
            except OSError as e:
                if isinstance(e, TimeoutError):
                    raise WaitTimeout(
                        f"after {timeout:.0f} s the reaper (pid {self.process.pid}) is still cleaning up"
                    ) from e
                answer = {}
        if not answer:
            return self._without_reaper()
        if not answer["kept"]:
            with contextlib.suppress(WaitTimeout):  # it has nothing to do any more
                wait_until(lambda: not self.process.alive(), 5, interval=0.02)
        if answer["error"]:
            raise PlatformError(f"{answer['error']}; 'kola gc' can try again")
        removed: list[str] = answer["removed"]
        return removed

    def _without_reaper(self) -> list[str]:
        record = read_record(self._record.path) or self._record
        record = dataclasses.replace(record, over=True, reaper=None)
        if record.kept:  # nobody will end these but `kola gc`
            write_record(record)
        return clear_run(record, record.load("main"), keep=record.kept)


def start_reaper(
    platform: str,
    options: Mapping[str, object],
    arch: str,
    context: RunContext,
    *,
    log: Path | None = None,
    grace: float = GRACE_S,
) -> Reaper:
    """Start the reaper of a run, called in the controller; returns when it listens and this process is attached.

    Args:
        platform: as given to ``--platform``.
        options: the fields of the platform's ``Options`` as plain data; handed over on standard input.
        arch: name of the architecture.
        context: of the controller. The socket is made in its scratch folder, which the reaper removes at the end.
        log: file to append to; default ``reaper.log`` in the context's artifacts folder. Holds no options.
        grace: seconds that workers get to end after their controller before they are killed.

    Raises:
        ConfigError: the path of the scratch folder is too long for a unix socket, or the platform cannot be loaded.
        PlatformError: it does not start.
    """
    socket_path = context.scratch.absolute() / SOCKET
    if len(os.fsencode(socket_path)) > _SUN_PATH:
        raise ConfigError(f"{socket_path} has more than the {_SUN_PATH} bytes of a unix socket: use a shorter TMPDIR")
    record = RunRecord(
        run_id=context.run_id,
        owner=context.owner,
        platform=platform,
        options=dict(options),
        arch=arch,
        artifacts=context.artifacts.absolute(),
        scratch=context.scratch.absolute(),
        cache=context.cache.absolute(),
        controller=ProcessId.current(),
        python_path=tuple(str(Path(folder).absolute()) for folder in sys.path),
    )
    log = (log or context.artifacts / "reaper.log").absolute()
    order = {"record": record.to_plain(), "log": str(log), "grace": grace}
    try:
        started = subprocess.run(
            [sys.executable, "-m", "kola.reaper"],
            input=json.dumps(order),
            text=True,
            capture_output=True,
            check=False,
            timeout=START_S,
            start_new_session=True,
            cwd=Path(__file__).parent.parent,
        )
    except subprocess.TimeoutExpired as e:
        raise PlatformError(f"the reaper did not start within {START_S:.0f} s") from e
    try:
        process = ProcessId(**json.loads(started.stdout))
    except ValueError:
        message = started.stderr.strip() or f"exit code {started.returncode}"
        if message.startswith(_CONFIG):
            raise ConfigError(message.removeprefix(_CONFIG)) from None
        raise PlatformError(f"the reaper did not start: {message}") from None
    return Reaper(record, socket_path, process, Attachment(socket_path, context.worker, "controller"))


def main() -> int:
    """Be the reaper: take the order from standard input, detach, say who it is on standard output, then watch."""
    try:
        order = json.load(sys.stdin)
    except ValueError:  # the controller did not live to tell
        return 1
    if os.fork():  # the controller waits for this process only and gets no zombie at the end
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    os.umask(0o077)
    myself = ProcessId.current()
    record = dataclasses.replace(RunRecord.from_plain(order["record"]), reaper=myself)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(record.scratch / SOCKET))
        listener.listen(128)
        watch = Watch(record, record.load("reaper"), listener, order["grace"])
        log = Path(order["log"])
        log.parent.mkdir(parents=True, exist_ok=True)
        log_file = log.open("a", encoding="utf-8")
        write_record(record)
    except ConfigError as e:
        sys.exit(f"{_CONFIG}{e}")
    except OSError as e:
        sys.exit(str(e))
    signal.signal(signal.SIGTERM, lambda _number, _frame: watch.end_early())
    with contextlib.suppress(OSError):  # a controller killed by now is all the more reason to go on
        os.write(1, json.dumps(dataclasses.asdict(myself)).encode())
    _leave_pipes(log_file)
    logging.basicConfig(stream=log_file, format="%(asctime)s %(message)s")  # libraries: only warnings
    logging.getLogger("kola").setLevel(logging.INFO)
    watch.run()
    return 0


def _leave_pipes(log_file: TextIO) -> None:
    """Let go of the pipes to the controller, which waits for their end."""
    with Path(os.devnull).open("rb") as null:
        os.dup2(null.fileno(), 0)
    os.dup2(log_file.fileno(), 1)
    os.dup2(log_file.fileno(), 2)


if __name__ == "__main__":
    sys.exit(main())
