"""Commands and files on a real guest, beside OpenSSH's client: ``benchmarks.ssh`` pointed at a clone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import ssh
from benchmarks.flights import flight, to_first_command
from benchmarks.table import Row, at_most
from kola.keys import add_known_host
from kola.needs import Isolation

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE_MIB = 16
GOALS = {("exec true", "kola, exec true"): 0.5, ("put", "kola"): 1.0, ("get", "kola"): 1.0}


def rows() -> Iterator[Row]:
    """Measure on one machine that nothing else uses."""
    with flight() as opened:
        _, machine = to_first_command(opened, Isolation.FRESH)
        access, instance = machine.machines[0].access, machine.machines[0].instance
        add_known_host(access.known_hosts, instance.address, instance.port, access.host_key)
        target = ssh.Target(instance.address, instance.port, access.user, access.key_file, access.known_hosts)
        for row in ssh.rows(target, size=FILE_MIB << 20):
            goal = next(
                (g for (group, way), g in GOALS.items() if row.group.startswith(group) and row.way == way), None
            )
            what, detail = f"{row.group}: {row.way}", f"{row.median * 1000:.1f} ms"
            yield Row(what, row.ratio, detail=detail) if goal is None else at_most(what, row.ratio, goal, detail)
        machine.close(failed=False)
