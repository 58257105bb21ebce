"""rpm-ostree, by which Fedora CoreOS is updated: by hand, as Zincati calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kola.machine import Machine
from kola.releases import Releases
from tests.external.upgrade.rpmostree import RpmOstree
from tests.external.upgrade.system import System, first_three

pytestmark = [
    pytest.mark.slow,
    pytest.mark.kola(needs=["updates", "rpm-ostree"], tags=["upgrade"], covers="update", timeout=1500),
]

OWN_ARGUMENT = "kola.layered=kept"
OFFICIAL = "quay.io/fedora/fedora-coreos"
"""The name that Fedora CoreOS' policy for containers asks a signature for; all others it takes without one."""


def test_locked_until_finalised(system: System, rpm_ostree: RpmOstree, releases: Releases) -> None:
    """A reboot does not take a locked update; finalised, it boots at once, and the release before it can come back."""
    old, new, *_ = releases.releases
    rpm_ostree.stage_locked(system.way.stage_command(new))
    system.expect_staged(new)
    system.machine.reboot()
    system.expect(old)

    staged = rpm_ostree.stage_locked(system.way.stage_command(new))
    rpm_ostree.finalize(staged.checksum)
    system.expect(new)
    found = [(deployment.name, deployment.booted, deployment.staged) for deployment in rpm_ostree.status()]
    wanted = [(system.name(new), True, False), (system.name(old), False, False)]
    assert found == wanted, f"rpm-ostree's status: {found}"

    rpm_ostree("rollback")
    system.machine.reboot()
    system.expect(old)


@pytest.mark.kola(covers="update-trust")
def test_only_the_named_commit_is_finalised(system: System, rpm_ostree: RpmOstree, releases: Releases) -> None:
    """To finalise something else than what is staged is refused, and the machine does not reboot."""
    old, new, newest = first_three(releases)
    rpm_ostree.stage_locked(system.way.stage_command(new))
    refused = rpm_ostree("finalize-deployment", newest.commit, check=False)
    assert refused.exit_code != 0, f"finalising {newest.version} took {new.version}"
    staged = rpm_ostree.staged()
    assert staged is not None, "the staged update is gone"
    assert staged.locked, "the staged update is no longer locked"
    system.expect(old)


@pytest.mark.kola(covers="kernel-args")
def test_kernel_arguments_are_kept(system: System, rpm_ostree: RpmOstree, releases: Releases) -> None:
    """A kernel argument that was added by ``rpm-ostree kargs`` is there after the update, once."""
    rpm_ostree("kargs", f"--append={OWN_ARGUMENT}")
    system.machine.reboot()
    system.update(releases.releases[1])
    cmdline = system.machine.run("cat /proc/cmdline").stdout.split()
    assert cmdline.count(OWN_ARGUMENT) == 1, f"{OWN_ARGUMENT} is not there once: {cmdline}"


@pytest.mark.kola(covers="state-lost")
def test_layered_package_is_kept(system: System, rpm_ostree: RpmOstree, releases: Releases) -> None:
    """A package that was layered on the release is layered on the next one, and its files are there."""
    if not releases.package:
        pytest.skip("the image brings no package to layer (image.json: updates: package)")
    machine, package = system.machine, Path(releases.package)
    machine.put(package, f"/var/tmp/{package.name}", sudo=True)
    machine.run("rm -f /etc/yum.repos.d/*.repo", sudo=True)  # they cannot be reached
    name = machine.run(["rpm", "-qp", "--nosignature", "--qf", "%{NAME}", f"/var/tmp/{package.name}"]).stdout
    rpm_ostree("install", f"/var/tmp/{package.name}")
    machine.reboot()
    layered = rpm_ostree.booted().packages
    assert any(found.startswith(name) for found in layered), f"{name} is not layered: {layered}"

    system.update(releases.releases[1])
    booted = rpm_ostree.booted()
    assert booted.packages == layered, f"layered before the update: {layered}; after it: {booted.packages}"
    machine.run(["rpm", "--verify", "--nomtime", name], sudo=True)


@pytest.mark.kola(covers="rollback")
def test_cleanup(system: System, rpm_ostree: RpmOstree, releases: Releases) -> None:
    """``rpm-ostree cleanup`` takes away the update that waits, or the release before, and never what runs."""
    old, new, *_ = releases.releases
    system.stage(new)
    rpm_ostree("cleanup", "--pending")
    system.expect_only(old)
    system.machine.reboot()
    system.expect(old)

    system.update(new)
    rpm_ostree("cleanup", "--rollback")
    system.expect_only(new)
    system.machine.reboot()
    system.expect(new)


@pytest.mark.kola(needs=["updates", "rpm-ostree", "oci"])
def test_image_by_its_digest(rebased: System, releases: Releases) -> None:
    """A machine that follows the tag of an image goes to the very digest that it is told, and back again."""
    rpm_ostree, (old, new, *_) = RpmOstree(rebased.machine), releases.releases
    staged = rpm_ostree.stage_locked(["rpm-ostree", "deploy", rebased.name(new)])
    rebased.expect_staged(new)
    rpm_ostree.finalize(staged.checksum)
    rebased.expect(new)
    rebased.rollback()
    rebased.machine.reboot()
    rebased.expect(old)


@pytest.mark.kola(needs=["updates", "rpm-ostree", "oci"], covers="update-trust")
def test_unsigned_image_is_refused(machine: Machine, releases: Releases, images: dict[str, str]) -> None:
    """An image that must be signed, as Fedora's must be, and is not is refused; not so if it need not be."""
    rpm_ostree, image = RpmOstree(machine), images[releases.releases[1].commit]
    place, _, digest = image.partition("@")
    # The policy goes by the name; the bytes, and signatures if there were any, come from the registry of the test.
    moved = f'[[registry]]\nprefix = "{OFFICIAL}"\nlocation = "{place}"\ninsecure = true\n'
    machine.write_file("/etc/containers/registries.conf.d/99-kola-official.conf", moved, mode=0o644, sudo=True)
    before = rpm_ostree.status()
    official = f"ostree-image-signed:docker://{OFFICIAL}@{digest}"
    refused = rpm_ostree("rebase", "--lock-finalization", official, check=False)
    assert refused.exit_code != 0, f"{official} was taken without a signature"
    said = refused.stderr.lower()
    # The first is said where no policy asks for signatures: then nothing can be taken for signed.
    assert "insecureacceptanything" in said or "signature" in said, f"no word about signatures: {refused.stderr}"
    assert rpm_ostree.status() == before, f"something changed: {rpm_ostree.status()}"
    rpm_ostree("rebase", "--lock-finalization", f"ostree-unverified-registry:{image}")
    staged = rpm_ostree.staged()
    assert staged is not None, "nothing was staged"
    assert staged.digest == digest, f"staged is {staged}"
