"""The simulated suite, ``$KOLA_SIMULATED_TESTS`` tests; not named test_*: only a run that names this file has it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from kola.machine import Machine
from tests.simulation.platform import LAUNCHES
from tests.simulation.scenario import Kind, Scenario

SCENARIOS = [Scenario(number) for number in range(int(os.environ["KOLA_SIMULATED_TESTS"]))]


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(each, id=each.name, marks=pytest.mark.kola(**each.marker)) for each in SCENARIOS],
)
def test_it(scenario: Scenario, machines: list[Machine]) -> None:
    for machine in machines:
        assert machine.run(f"sleep {scenario.seconds}; echo done").stdout == "done\n"
        assert machine.run(["id", "-u"], sudo=True).stdout.strip().isdigit()
    (machine, *_) = machines
    match scenario.kind:
        case Kind.REBOOTS:
            before = machine.boot_id
            machine.reboot()
            assert machine.boot_id != before
        case Kind.FAILS:
            assert machine.read_file("/dev/null") == "something"
        case Kind.UNKNOWN_PROGRAM:
            machine.run("rpm-ostree status")
        case Kind.UNKNOWN_VERB:
            machine.run("systemctl daemon-reload")
        case Kind.TIMES_OUT:
            machine.run("sleep 50", timeout=1)
        case Kind.DIES | Kind.SHARED_DIES:
            machine.run("crash")
        case Kind.KILLS_WORKER:
            line = json.dumps({"worker": os.environ["PYTEST_XDIST_WORKER"], "name": "", "mib": 0}) + "\n"
            with (machine.artifacts.parent / LAUNCHES).open("a") as log:
                log.write(line)
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            machine.write_file("note", scenario.name)
            assert machine.read_file("note") == scenario.name
            assert Path(machine.artifacts, "ignition.json").exists()
