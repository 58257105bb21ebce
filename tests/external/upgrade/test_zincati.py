"""Zincati, the update agent of Fedora CoreOS: what it takes, when it reboots, and what it must leave alone."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from kola.cincinnati import Rollout
from kola.faults import Outage
from kola.fleetlock import FleetLock
from kola.releases import Releases
from kola.updates import GRAPH_PATH
from kola.wait import wait_until
from tests.external.upgrade.rpmostree import UPDATE_SECONDS
from tests.external.upgrade.system import first_three
from tests.external.upgrade.zincati import DEADEND_MOTD, RETRY_SECONDS, WAITING, Agent, Settings, Window

pytestmark = [
    pytest.mark.slow,
    pytest.mark.kola(needs=["updates", "zincati"], tags=["upgrade", "zincati"], covers="update", timeout=1500),
]


def publish_newer(agent: Agent, releases: Releases, rollout: Rollout | None = None) -> None:
    """Let the second release be the update from the first one."""
    old, new = map(agent.offered, releases.releases[:2])
    agent.publish(old, dataclasses.replace(new, rollout=rollout or Rollout()))


def follow_the_chain(agent: Agent, releases: Releases) -> None:
    """From the first release over a barrier to the third, without help; the questions are the documented ones."""
    listed = first_three(releases)
    first, barrier, last = map(agent.offered, listed)
    agent.publish(first, dataclasses.replace(barrier, barrier="keys"), dataclasses.replace(last, rollout=Rollout()))
    agent.start(Settings(agent.server.base_url))
    versions = [release.version for release in listed]
    wait_until(
        lambda: agent.path()[-1:] == versions[-1:], 4 * agent.patience, what=f"{versions[-1]} to ask", interval=1
    )
    assert agent.path() == versions, f"the way was {agent.path()}, not over the barrier: {versions}"
    agent.machine.close()
    agent.system.expect(listed[-1])

    for release in listed:
        identity = dataclasses.replace(agent.identity, version=release.version, payload=agent.payload(release))
        asked = [dict(q.query) for q in agent.server.questions() if q.query["os_version"] == release.version]
        other = [query for query in asked if query != identity.parameters()]
        assert not other, f"{release.version} asks in another way than documented: {other[0]}"


def test_off_by_configuration(agent: Agent, releases: Releases) -> None:
    """With ``enabled = false``, which is how kola boots every machine, it asks nobody and takes nothing."""
    publish_newer(agent, releases)
    agent.start(Settings(agent.server.base_url, enabled=None))
    agent.wait_for_state("auto-updates logic disabled by configuration")
    assert not agent.server.questions(), "it asks for updates though it is switched off"
    assert agent.metric("zincati_update_agent_updates_enabled") == 0
    agent.expect_nothing_new(releases.releases[0])


def test_updates_by_hand_are_refused(agent: Agent, releases: Releases) -> None:
    """While it drives the updates, nobody else stages one by mistake: rpm-ostree refuses and names it."""
    old, new, *_ = releases.releases
    agent.publish(agent.offered(old))
    agent.start(Settings(agent.server.base_url))
    agent.wait_for_questions(1)
    target = agent.payload(new).rpartition("@")[2]
    refused = agent.rpm_ostree("deploy", "--lock-finalization", target, check=False)
    assert refused.exit_code != 0, "rpm-ostree takes updates from somebody else than Zincati"
    assert "Zincati" in refused.stderr, f"no word about Zincati: {refused.stderr}"
    agent.expect_nothing_new(old)


def test_immediate(agent: Agent, releases: Releases) -> None:
    """With the strategy ``immediate`` it fetches what the graph offers, locks, finalises and reboots into it."""
    before, (old, new, *_) = agent.machine.boot_id, releases.releases
    publish_newer(agent, releases)
    agent.start(Settings(agent.server.base_url))
    for message in (
        f"target release '{new.version}' selected, proceeding to stage it",
        f"staged deployment '{new.version}' available, proceeding to finalize it",
    ):
        agent.wait_for_message(message)
    agent.await_update(new, before)
    agent.wait_for_questions()
    agent.expect_nothing_new(new)
    assert agent.path() == [old.version, new.version], f"who asked: {agent.path()}"


@pytest.mark.kola(covers="update-order")
def test_chain_over_a_barrier(agent: Agent, releases: Releases) -> None:
    """Left alone, it goes over the barrier to the newest release, and asks with exactly the documented parameters."""
    follow_the_chain(agent, releases)


@pytest.mark.kola(needs=["updates", "zincati", "oci"], covers="update-order")
def test_chain_of_images(image_agent: Agent, releases: Releases) -> None:
    """The same for a machine that is updated by container images: the graph of pullspecs, and ``oci=true``."""
    follow_the_chain(image_agent, releases)


def test_periodic(agent: Agent, releases: Releases) -> None:
    """With the strategy ``periodic`` it stages at once, reboots in no other time than a window, and in one it does."""
    before, (old, new, *_) = agent.machine.boot_id, releases.releases
    publish_newer(agent, releases)
    clock = int(agent.machine.run("date +%s").stdout)
    now = datetime.fromtimestamp(clock, tz=UTC)
    settings = Settings(agent.server.base_url, strategy="periodic", windows=[Window.around(now + timedelta(days=3))])
    agent.start(settings)
    agent.wait_for_state(WAITING)
    staged = agent.rpm_ostree.staged()
    assert staged is not None, "outside of the window nothing is staged"
    agent.system.expect_staged(new)
    assert staged.locked, "outside of the window the next boot would take the update"
    agent.system.expect(old)
    assert agent.machine.boot_id == before, "it rebooted outside of the window"

    agent.start(dataclasses.replace(settings, windows=[Window.around(now)]))
    agent.await_update(new, before)


def test_fleet_lock(agent: Agent, releases: Releases, fleet_lock: FleetLock) -> None:
    """With ``fleet_lock`` it waits while another machine holds the lock, reboots when it gets it, and gives it back."""
    before, (old, new, *_) = agent.machine.boot_id, releases.releases
    publish_newer(agent, releases)
    settings = Settings(agent.server.base_url, strategy="fleet_lock", fleet_lock=fleet_lock.base_url, group="workers")
    with fleet_lock.held(group="workers"):
        agent.start(settings)
        assert fleet_lock.wait_for_call("steady-state").granted, "it could not say that it is up"
        denied = fleet_lock.wait_for_call("pre-reboot", timeout=UPDATE_SECONDS)
        assert not denied.granted, f"the lock was free: {denied}"
        agent.wait_for_state(WAITING)
        agent.system.expect(old)
        assert agent.machine.boot_id == before, "it rebooted without the lock"
    granted = fleet_lock.wait_for_call("pre-reboot", count=2, timeout=RETRY_SECONDS)
    assert granted.granted, f"the lock was not free: {granted}"
    agent.await_update(new, before)

    steady = fleet_lock.wait_for_call("steady-state", count=2, timeout=120)
    identity = agent.identity.node_uuid, "workers"
    assert {(call.client, call.group) for call in fleet_lock.calls()} == {identity}, f"who called: {fleet_lock.calls()}"
    assert (steady.client, steady.group) == identity
    assert not fleet_lock.holders("workers"), f"the lock is still held by {fleet_lock.holders('workers')}"


@pytest.mark.kola(covers="update-order")
def test_dead_end(agent: Agent, releases: Releases) -> None:
    """On a dead end it takes no update and tells who logs in why; when the release is none any more, the word goes."""
    old, new, *_ = releases.releases
    reason = "https://example.com/dead-end"
    update = dataclasses.replace(agent.offered(new), rollout=Rollout())
    agent.publish(dataclasses.replace(agent.offered(old), deadend=reason), update)
    agent.start(Settings(agent.server.base_url))
    agent.wait_for_message(f"current release detected as dead-end, reason: {reason}")
    agent.wait_for_questions()
    motd = agent.machine.read_file(DEADEND_MOTD)
    assert reason in motd, f"{DEADEND_MOTD} does not say why: {motd!r}"
    assert agent.metric("zincati_cincinnati_booted_release_is_deadend") == 1
    agent.expect_nothing_new(old)

    agent.publish(agent.offered(old))
    agent.wait_for_message("current release detected as not a dead-end")
    agent.wait_for_questions()
    assert agent.machine.run(["test", "-e", DEADEND_MOTD], check=False).exit_code == 1, "the word of the dead end stays"


@pytest.mark.kola(covers="update-order")
def test_wariness(agent: Agent, releases: Releases) -> None:
    """A rollout that has reached half of the machines is not for a wary one, and is for one that is not."""
    before, (old, new, *_) = agent.machine.boot_id, releases.releases
    publish_newer(agent, releases, Rollout(0.5))
    agent.start(Settings(agent.server.base_url, wariness=0.9))
    agent.wait_for_questions(3)
    agent.expect_nothing_new(old)
    assert agent.server.questions()[-1].query["rollout_wariness"] == "0.900000"

    agent.start(Settings(agent.server.base_url, wariness=0.0))
    agent.await_update(new, before)


@pytest.mark.kola(covers="update-source")
@pytest.mark.parametrize("fault", [Outage(), Outage(503)], ids=["closed", "unavailable"])
def test_outage_of_the_update_server(agent: Agent, releases: Releases, fault: Outage) -> None:
    """While the update server is away it goes on asking, and takes the update when the server is back."""
    before, (old, new, *_) = agent.machine.boot_id, releases.releases
    publish_newer(agent, releases)
    with agent.server.server.fault(fault, GRAPH_PATH):
        agent.start(Settings(agent.server.base_url))
        agent.wait_for_message("failed to check Cincinnati for updates")
        agent.wait_for_questions()
        agent.expect_nothing_new(old)
        agent.machine.wait_for_unit("zincati.service")
    agent.await_update(new, before)


@pytest.mark.kola(covers="rollback")
def test_rollback_is_respected(agent: Agent, releases: Releases) -> None:
    """Who rolls back stays there: it does not take again the release that is still installed, though it is offered."""
    before, (old, new, *_) = agent.machine.boot_id, releases.releases
    publish_newer(agent, releases)
    agent.start(Settings(agent.server.base_url))
    agent.await_update(new, before)
    agent.machine.run(["systemctl", "stop", "zincati.service"], sudo=True)
    agent.system.rollback()
    agent.machine.reboot()
    agent.system.expect(old)
    agent.wait_for_questions()
    agent.expect_nothing_new(old)
