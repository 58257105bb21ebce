"""Releases in their order: what the update server offers to a guest, and a guest that follows it over a barrier."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import pytest

from kola.cincinnati import Release, Rollout
from kola.machine import Machine
from kola.releases import Release as Commit
from kola.releases import Releases
from kola.updates import GRAPH_PATH, UpdateServer
from tests.external.upgrade.client import Answer, Identity, read_graph
from tests.external.upgrade.system import System, first_three, identify

pytestmark = pytest.mark.kola(needs=["updates"], tags=["upgrade"], covers="update-order", timeout=1200)

BARRIER, DEADEND = "new signing keys", "cannot be updated: reinstall"


@dataclass(frozen=True)
class Asking:
    """A machine that asks the update server."""

    machine: Machine
    server: UpdateServer
    identity: Identity

    def curl(self, parameters: dict[str, str]) -> tuple[int, str]:
        """Ask with these parameters; returns status and body."""
        said = [word for name, value in parameters.items() for word in ("--data-urlencode", f"{name}={value}")]
        url = f"{self.server.base_url}{GRAPH_PATH}"
        command = ["curl", "-sS", "--get", "-H", "Accept: application/json", "-w", "\n%{http_code}", *said, url]
        body, _, status = self.machine.run(command).stdout.rpartition("\n")
        return int(status), body

    def ask(self, release: Commit, *, wariness: float | None = None) -> Answer:
        """What is offered to a machine that runs this release."""
        identity = dataclasses.replace(
            self.identity, version=release.version, payload=release.commit, wariness=wariness
        )
        status, body = self.curl(identity.parameters())
        assert status == 200, f"the update server answered {status}: {body}"
        return read_graph(body, identity)

    def offered(self, release: Commit, *, wariness: float | None = None) -> str | None:
        """The commit that it would go to."""
        update = self.ask(release, wariness=wariness).update
        return update.payload if update else None

    def publish(self, *releases: Release) -> None:
        """Let the machine's stream be these releases."""
        self.server.publish(releases, stream=self.identity.stream, basearch=self.identity.basearch)


@pytest.fixture
def asking(machine: Machine, releases: Releases, update_server: UpdateServer) -> Asking:
    """The machine with what it knows of itself."""
    return Asking(machine, update_server, identify(machine, releases.releases[0]))


def three(releases: Releases, newest: Rollout | None = None) -> tuple[Release, Release, Release]:
    """The first releases of the image, the second a barrier, the third rolled out."""
    one, two, three = (Release(found.version, found.commit) for found in first_three(releases))
    return (
        one,
        dataclasses.replace(two, barrier=BARRIER),
        dataclasses.replace(three, rollout=newest or Rollout()),
    )


@pytest.mark.smoke
@pytest.mark.kola(isolation="shared")
def test_what_a_guest_is_offered(asking: Asking, releases: Releases) -> None:
    """Who runs which release is offered which: over the barrier, out of no dead end, in a rollout by its wariness."""
    one, two, three_ = first_three(releases)
    first, barrier, last = three(releases)

    asking.publish(first, barrier, last)
    offered = [asking.offered(release) for release in (one, two, three_)]
    assert offered == [two.commit, three_.commit, None], f"over the barrier are offered: {offered}"

    asking.publish(first, dataclasses.replace(barrier, barrier=None, rollout=Rollout()), last)
    assert asking.offered(one) == three_.commit, "without a barrier the newest release is the next one"

    asking.publish(first, dataclasses.replace(barrier, deadend=DEADEND), last)
    answer = asking.ask(two)
    assert (answer.update, answer.deadend) == (None, DEADEND), f"from a dead end is offered: {answer}"
    assert asking.ask(one).deadend is None

    asking.publish(first, barrier, dataclasses.replace(last, rollout=Rollout(0.3)))
    seen = {wariness: asking.offered(two, wariness=wariness) == three_.commit for wariness in (0.0, 0.2, 0.4, 1.0)}
    assert seen == {0.0: True, 0.2: True, 0.4: False, 1.0: False}, f"a rollout at 30 % is seen by wariness: {seen}"

    asking.publish(first, barrier, dataclasses.replace(last, rollout=Rollout(1.0, int(time.time()) + 86400)))
    assert asking.offered(two, wariness=0.01) is None, "a rollout that has not begun is offered"
    assert asking.offered(two, wariness=0.0) == three_.commit, "a canary does not wait for the rollout"

    stranger = asking.ask(Commit("0" * 64, "", "0"))
    assert not stranger.known, "a release that was never published is in the graph"


@pytest.mark.kola(isolation="shared", covers="update-source")
def test_a_question_without_its_parameters(asking: Asking, releases: Releases) -> None:
    """A question without its stream or architecture is refused with 400 and names it; all else is optional."""
    asking.publish(*three(releases))
    whole = asking.identity.parameters()
    for name in whole:
        status, body = asking.curl({key: value for key, value in whole.items() if key != name})
        wanted = 400 if name in {"basearch", "stream"} else 200
        assert status == wanted, f"without {name}: {status} {body}"
        if wanted == 400:
            assert name in body, f"no word about {name}: {body}"
    status, body = asking.curl(whole | {"stream": "no-such-stream"})
    assert status == 400, f"an unknown stream: {status} {body}"


@pytest.mark.slow
def test_chain_over_a_barrier(system: System, releases: Releases, asking: Asking) -> None:
    """A machine that follows the update server comes to the newest release, over the barrier, and stays there."""
    machine, wanted = system.machine, first_three(releases)[1:]
    first, barrier, last = three(releases)
    asking.publish(first, barrier, last)
    booted = releases.releases[0]
    for release in wanted:
        update = asking.ask(booted).update
        assert update is not None, f"nothing is offered to {booted.version}"
        assert (update.version, update.payload) == (release.version, release.commit), (
            f"{booted.version} is offered {update.version}, not {release.version}"
        )
        booted = next(found for found in releases.releases if found.commit == update.payload)
        system.stage(booted)
        system.expect_staged(booted)
        machine.reboot()
        system.expect(booted)
    assert asking.ask(booted).update is None, "something is offered to the newest release"

    said = [dict(question.query) for question in asking.server.questions()]
    identities = [dataclasses.replace(asking.identity, version=r.version, payload=r.commit) for r in releases.releases]
    assert said == [identity.parameters() for identity in identities[:3]], f"other questions than Zincati's: {said}"

    asking.publish(
        first, barrier, dataclasses.replace(last, deadend=DEADEND), Release("99", "f" * 64, rollout=Rollout())
    )
    answer = asking.ask(booted)
    assert (answer.update, answer.deadend) == (None, DEADEND), f"from a dead end is offered: {answer}"
