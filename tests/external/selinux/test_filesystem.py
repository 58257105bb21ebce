"""The labels on a file system that Ignition made, on a disk of its own: it began without any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.external.selinux.contexts import show, sweep, types
from tests.external.selinux.test_boot import no_denials

if TYPE_CHECKING:
    from kola.machine import Machine

# A machine of its own: no cloud has a disk with a serial that one can choose, and the other tests need none.
pytestmark = pytest.mark.kola(
    isolation="shared",
    ignition="filesystem.ign",
    disks=[{"size_gib": 1, "serial": "selinux"}],
    needs=["selinux"],
    tags=["selinux", "security"],
    covers="selinux-label",
)

FOLDER = "/var/lib/kola-data"
UNIT = "var-lib-kola\\x2ddata.mount"


def test_a_file_system_that_ignition_made(machine: Machine) -> None:
    """The root directory of a new file system has its mount point's label, and what is created in it inherits that."""
    assert machine.run(["findmnt", "-no", "FSTYPE", FOLDER]).stdout.strip() == "xfs"
    machine.run(f"mkdir {FOLDER}/new && touch {FOLDER}/new/file", sudo=True)
    paths = [f"{FOLDER}{path}" for path in ("", "/file", "/a", "/a/b", "/new", "/new/file")]
    try:
        actual = types(machine, paths)
        wrong = sweep(machine, FOLDER)
    finally:
        machine.run(["rm", "-r", f"{FOLDER}/new"], sudo=True)
    assert set(actual.values()) == {"var_lib_t"}, actual
    assert not wrong, f"wrong labels below {FOLDER}: {show(wrong)}"


def test_a_mount_point_below_the_mount(machine: Machine) -> None:
    """The directory that a file system is mounted on, made by Ignition, is labelled too; mounted again nothing changes.

    Nor is anything denied, at the first boot or now.
    """
    before = machine.run(f"find {FOLDER} -printf '%p %Z\\n'", sudo=True).stdout
    assert f"{FOLDER}/file " in before
    machine.run(["systemctl", "stop", UNIT], sudo=True)
    try:
        below = types(machine, [FOLDER])
    finally:
        machine.run(["systemctl", "start", UNIT], sudo=True)
    assert below == {FOLDER: "var_lib_t"}
    assert machine.run(f"find {FOLDER} -printf '%p %Z\\n'", sudo=True).stdout == before
    no_denials(machine)
