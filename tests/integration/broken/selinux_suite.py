"""The SELinux suite against a machine that is broken on purpose, one fault after the other: each must be named."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from kola.errors import KolaError
from kola.machine import Machine
from tests.external import selinux
from tests.external.selinux import test_boot, test_labels, test_mode, test_policy, test_processes

Check = Callable[..., None]

FOLDER = "/etc/selinux/$(sed -n s/^SELINUXTYPE=//p /etc/selinux/config)/policy"
LOOSEN = "echo '(typepermissive {0})' >/tmp/loose.cil && semodule -i /tmp/loose.cil"
# A new file system has no labels.
UNLABEL = "truncate -s 16M /var/tmp/new && mkfs.ext4 -q /var/tmp/new && mkdir -p {0} && mount -o loop /var/tmp/new {0}"

FAULTS: list[tuple[Check, dict[str, Any], str, str, str]] = [
    # what must notice it, its parameters, what it must say, how to break, how to repair
    (test_mode.test_enforcing, {}, "Permissive", "setenforce 0", "setenforce 1"),
    (
        test_mode.test_enforcing,
        {},
        "the next boot will not enforce",
        "sed -i s/=enforcing/=permissive/ /etc/selinux/config",
        "cp -a /usr/etc/selinux/config /etc/selinux/config",
    ),
    (
        test_mode.test_no_domain_that_runs_is_permissive,
        {},
        "sshd_t",
        LOOSEN.format("sshd_t"),
        "semodule -r loose",
    ),
    (
        test_policy.test_no_permissive_domains,
        {},
        "ping_t",
        LOOSEN.format("ping_t"),
        "true",
    ),
    (test_policy.test_no_local_modules, {}, "loose", "true", "semodule -r loose"),
    (
        test_policy.test_loaded_policy_is_the_one_on_the_disk,
        {},
        "another policy than the file",
        f"cp -a {FOLDER} /run/policy; {LOOSEN.format('ping_t')} && cp /run/policy/* {FOLDER}/",
        "semodule -r loose",
    ),
    (
        test_labels.test_sweep,
        {"folder": "/etc"},
        r"/etc/hosts: tmp_t:s0, not ",
        "chcon -t tmp_t /etc/hosts",
        "restorecon /etc/hosts",
    ),
    (
        # A type that restorecon leaves alone unless it is forced.
        test_labels.test_sweep,
        {"folder": "/var"},
        r"/var/lib/systemd: container_file_t:s0:c1,c2, not ",
        "chcon -t container_file_t -l s0:c1,c2 /var/lib/systemd",
        "restorecon -F /var/lib/systemd",
    ),
    (
        test_labels.test_sweep,
        {"folder": "/boot"},
        r"/boot/grub2: etc_t:s0, not boot_t:s0",
        "mount -o remount,rw /boot && chcon -t etc_t /boot/grub2",
        "restorecon /boot/grub2 && mount -o remount,ro /boot",
    ),
    (
        test_labels.test_nothing_is_unlabeled,
        {},
        "/var/lib/kola-unlabeled",
        UNLABEL.format("/var/lib/kola-unlabeled"),
        "umount /var/lib/kola-unlabeled && rm -r /var/lib/kola-unlabeled /var/tmp/new",
    ),
    (
        test_labels.test_what_ignition_wrote,
        {},
        "/var/home/tester/folder/file: etc_t",
        "chcon -t etc_t /var/home/tester/folder/file",
        "restorecon /var/home/tester/folder/file",
    ),
    (test_labels.test_top_directories, {}, "/var: usr_t, not var_t", "chcon -t usr_t /var", "restorecon /var"),
    (
        test_processes.test_no_service_is_left_unconfined,
        {},
        "sleep .* in init",
        "systemd-run --quiet --unit=stray --property=Type=exec sleep 1000",
        "systemctl stop stray",
    ),
    (
        test_boot.no_denials,
        {},
        "ping_t",
        "systemd-run -q --wait --collect -p SELinuxContext=system_u:system_r:ping_t:s0 /bin/true || true",
        "true",
    ),
]


@pytest.mark.kola(
    isolation="shared",
    ignition=f"{next(iter(selinux.__path__))}/selinux.ign",
    skip_checks={"avc-denial": "faults on purpose"},
)
@pytest.mark.parametrize("fault", FAULTS, ids=[f"{i}-{fault[0].__name__}" for i, fault in enumerate(FAULTS)])
def test_fault_is_named(machine: Machine, fault: tuple[Check, dict[str, Any], str, str, str]) -> None:
    """A test fails while the fault is there and names it, and passes again without it."""
    check, arguments, says, breaks, repairs = fault
    machine.run(breaks, sudo=True, timeout=180)
    try:
        with pytest.raises((AssertionError, KolaError)) as failure:
            check(machine=machine, **arguments)
        assert re.search(says, str(failure.value)), failure.value
    finally:
        machine.run(repairs, sudo=True, timeout=180)
    if repairs != "true":
        check(machine=machine, **arguments)
