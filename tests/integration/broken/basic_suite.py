"""The basic suite against a machine that is broken on purpose, one fault after the other: each must be noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kola.errors import KolaError
from kola.machine import Machine
from tests.external import basic
from tests.external.basic import (
    test_filesystems,
    test_hardware,
    test_health,
    test_ignition_files,
    test_journal,
    test_network,
    test_permissions,
    test_podman,
    test_selinux,
    test_ssh,
    test_two_machines,
    test_units,
    test_users,
)

Check = Callable[..., None]

KEY = "/etc/kola-basic"
DROP_IN = "/etc/systemd/system/kola-basic-drop-in.service.d/10-colour.conf"
SSHD = "/etc/ssh/sshd_config.d/00-broken.conf"
RELOAD = "systemctl reload ssh"
CORES_KEYS_FOR_ROOT = (
    r"StrictModes no\nAuthorizedKeysFile /var/home/core/.ssh/authorized_keys .ssh/authorized_keys.d/ignition\n"
)
SAVE_ROUTE = "ip route show default >/run/route"
RW_BOOT = "mount -o remount,rw /boot && sed -i"

FAULTS: list[tuple[Check, dict[str, Any], str, str]] = [
    # what must notice it, its parameters, how to break, how to repair
    (
        test_ignition_files.test_contents_are_exact,
        {},
        f"printf x >>{KEY}/every-byte",
        f"truncate -s 256 {KEY}/every-byte",
    ),
    (
        test_ignition_files.test_mode_and_owner,
        {"name": "plain", "expected": "640 core 3001"},
        f"chmod 644 {KEY}/plain",
        f"chmod 640 {KEY}/plain",
    ),
    (
        test_ignition_files.test_mode_and_owner,
        {"name": "plain", "expected": "640 core 3001"},
        f"chown root {KEY}/plain",
        f"chown core {KEY}/plain",
    ),
    (test_ignition_files.test_directory, {}, "chmod 755 /var/lib/kola-basic", "chmod 750 /var/lib/kola-basic"),
    (test_ignition_files.test_links, {}, f"ln -sfn /x {KEY}/symbolic", f"ln -sfn plain {KEY}/symbolic"),
    (
        test_ignition_files.test_links,
        {},
        f"cp --remove-destination {KEY}/plain {KEY}/hard",
        f"ln -f {KEY}/plain {KEY}/hard",
    ),
    (test_ignition_files.test_hostname, {}, "hostname other", "hostname kola-basic"),
    (test_users.test_passwd_entry, {}, "usermod -s /bin/bash tester", "usermod -s /bin/sh tester"),
    (test_users.test_groups, {}, "usermod -aG kola-basic core", "gpasswd -d core kola-basic"),
    (test_users.test_groups, {}, "gpasswd -d tester kola-basic", "usermod -aG kola-basic tester"),
    (
        test_users.test_authorized_key,
        {},
        "chmod 666 $(grep -rl ' kola-basic$' /var/home/tester/.ssh)",
        "chmod 600 $(grep -rl ' kola-basic$' /var/home/tester/.ssh)",
    ),
    (test_users.test_password_hash_and_locked_passwords, {}, "passwd -d core", "usermod -p '!' core"),
    (
        test_units.test_enabled_unit_ran_once,
        {},
        "echo ran >>/var/lib/kola-basic/enabled",
        "echo ran >/var/lib/kola-basic/enabled",
    ),
    (
        test_units.test_enabled_unit_ran_once,
        {},
        "touch /var/lib/kola-basic/disabled",
        "rm /var/lib/kola-basic/disabled",
    ),
    (
        test_units.test_drop_in_changes_a_unit_of_the_config,
        {},
        f"mv {DROP_IN} /run/ && systemctl daemon-reload && systemctl restart kola-basic-drop-in",
        f"mv /run/10-colour.conf {DROP_IN} && systemctl daemon-reload && systemctl restart kola-basic-drop-in",
    ),
    (
        test_units.test_masked_unit,
        {},
        "systemctl unmask systemd-tmpfiles-clean.timer",
        "systemctl mask systemd-tmpfiles-clean.timer",
    ),
    (
        test_health.test_boot_completed_without_failed_units,
        {},
        "systemd-run --quiet --wait --unit=kola-broken false || true",
        "systemctl reset-failed kola-broken",
    ),
    (test_health.test_clock, {}, "date -s @$(($(date +%s) - 3600))", "date -s @$(($(date +%s) + 3600))"),
    (test_permissions.test_shadow_files, {}, "chmod 644 /etc/shadow", "chmod 640 /etc/shadow"),
    (
        test_permissions.test_private_host_keys,
        {},
        "chmod 644 /etc/ssh/ssh_host_ed25519_key",
        "chmod 600 /etc/ssh/ssh_host_ed25519_key",
    ),
    (
        test_permissions.test_sudoers,
        {},
        "install -m 644 /dev/null /etc/sudoers.d/broken",
        "rm /etc/sudoers.d/broken",
    ),
    (
        test_permissions.test_nothing_is_writable_for_everybody,
        {"folder": "/etc"},
        "install -m 666 /dev/null /etc/broken",
        "rm /etc/broken",
    ),
    (test_permissions.test_users_cannot_read_secrets, {}, f"chmod 644 {KEY}/every-byte", f"chmod 600 {KEY}/every-byte"),
    (
        test_filesystems.test_usr_is_read_only,
        {},
        "mount -o remount,bind,rw /usr",
        "rm -f /usr/kola-basic; mount -o remount,bind,ro /usr",
    ),
    (
        test_filesystems.test_state_is_writable,
        {"folder": "/var/home/core"},
        "cd /; mount --bind /var/home/core /var/home/core && mount -o remount,bind,ro /var/home/core",
        "cd /; umount --lazy /var/home/core",
    ),
    (
        test_filesystems.test_boot_has_the_entry_that_booted,
        {},
        f"{RW_BOOT} 's/^options /options never-used /' /boot/loader/entries/*.conf",
        "sed -i 's/^options never-used /options /' /boot/loader/entries/*.conf && mount -o remount,ro /boot",
    ),
    (
        test_filesystems.test_boot_has_the_entry_that_booted,
        {},
        f"{RW_BOOT} 's,^initrd ,initrd /nowhere,' /boot/loader/entries/*.conf",
        "sed -i 's,^initrd /nowhere,initrd ,' /boot/loader/entries/*.conf && mount -o remount,ro /boot",
    ),
    (
        test_network.test_default_route_and_its_gateway,
        {},
        f"{SAVE_ROUTE}; ip route del default",
        "ip route add $(cat /run/route)",
    ),
    (
        test_network.test_default_route_and_its_gateway,
        {},
        f"{SAVE_ROUTE}; ip route replace default via 10.0.2.77 dev $(sed 's/.* dev //; s/ .*//' /run/route)",
        "ip route del default via 10.0.2.77; ip route replace $(cat /run/route)",
    ),
    (
        test_network.test_names_are_resolved,
        {},
        "touch /run/empty; mount --bind /run/empty $(readlink -f /etc/resolv.conf)",
        "umount $(readlink -f /etc/resolv.conf)",
    ),
    (test_network.test_own_name_is_resolved, {}, "hostname nobody-knows", "hostname kola-basic"),
    (
        test_ssh.test_passwords_are_refused,
        {},
        f"echo PasswordAuthentication yes >{SSHD}; {RELOAD}",
        f"rm {SSHD}; {RELOAD}",
    ),
    (
        test_ssh.test_root_is_refused_where_core_is_let_in,
        {},
        f"printf '{CORES_KEYS_FOR_ROOT}' >{SSHD}; {RELOAD}",
        f"rm {SSHD}; {RELOAD}",
    ),
    (
        test_ssh.test_core_has_sudo_without_a_password,
        {},
        "echo 'tester ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/broken; chmod 440 /etc/sudoers.d/broken",
        "rm /etc/sudoers.d/broken",
    ),
    (
        test_podman.test_podman_info,
        {"rootless": False},
        "touch /run/empty; mount --bind /run/empty /usr/bin/crun",
        "umount /usr/bin/crun",
    ),
    (
        test_selinux.test_mode_is_the_configured_one,
        {},
        "cat /sys/fs/selinux/enforce >/run/enforce; setenforce $((1 - $(cat /run/enforce)))",
        "setenforce $(cat /run/enforce)",
    ),
    (test_selinux.test_labels_of_what_ignition_wrote, {}, "chcon -t tmp_t /etc/hostname", "restorecon /etc/hostname"),
    (test_journal.test_audit_records_reach_the_journal, {"watched": ...}, "auditctl -e 0", "auditctl -e 1"),
    # this machine has neither the disk nor the arguments of the other marker
    (test_hardware.test_root_has_grown_to_the_disk, {}, "true", "true"),
    (test_hardware.test_extra_disk, {}, "true", "true"),
    (test_hardware.test_kernel_arguments, {}, "true", "true"),
    (test_two_machines.test_identities_are_unique, {"machines": ...}, "true", "true"),
]


@pytest.mark.kola(
    isolation="shared",
    ignition=f"{next(iter(basic.__path__))}/basic.ign",
    skip_checks={"avc-denial": "faults on purpose", "failed-unit": "faults on purpose"},
)
@pytest.mark.parametrize(
    ("check", "arguments", "breaks", "repairs"), FAULTS, ids=[f"{i}-{f[0].__name__}" for i, f in enumerate(FAULTS)]
)
def test_fault_is_noticed(machine: Machine, check: Check, arguments: dict[str, Any], breaks: str, repairs: str) -> None:
    """A test fails while the fault is there, and passes again without it."""
    if "machines" in arguments:
        arguments = {"machines": [machine, machine]}
    elif "watched" in arguments:
        arguments = {"watched": machine}
    else:
        arguments = {"machine": machine, **arguments}
    machine.run(breaks, sudo=True)
    try:
        with pytest.raises((AssertionError, KolaError)):
            check(**arguments)
    finally:
        machine.run(repairs, sudo=True)
    if breaks != "true":
        check(**arguments)
