"""A platform whose machines are processes: real enough to be left behind, found by tag and removed."""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

from kola.errors import Loss, PlatformError
from kola.images import Image
from kola.platform import Instance, Platform, Prepared, Scope, Usage
from kola.process import ProcessId
from kola.spec import Capability, MachineSpec
from kola.wait import wait_until


@dataclass(frozen=True)
class Options:
    """What a test can ask for.

    Attributes:
        secret: must not show up anywhere.
        broken: while a file of this name exists, nothing can be removed.
    """

    secret: str = ""
    broken: str = ""


@dataclass(frozen=True)
class Tag:
    """What a machine's process shows on its command line."""

    owner: str
    run_id: str
    worker: str
    name: str

    def __str__(self) -> str:
        return f"kola-process:{self.owner}:{self.run_id}:{self.worker}:{self.name}"


def machines() -> dict[Tag, psutil.Process]:
    """Return all machines on this host."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        kind, *tag = (process.info["cmdline"] or [""])[0].split(":")
        if kind == "kola-process":
            found[Tag(*tag)] = process
    return found


class ProcessInstance:
    """One ``sleep``."""

    address = "127.0.0.1"
    port = 0
    macs: Sequence[str] = ()
    journal_path: Path | None = None

    def __init__(self, process: psutil.Process, tag: Tag) -> None:
        self.process = process
        self.id = str(process.pid)
        self.name = tag.name
        self.kept = False

    def console(self) -> str:
        return ""

    def ready_signals(self) -> int:
        return 0

    def lost(self) -> Loss | None:
        return None if self.process.is_running() else Loss("provider", "the process is gone")

    def usage(self) -> Usage | None:
        return None

    def reset(self) -> None:
        raise PlatformError("a process cannot be reset")

    def keep(self) -> None:
        self.kept = True


class ProcessPlatform(Platform):
    """Every machine is a process in a session of its own and a file in the scratch folder."""

    name = "process"
    Options = Options
    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    ignition_platform = "process"

    def prepare(self, image: Image | None) -> Prepared:
        return Prepared("" if image is None else str(image.path), "none")

    @contextlib.contextmanager
    def launch(
        self,
        spec: MachineSpec,  # noqa: ARG002 - all processes are alike
        ignition: bytes,
        name: str,
        prepared: Prepared,  # noqa: ARG002
    ) -> Iterator[Instance]:
        tag = Tag(self.context.owner, self.context.run_id, self.context.worker, name)
        disk = self._disk(name)
        disk.write_bytes(ignition)
        process = subprocess.Popen(
            [str(tag), "600"],
            executable="/bin/sleep",
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        instance = ProcessInstance(psutil.Process(process.pid), tag)
        # Popen comes back when exec closes its pipe; the kernel shows the new command line a moment later.
        wait_until(lambda: tag in machines(), 20, what="a process with its tag")
        try:
            yield instance
        finally:
            if not instance.kept:
                process.kill()
                process.wait()
                disk.unlink(missing_ok=True)

    def sweep(self, scope: Scope) -> list[str]:
        if self.options.broken and Path(self.options.broken).exists():
            raise PlatformError("the provider is down")
        removed = []
        for tag, process in machines().items():
            with contextlib.suppress(psutil.NoSuchProcess):
                age = time.time() - process.create_time()
                if scope.covers(name=tag.name, owner=tag.owner, run_id=tag.run_id, worker=tag.worker, age=age):
                    self._remove(process)
                    self._disk(tag.name).unlink(missing_ok=True)
                    removed.append(tag.name)
        return sorted(removed)

    @staticmethod
    def _remove(process: psutil.Process) -> None:
        identity = ProcessId.of(process.pid)
        process.kill()
        wait_until(lambda: identity is None or not identity.alive(), 5, what="the end of a process")

    def _disk(self, name: str) -> Path:
        return self.context.scratch / f"{name}.disk"
