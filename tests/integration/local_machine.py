"""This host, behind a local sshd, in the place of a machine."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from kola.errors import Loss
from kola.keys import write_client_key
from kola.machine import Access, Machine
from kola.platform import Usage
from tests.integration.local_sshd import LocalSshd, local_sshd

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
PANIC = Loss("panic", "kernel panic: sysrq triggered crash", ("[ 9.1] Kernel panic - not syncing",))


@dataclass
class LocalInstance:
    """This host as an ``Instance``; its console and journal are files."""

    port: int
    console_file: Path
    journal_path: Path | None = None
    macs: Sequence[str] = ()
    loss: Loss | None = None
    address: str = "127.0.0.1"
    id: str = "local"
    name: str = "kola-test-1"

    def console(self) -> str:
        return self.console_file.read_text()

    def ready_signals(self) -> int:
        return 0

    def lost(self) -> Loss | None:
        return self.loss

    def usage(self) -> Usage | None:
        return None

    def reset(self) -> None:
        raise NotImplementedError

    def keep(self) -> None:
        raise NotImplementedError


@dataclass
class LocalGuest:
    sshd: LocalSshd
    instance: LocalInstance
    machine: Machine
    said: list[str]


@contextlib.contextmanager
def local_guest(tmp_path: Path) -> Iterator[LocalGuest]:
    console, journal = tmp_path / "console.log", tmp_path / "journal.json"
    console.write_text("Booting\r\n\x1b[0;32m  OK  \x1b[0m] Reached target\r\n")
    journal.write_text(json.dumps({"MESSAGE": "journal says hello", "_COMM": "greeter", "__CURSOR": "c1"}) + "\n")
    with local_sshd(tmp_path) as sshd:
        instance = LocalInstance(sshd.port, console, journal)
        write_client_key(tmp_path / "ssh" / "id", sshd.client_key)
        access = Access(
            sshd.user, sshd.client_key, sshd.host_key.public, tmp_path / "ssh" / "id", tmp_path / "ssh" / "known_hosts"
        )
        said: list[str] = []
        machine = Machine(
            instance, access, slowness=0.5, artifacts=tmp_path, progress=lambda what, _elapsed: said.append(what)
        )
        yield LocalGuest(sshd, instance, machine, said)
        machine.close()
