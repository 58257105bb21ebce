"""Zincati on a machine: its configuration, what it says in the journal, and how far it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from kola.cincinnati import Release as Offered
from kola.wait import wait_until
from tests.external.upgrade.rpmostree import UPDATE_SECONDS, RpmOstree
from tests.external.upgrade.system import identify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kola.releases import Release
    from kola.updates import UpdateServer
    from tests.external.upgrade.system import System

UNIT = "zincati.service"
CONFIG = "/etc/zincati/config.d/99-kola.toml"
"""Behind kola's own 90-disable-auto-updates.toml, and Fedora CoreOS's 95-disable-on-dev.toml: the last one counts."""
DEADEND_MOTD = "/run/motd.d/85-zincati-deadend.motd"
METRICS_SOCKET = "/run/zincati/public/metrics.promsock"
INTERVAL = 5
"""Seconds between two questions; Zincati adds up to 20."""
RETRY_SECONDS = 400.0
"""Until it tries again to finalise, at most: five minutes, and up to one more."""
ONLY_IMAGES = "grep -qaF 'only support bootable OCI containers' /usr/libexec/zincati"
"""Whether it gives up on a machine with a deployment that is not from a container image: its last words are in it."""
WAITING = "reboot pending due to update strategy"


@dataclass(frozen=True)
class Window:
    """When it may reboot, each week, in UTC."""

    start: datetime
    minutes: int

    @classmethod
    def around(cls, moment: datetime) -> Window:
        """One that is open at that time, and for an hour before and after."""
        return cls(moment - timedelta(hours=1), 120)

    def to_toml(self) -> str:
        """Return its table; days are the C locale's."""
        day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[self.start.weekday()]
        return (
            f'[[updates.periodic.window]]\ndays = ["{day}"]\nstart_time = "{self.start:%H:%M}"\n'
            f"length_minutes = {self.minutes}\n"
        )


@dataclass(frozen=True)
class Settings:
    """What a test lets Zincati do; what is None stays as it is."""

    cincinnati: str
    enabled: bool | None = True
    strategy: str = "immediate"
    fleet_lock: str | None = None
    windows: Sequence[Window] = ()
    wariness: float | None = None
    group: str | None = None

    def to_toml(self) -> str:
        """Return the configuration file."""
        sections: dict[str, dict[str, object]] = {
            "agent.timing": {"steady_interval_secs": INTERVAL},
            "cincinnati": {"base_url": self.cincinnati},
            "identity": {"rollout_wariness": self.wariness, "group": self.group},
            "updates": {"enabled": self.enabled, "strategy": self.strategy},
            "updates.fleet_lock": {"base_url": self.fleet_lock},
        }
        text = ""
        for name, values in sections.items():
            # JSON's strings, numbers and booleans are TOML's too.
            said = [f"{key} = {json.dumps(value)}\n" for key, value in values.items() if value is not None]
            text += f"[{name}]\n{''.join(said)}" if said else ""
        return text + "".join(window.to_toml() for window in self.windows)


class Agent:
    """Zincati, and the update server that it asks.

    Args:
        system: the machine, with rpm-ostree.
        server: the update server.
    """

    def __init__(self, system: System, server: UpdateServer) -> None:
        self.system, self.machine, self.server = system, system.machine, server
        self.rpm_ostree = RpmOstree(self.machine)
        self.patience = UPDATE_SECONDS * self.machine.slowness
        booted = system.releases.releases[0]
        self.identity = replace(identify(self.machine, booted), payload=self.payload(booted))

    def publish(self, *releases: Offered) -> None:
        """Let the machine's stream be these releases."""
        self.server.publish(releases, stream=self.identity.stream, basearch=self.identity.basearch)

    def offered(self, release: Release) -> Offered:
        """Return a release as the graph has it: by its image, or by its commit."""
        payload = self.payload(release)
        return Offered(release.version, pullspec=payload) if "@" in payload else Offered(release.version, payload)

    def payload(self, release: Release) -> str:
        """Return what Zincati calls it."""
        return self.system.way.payload(release)

    def start(self, settings: Settings) -> None:
        """Start it anew with this configuration; in later boots the system itself has to start it."""
        self.machine.write_file(CONFIG, settings.to_toml(), mode=0o644, sudo=True)
        self.machine.run(["systemctl", "restart", UNIT], sudo=True, timeout=self.patience)

    def state(self) -> str:
        """Return what it says of itself: what ``rpm-ostree status`` calls the state of the driver."""
        return self.machine.run(["systemctl", "show", "--property=StatusText", "--value", UNIT]).stdout.strip()

    def wait_for_state(self, words: str) -> None:
        """Wait until it says this of itself."""
        wait_until(lambda: words in self.state(), self.patience, what=f"Zincati's state '{words}'", interval=1)

    def wait_for_message(self, words: str, since: str | None = None) -> None:
        """Wait until it logs this, after a cursor of the journal."""

        def logged() -> bool:
            return any(words in entry.message for entry in self.machine.journal_on_host(UNIT, since))

        wait_until(logged, self.patience, what=f"Zincati's message '{words}'", interval=0.5)

    def wait_for_questions(self, count: int = 2) -> None:
        """Wait until it has asked so many times more: the answer to the question before the last one is digested."""
        asked = len(self.server.questions())
        self.server.wait_for_question(count=asked + count, timeout=30.0 * count)

    def metric(self, name: str) -> float:
        """Return one of its metrics.

        Raises:
            AssertionError: it has none of that name.
        """
        text = self.machine.run(["socat", "-u", f"UNIX-CONNECT:{METRICS_SOCKET}", "STDOUT"], sudo=True).stdout
        return read_metric(text, name)

    def await_update(self, release: Release, before: str) -> None:
        """Wait until the machine has rebooted by itself since that boot, and see that this release runs."""
        self.machine.await_boot(before, self.patience)
        self.system.expect(release)

    def expect_nothing_new(self, release: Release) -> None:
        """See that this release runs and that nothing waits for the next boot."""
        self.system.expect(release)
        staged = self.rpm_ostree.staged()
        assert staged is None, f"this waits for the next boot: {staged}"

    def path(self) -> list[str]:
        """Return the versions that asked, in their order."""
        return list(dict.fromkeys(question.query.get("os_version", "") for question in self.server.questions()))


def read_metric(text: str, name: str) -> float:
    """Return the value of a metric without labels in Prometheus' text format.

    Raises:
        AssertionError: it is not there.
    """
    found = [line.split()[1] for line in text.splitlines() if line.split()[:1] == [name]]
    assert found, f"Zincati has no metric {name}"
    return float(found[0])
