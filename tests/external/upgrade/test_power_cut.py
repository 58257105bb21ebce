"""The power is cut in the middle of an update: the machine comes back with one good deployment, and can be updated."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from kola.releases import Release, Releases
from kola.wait import Deadline, wait_until
from tests.external.upgrade.system import System

CONFIG = {
    "ignition": {"version": "3.0.0"},
    "storage": {"files": [{"path": "/etc/kola/mark", "contents": {"source": "data:,etc"}}]},
}
# What the service manager says on the console, which goes on to the end of a shutdown; the journal's copy does not.
FINALISING = re.compile(r"Stopping \S*ostree-finalize-staged\.s")
FINALISED = re.compile(r"Stopped \S*ostree-finalize-staged\.s")

pytestmark = pytest.mark.kola(
    ignition=CONFIG, needs=["updates"], tags=["upgrade"], covers="update-interrupted", timeout=1500
)


@dataclass(frozen=True)
class Update:
    """An update under way on a machine."""

    system: System
    target: Release

    def fetch(self) -> None:
        """Begin to fetch and stage, in the background."""
        command = ["systemd-run", "--unit=kola-update", "--collect", *self.system.way.stage_command(self.target)]
        self.system.machine.run(command, sudo=True)

    def shut_down(self) -> None:
        """Stage, and begin to shut down: that finalises the deployment."""
        self.system.stage(self.target)
        self.system.machine.run(["systemctl", "reboot", "--no-block"], sudo=True)

    def await_console(self, what: re.Pattern[str]) -> None:
        """Wait until the machine has said that on its console."""
        self.wait(lambda: what.search(self.system.machine.console()) is not None, f"'{what.pattern}' on the console")

    def await_lines(self, lines: int) -> None:
        """Wait until the machine has written so many more lines to its console."""
        begin = len(self.system.machine.console())
        self.wait(lambda: self.system.machine.console(begin).count("\n") >= lines, f"{lines} lines on the console")

    def wait(self, happened: Callable[[], bool], what: str) -> None:
        """Wait for a moment of the update."""
        wait_until(happened, self.system.patience, what=what, interval=0.02)

    def pause(self, seconds: float) -> None:
        """Let the machine go on for that long."""
        limit = Deadline(seconds)
        wait_until(lambda: limit.expired, seconds + 1, interval=0.01)


def while_fetching(update: Update, how_far: float) -> None:
    """After some of what is to be fetched."""
    source = update.system.way.source
    before = len(source.server.requests(source.path))
    update.fetch()
    source.server.wait_for_request(source.path, count=before + 1 + int(source.requests * how_far), timeout=120)


def while_staging(update: Update, how_far: float) -> None:
    """After all is fetched: while the new tree is checked out, or when it has just been staged."""
    update.system.stage(update.target)
    update.system.machine.run(["ostree", "admin", "undeploy", "0"], sudo=True)
    update.fetch()
    update.pause(20 * how_far)


def while_finalising(update: Update, how_far: float) -> None:
    """During the shutdown: /etc is merged, the policy refreshed, the boot entries are swapped."""
    update.shut_down()
    update.await_console(FINALISING)
    update.pause(12 * how_far)


def while_booting(update: Update, how_far: float) -> None:
    """In the first boot of the new deployment: firmware, initramfs, then services."""
    update.shut_down()
    update.await_console(FINALISED)
    update.await_lines(10 + int(180 * how_far))


MOMENTS = (while_fetching, while_staging, while_finalising, while_booting)


def cut_and_recover(
    system: System, releases: Releases, moment: Callable[[Update, float], None], how_far: float
) -> None:
    """One power cut; what must hold after it."""
    machine, (old, new, *_) = system.machine, releases.releases
    machine.run("mkdir -p /var/lib/kola && echo var >/var/lib/kola/mark && sync", sudo=True)
    before = machine.boot_id
    moment(Update(system, new), how_far)
    machine.instance.reset()
    machine.await_boot(before)

    booted = system.expect(old, new)
    marks = machine.run("cat /etc/kola/mark /var/lib/kola/mark").stdout
    assert marks == "etcvar\n", f"files of /etc and /var after the power cut: {marks!r}"
    assert machine.run("getenforce").stdout.strip() == "Enforcing"
    if booted == old:
        system.stage(new)  # it can be repeated
        system.expect_staged(new)


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
def test_power_cut(system: System, releases: Releases, moment: Callable[[Update, float], None]) -> None:
    """After a power cut half-way through a phase of an update one good deployment boots, and the update can be had."""
    cut_and_recover(system, releases, moment, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_power_cut_at_random(system: System, releases: Releases, seed: int) -> None:
    """The same at a moment that nobody chose; the seed in the test's name repeats it."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    cut_and_recover(system, releases, chance.choice(MOMENTS), chance.random())
