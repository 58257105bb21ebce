"""A pytest plugin, ``-p trust.kolafault --kola-fault FILE``: breaks each machine before its first test sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kola.errors import ConfigError, KolaError, PlatformError
from trust.faults import Kind, read_fault

if TYPE_CHECKING:
    from kola.machine import Machine
    from trust.faults import Fault

PLACE = "/run/kola-fault"
"""On the machine, while the script runs."""
APPLIED = "fault-applied.txt"
"""Among a machine's artifacts: the name of the fault that it has."""
_LAST = 500
"""Characters of a script's errors that are shown."""


def refusal(fault: str) -> str:
    """How the error begins that a test has whose machine could not be broken."""
    return f"fault {fault} could not be applied"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    group = parser.getgroup("kola")
    group.addoption("--kola-fault", metavar="FILE", help="break every machine with this live fault (docs/trust.md)")


def pytest_configure(config: pytest.Config) -> None:
    """Read the fault; without one, do nothing at all."""
    if not config.option.kola_fault:
        return
    try:
        fault = read_fault(Path(config.option.kola_fault))
    except ConfigError as e:
        raise pytest.UsageError(str(e)) from e
    if fault.kind is not Kind.LIVE:
        raise pytest.UsageError(f"{fault.source}: kind = '{fault.kind}': only a live fault is put into a machine")
    config.pluginmanager.register(Breaker(fault), "kola-fault")


class Breaker:
    """Puts a fault into machines."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def pytest_kola_machine_up(self, machine: Machine) -> None:
        """Run the script.

        Raises:
            PlatformError: it failed; then nothing can be said about what tests would have found.
        """
        try:
            self._break(machine)
        except KolaError as e:
            raise PlatformError(f"{refusal(self._fault.name)}: {e}") from e
        (machine.artifacts / APPLIED).write_text(f"{self._fault.name}\n")

    def _break(self, machine: Machine) -> None:
        files = self._fault.attachments()
        if files:
            machine.run(["mkdir", "-p", PLACE], sudo=True)
        for file in files:
            machine.write_file(f"{PLACE}/{file.name}", file.read_bytes(), sudo=True)
        command = ["bash", "-eux", "-o", "pipefail", "-c", self._fault.apply]
        done = machine.run(command, sudo=True, check=False, shown=f"fault {self._fault.name}")
        if done.exit_code != 0:
            # In one line, which is what the record of a run has as its reason.
            said = " | ".join((done.stdout + done.stderr).strip().splitlines())
            raise PlatformError(f"exit code {done.exit_code}: {said[-_LAST:]}")
        if files:
            machine.run(["rm", "-r", PLACE], sudo=True)
