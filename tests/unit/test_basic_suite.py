"""How the suite `basic` judges what a machine shows."""

from __future__ import annotations

import pytest

from tests.external.basic.test_filesystems import not_given
from tests.external.basic.test_permissions import known
from tests.external.basic.test_units import Service, loops, services

SHOWN = """\
Id=zincati.service
SubState=auto-restart
NRestarts=1
RestartUSec=10s

Id=sshd.service
SubState=running
NRestarts=0
RestartUSec=1min 30.5s

Id=queued.service
SubState=auto-restart-queued
NRestarts=1
RestartUSec=100ms
"""


def test_services() -> None:
    assert services(SHOWN) == {
        "zincati.service": Service(1, True, 10),
        "sshd.service": Service(0, False, 90.5),
        "queued.service": Service(1, False, 0.1),
    }


@pytest.mark.parametrize(
    ("before", "after", "looping"),
    [
        (Service(1, False, 0.1), Service(1, False, 0.1), False),  # the journal's, when the initramfs is left
        (Service(0, False, 2), Service(1, False, 2), False),  # died, and runs again
        (Service(0, True, 42), Service(1, False, 42), False),
        (Service(0, True, 42), Service(1, True, 42), True),
        (Service(1, False, 2), Service(4, False, 2), True),
        (Service(3, False, 2), Service(3, False, 2), False),  # it was the boot, and it is over
        (Service(6, False, 90), Service(6, False, 90), True),
    ],
)
def test_loops(before: Service, after: Service, *, looping: bool) -> None:
    assert loops({"x.service": before}, {"x.service": after}) == ({"x.service": after.restarts} if looping else {})
    assert loops({}, {"x.service": Service(0, True, 1)}) == {}


def test_arguments_that_the_first_boot_adds() -> None:
    """They are not missed, unless the kernel was given another; any other argument is."""
    entry = ["mitigations=auto", "ostree=/a", "root=UUID=1", "rw", "rootflags=prjquota", "boot=UUID=2"]
    assert not_given(entry, ["mitigations=auto", "ostree=/a", "ignition.firstboot"]) == []
    assert not_given(entry, ["ostree=/a"]) == ["mitigations=auto"]
    assert not_given(entry, [*entry[:2], "root=LABEL=root"]) == ["root=UUID=1"]
    assert not_given(entry, ["mitigations=auto", "ostree=/b"]) == ["ostree=/a"]


def test_known_programs() -> None:
    assert known("/usr/bin/sudo", 0o4111)
    assert known("/usr/sbin/unix_chkpwd", 0o4755)
    assert known("/usr/bin/unix_chkpwd", 0o2755)
    assert not known("/usr/bin/sudo", 0o6111)
    assert not known("/usr/bin/bash", 0o4755)
    assert not known("/usr/lib/sudo", 0o4755)
    assert not known("/usr/local/bin/admin-shell", 0o4755)
