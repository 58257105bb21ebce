"""The lives of a run's machines, told by the processes that make them and read by the one that keeps the record.

xdist's workers share no memory with the controller, and a machine may outlive the last report of its tests. So every
process appends JSON lines to one file of the run, each with the name of a machine and what became known of it.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from kola.results import MachineRecord

if TYPE_CHECKING:
    from pathlib import Path

FILE = "machines.jsonl"
"""Its name in the run's folder."""


class Lives:
    """Appends what becomes known of machines; one write a line, so that processes do not mix theirs.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def tell(self, name: str, **facts: Any) -> None:
        """Add what is known now of a machine: fields of ``kola.results.MachineRecord``."""
        line = json.dumps({"name": name, **facts}) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def reached(self, name: str, moment: str, **facts: Any) -> None:
        """Add that a machine has just come to a moment of its life: ``created``, ``booting``, ``up`` or ``gone``."""
        self.tell(name, **{moment: round(time.time(), 3)}, **facts)


class Reader:
    """Reads the file while it grows.

    Args:
        path: of the file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._facts: dict[str, dict[str, Any]] = {}

    def read(self) -> dict[str, MachineRecord]:
        """Return all machines that are known by now, by name."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return {}
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            facts = json.loads(line)
            self._facts.setdefault(facts["name"], {}).update(facts)
        return {name: MachineRecord(**facts) for name, facts in self._facts.items()}
