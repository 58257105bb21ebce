"""What one process of a run has collected, on its way to the controller: which tests, who shares a machine, errors."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from kola.needs import Isolation
from kola.order import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from kola.durations import Durations
    from kola.needs import Needs


@dataclass(frozen=True)
class Plan:
    """A plan; plain data.

    Attributes:
        tests: node id -> description, covers, tags, isolation and attempt, as in ``kola.results.TestRecord``.
        groups: node id -> machine key, of tests that share a machine.
        machines: node id -> machine key, of all that have one.
        errors: what is wrong with markers, a line each; nothing can be run then.
        deselected: number of tests that somebody asked not to run.
    """

    tests: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    machines: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[str] = ()
    deselected: int = 0

    @classmethod
    def of(cls, collected: Iterable[tuple[str, Needs | None, str, str]], errors: Sequence[str]) -> Plan:
        """Make one.

        Args:
            collected: node id, needs, description and attempt of each test; one without needs has no machine.
            errors: as above.
        """
        tests, groups, machines = {}, {}, {}
        for nodeid, needs, description, attempt in collected:
            tests[nodeid] = {
                "description": needs.description if needs else description,
                "covers": needs.covers if needs else "",
                "tags": list(needs.tags) if needs else [],
                "isolation": needs.isolation.value if needs else "",
                "attempt": attempt,
            }
            if needs:
                machines[nodeid] = needs.machine_key()
                if needs.isolation is Isolation.SHARED:
                    groups[nodeid] = machines[nodeid]
        return cls(tests, groups, machines, errors)

    def jobs(self, known: Durations) -> dict[str, Job]:
        """Return what the scheduler has to know of each test."""
        return {
            nodeid: Job(0, self.groups.get(nodeid, ""), known.expected(nodeid), self.machines.get(nodeid, ""))
            for nodeid in self.tests
        }

    def write(self, path: Path) -> None:
        """Write it for ``read``."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read what another process wrote."""
        return cls(**json.loads(path.read_text()))
