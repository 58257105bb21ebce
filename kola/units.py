"""The systemd units of a machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kola import journal
from kola.errors import CheckFailed, WaitTimeout
from kola.link import LAST_LINES
from kola.text import block
from kola.wait import wait_until

if TYPE_CHECKING:
    from kola.command import CommandResult
    from kola.machine import Machine

FAILED = ("systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--full", "--no-pager")
"""Lists the units that have failed, for ``names``."""


_OWN = re.compile(r"kola-runext(-\d+)?\.service")
"""Units of tests that run on the machine itself: one that fails is reported as such."""


def names(listed: CommandResult) -> frozenset[str]:
    """Return the units that ``FAILED`` has listed, without kola's own."""
    found = (line.split()[0] for line in listed.stdout.splitlines() if line.strip())
    return frozenset(name for name in found if not _OWN.fullmatch(name))


def wait_for(machine: Machine, name: str, state: str, timeout: float) -> None:
    """Wait until a unit is in a state; see ``Machine.wait_for_unit``."""
    shown: dict[str, str] = {}

    def reached() -> bool:
        command = ["systemctl", "show", "--property=LoadState,ActiveState,SubState", "--", name]
        for line in machine.run(command).stdout.splitlines():
            key, _, value = line.partition("=")
            shown[key] = value
        if shown.get("ActiveState") == state:
            return True
        if shown.get("ActiveState") == "failed" or shown.get("LoadState") in {"not-found", "bad-setting", "error"}:
            what = "failed" if shown.get("LoadState") == "loaded" else shown.get("LoadState", "unknown")
            raise CheckFailed(f"unit {name} on {machine.name} is {what}, not {state}\n{_describe(machine, name)}")
        return False

    try:
        wait_until(reached, timeout, what=f"unit {name}", interval=0.3)
    except WaitTimeout as e:
        now = f"{shown.get('ActiveState')} ({shown.get('SubState')})"
        raise WaitTimeout(f"{e} on {machine.name} to be {state}: it is {now}\n{_describe(machine, name)}") from None


def _describe(machine: Machine, name: str) -> str:
    status = machine.run(["systemctl", "status", "--no-pager", "--full", "--lines=0", "--", name], check=False)
    entries = machine.journal(unit=name)[-2 * LAST_LINES :]
    return "\n".join([block("status", status.stdout + status.stderr), block("journal", journal.render(entries))])
