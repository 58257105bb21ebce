"""What a system must not accept, and what it must survive while it fetches an update."""

from __future__ import annotations

import pytest

from kola.faults import Corrupted, Kind, Outage, Truncated
from kola.httpd import HttpServer
from kola.releases import Releases
from tests.external.upgrade.system import System

MIB = 1024 * 1024

pytestmark = pytest.mark.kola(needs=["updates"], tags=["upgrade"], covers="update-source", timeout=900)


@pytest.mark.kola(covers="update-trust")
def test_untrusted_commits_are_refused(system_by_commits: System, releases: Releases) -> None:
    """A commit without a signature, or with a stranger's, is refused with a word about signatures, and not staged."""
    if releases.unsigned is None or releases.wrongly_signed is None:
        pytest.skip("the image brings no such commits (image.json: updates: unsigned, wrongly_signed)")
    for release in (releases.unsigned, releases.wrongly_signed):
        refused = system_by_commits.stage(release, check=False)
        assert refused.exit_code != 0, f"{release.ref} was accepted"
        assert "signature" in refused.stderr.lower(), f"no word about signatures: {refused.stderr}"
        system_by_commits.expect_only(releases.releases[0])


@pytest.mark.parametrize(
    "fault", [Outage(), Outage(503), Truncated(), Corrupted()], ids=["closed", "unavailable", "truncated", "corrupted"]
)
def test_faults_of_the_server(
    system_by_commits: System, releases: Releases, http_server: HttpServer, fault: Kind
) -> None:
    """A server that goes away or sends rubbish: the update fails clearly, and succeeds when the server is well."""
    system, (old, new, *_) = system_by_commits, releases.releases
    # The first objects arrive; the fault sets in with those of one of 256 folders.
    with http_server.fault(fault, "/repo/objects/a[0-7]/*.filez"):
        failed = system.stage(new, check=False)
    assert failed.exit_code != 0, "the update succeeded without all its objects"
    assert "error:" in failed.stderr, f"no clear failure: {failed.stderr}"
    system.expect_only(old)
    system.stage(new)
    system.expect_staged(new)


@pytest.mark.kola(covers="disk-full")
def test_full_disk(system: System, releases: Releases) -> None:
    """With the disk full the update fails and says why, the system stays whole, and with space it succeeds."""
    machine, (old, new, *_) = system.machine, releases.releases
    free = int(machine.run("stat --file-system --format='%f %S' /var").stdout.split()[0]) * 4096
    assert free > 100 * MIB
    machine.run(["fallocate", "--length", str(free - 30 * MIB), "/var/kola-filler"], sudo=True, timeout=120)
    failed = system.stage(new, check=False)
    assert failed.exit_code != 0, "the update found space where there is none"
    assert "space" in failed.stderr, f"no word about space: {failed.stderr}"
    system.expect_only(old)
    machine.run(["rm", "/var/kola-filler"], sudo=True)
    system.stage(new)
    system.expect_staged(new)
