"""The texts are cut out of real consoles and journals; escape sequences and carriage returns are as they came."""

import json

import pytest

from kola.diagnose import diagnose, exit_loss, ignition_has_spoken, worth_a_look

HEALTHY = (
    "\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS (version 1.16.3-debian-1.16.3-2~bpo12+1)\r\n"
    "Booting from Hard Disk...\r\nGRUB loading...\r\n"
    "\x1b[0;30;47mWelcome to GRUB!\x1b[01;01Herror: you need to load the kernel first.\r\n"
    "[    0.000000] Linux version 6.12.107+deb13-cloud-amd64 (debian-kernel@lists.debian.org)\r\n"
    "[    5.125207] Run /init as init process\r\n"
    "[\x1b[0;32m  OK  \x1b[0m] Finished \x1b[0;1;39mignition-disks.service\x1b[0m - Ignition (disks).\r\n"
    "\x1bM\x1b[K[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39mignition-complete.target\x1b[0m.\r\n"
    "[    7.1] systemd[1]: Listing emergency.service as a unit that may be started.\r\n"
    "testos login: "
)
PANIC = (
    "[    6.310521] /dev/root: Can't open blockdev\r\n"
    '[    6.311303] VFS: Cannot open root device "LABEL=root" or unknown-block(0,0): error -6\r\n'
    "[    6.320000] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n"
    "[    6.321000] CPU: 1 UID: 0 PID: 1 Comm: swapper/0 Not tainted 6.12.107+deb13-cloud-amd64 #1\r\n"
    "[    6.322000] Call Trace:\r\n"
    "[    6.323000]  <TASK>\r\n"
    "[    6.324000]  dump_stack_lvl+0x5d/0x80\r\n"
    "[    6.325000]  panic+0x156/0x32a\r\n"
    "[    6.330000] Kernel Offset: 0x28000000 from 0xffffffff81000000\r\n"
    "[    6.331000] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---\r\n"
)
EMERGENCY = (
    "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39minitrd-switch-root.service\x1b[0m - Switch Root.\r\n"
    "See 'systemctl status initrd-switch-root.service' for details.\r\n"
    "[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39memergency.target\x1b[0m - Emergency Mode.\r\n"
    "\r\nPress Enter for emergency shell."
)
IGNITION_ON_CONSOLE = (
    "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mignition-files.service\x1b[0m - Ignition (files).\r\n"
    "[\x1b[0;1;38:5:185mDEPEND\x1b[0m] Dependency failed for ignition-complete.target - Ignition Complete.\r\n"
    "[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39memergency.target\x1b[0m - Emergency Mode.\r\n"
)
USERADD = "op(1): [failed]   creating or modifying user: exit status 6: useradd: group 'nosuchgroup' does not exist"
FINAL = 'CRITICAL : Ignition failed: failed to create users/groups: failed to create user "core": exit status 6'


def _entry(message: str, priority: int = 6, identifier: str = "ignition") -> str:
    return json.dumps({"MESSAGE": message, "PRIORITY": str(priority), "SYSLOG_IDENTIFIER": identifier})


DUMP = "\n".join(
    [
        _entry("Linux version 6.12", 5, "kernel"),
        _entry("INFO     : files: createFilesystemsFiles: createFiles: op(1): [started]  writing file"),
        _entry("DEBUG    : a CRITICAL : thing inside a message is not one"),
        _entry(f"CRITICAL : files: ensureUsers: {USERADD}"),
        _entry(FINAL),
        _entry("Failed to start ignition-files.service - Ignition (files).", 3, "systemd"),
    ]
)


def test_a_healthy_machine_is_not_lost() -> None:
    assert not worth_a_look(HEALTHY)
    assert diagnose(HEALTHY) is None


def test_panic_with_its_reason_and_trace() -> None:
    loss = diagnose(HEALTHY + PANIC)
    assert loss is not None
    assert loss.kind == "panic"
    assert loss.summary == "kernel panic: VFS: Unable to mount root fs on unknown-block(0,0)"
    assert loss.detail[0].endswith('VFS: Cannot open root device "LABEL=root" or unknown-block(0,0): error -6')
    assert loss.detail[-1].endswith("]---")
    assert any("dump_stack_lvl" in line for line in loss.detail)


def test_panic_of_sysrq() -> None:
    console = (
        "[  100.1] sysrq: Trigger a crash\r\n"
        "[  100.2] Kernel panic - not syncing: sysrq triggered crash\r\n[  100.3] CPU"
    )
    loss = diagnose(HEALTHY + console)
    assert loss is not None
    assert loss.summary == "kernel panic: sysrq triggered crash"
    assert loss.detail[0] == "testos login: [  100.1] sysrq: Trigger a crash"


def test_the_first_of_two_panics_counts() -> None:
    again = PANIC.replace("VFS: Unable to mount root fs on unknown-block(0,0)", "Attempted to kill init!")
    loss = diagnose(HEALTHY + PANIC + "[    6.5] Rebooting in 1 seconds..\r\n" + HEALTHY + again)
    assert loss is not None
    assert "Unable to mount root" in loss.summary
    assert not any("Attempted" in line for line in loss.detail)


def test_a_person_who_types_about_panics_does_not_kill_the_machine() -> None:
    assert diagnose("core@testos:~$ echo 'Kernel panic - not syncing: no'\r\n") is None


def test_emergency_names_the_unit_that_failed() -> None:
    loss = diagnose(HEALTHY + EMERGENCY)
    assert loss is not None
    assert loss.kind == "emergency"
    assert loss.summary == "emergency mode: Failed to start initrd-switch-root.service - Switch Root."


@pytest.mark.parametrize(
    "line",
    [
        'You are in emergency mode. After logging in, type "journalctl -xb" to view\r\n',
        "Press Enter for emergency shell or wait 5 minutes for reboot.\r\n",
        "[  OK  ] Reached target Emergency Mode.\r\n",
        "Entering emergency mode. Exit the shell to continue.\r\n",
        "Cannot open access to console, the root account is locked.\r\n",
    ],
)
def test_words_of_an_emergency(line: str) -> None:
    loss = diagnose(HEALTHY + "\r\n" + line)
    assert loss is not None
    assert loss.kind == "emergency"
    assert worth_a_look(line)


def test_ignition_from_its_journal_port() -> None:
    loss = diagnose(HEALTHY + IGNITION_ON_CONSOLE, DUMP)
    assert loss is not None
    assert loss.kind == "ignition"
    assert loss.summary == f"Ignition failed: {FINAL.removeprefix('CRITICAL : Ignition failed: ')}"
    assert loss.detail == (f"CRITICAL : files: ensureUsers: {USERADD}", FINAL)
    assert ignition_has_spoken(loss)


def test_ignition_from_its_journal_port_alone() -> None:
    loss = diagnose("", DUMP)
    assert loss is not None
    assert loss.kind == "ignition"


def test_ignition_that_logs_with_priorities() -> None:
    dump = _entry("failed to fetch config: unsupported config version", 2) + "\n" + _entry("note", 5)
    loss = diagnose(HEALTHY, dump)
    assert loss is not None
    assert loss.summary == "Ignition failed: failed to fetch config: unsupported config version"
    assert not ignition_has_spoken(loss)


def test_ignition_on_the_console() -> None:
    console = (
        "[   12.1] ignition[795]: CRITICAL : files: createUsers: op(1): [failed] creating user\r\n"
        "[   12.2] ignition[795]: CRITICAL : Ignition failed: failed to create users/groups\r\n"
    )
    loss = diagnose(HEALTHY + console + EMERGENCY)
    assert loss is not None
    assert (loss.kind, loss.summary) == ("ignition", "Ignition failed: failed to create users/groups")
    assert len(loss.detail) == 2


def test_ignition_unit_without_a_journal_is_still_ignitions_fault() -> None:
    loss = diagnose(HEALTHY + IGNITION_ON_CONSOLE)
    assert loss is not None
    assert loss.kind == "ignition"
    assert "Failed to start ignition-files.service" in loss.summary
    assert not ignition_has_spoken(loss)


def test_a_dump_without_a_word_of_ignition_shows_its_errors() -> None:
    loss = diagnose(HEALTHY + EMERGENCY.splitlines()[-1], _entry("Failed to mount /sysroot", 3, "systemd"))
    assert loss is not None
    assert loss.kind == "emergency"
    assert loss.detail == ("Failed to mount /sysroot",)


def test_a_half_written_dump_is_read_as_far_as_it_goes() -> None:
    loss = diagnose("", DUMP[: DUMP.index("systemd")] + '\n[1]\n"text"\n{"MESSAGE": [1, 2]}')
    assert loss is not None
    assert loss.kind == "ignition"


def test_no_bootable_device() -> None:
    console = "Booting from Hard Disk...\r\nBoot failed: not a bootable disk\r\n\r\nNo bootable device.\r\n"
    loss = diagnose(console)
    assert loss is not None
    assert (loss.kind, loss.summary) == ("no-boot", "no bootable system: Boot failed: not a bootable disk")
    assert worth_a_look("No bootable device.")


def test_grub_that_finds_nothing() -> None:
    console = "GRUB loading.\r\nerror: no such partition.\r\nEntering rescue mode...\r\ngrub rescue> "
    loss = diagnose(console)
    assert loss is not None
    assert (loss.kind, loss.summary) == ("no-boot", "no bootable system: no such partition.")


def test_a_long_trace_is_cut() -> None:
    loss = diagnose("[    1.0] Kernel panic - not syncing: x\r\n" + "[    1.1]  trace\r\n" * 500)
    assert loss is not None
    assert len(loss.detail) == 30


QEMU_LOG = """2026-11-23 06:34:39.309+0000: starting up libvirt version: 9.0.0, hostname: vm
LC_ALL=C \\
/usr/bin/qemu-system-x86_64 \\
-name guest=kola-ab-0,debug-threads=on \\
-msg timestamp=on
2026-11-23 06:34:39.309+0000: Domain id=1 is tainted: custom-argv
"""


def test_qemu_that_was_killed() -> None:
    loss = exit_loss(QEMU_LOG + "2026-11-23 06:34:42.239+0000: shutting down, reason=crashed\n", powered_off=False)
    assert (loss.kind, loss.summary) == ("provider", "QEMU ended unexpectedly")
    assert loss.detail == ("2026-11-23 06:34:42.239+0000: shutting down, reason=crashed",)


def test_qemu_that_says_why_it_ends() -> None:
    said = "2026-11-23T06:34:42.1Z qemu-system-x86_64: terminating on signal 15 from pid 7 (timeout)\n"
    loss = exit_loss(QEMU_LOG + said, powered_off=False)
    assert loss.summary == (
        "QEMU ended unexpectedly: qemu-system-x86_64: terminating on signal 15 from pid 7 (timeout)"
    )


def test_power_off_is_told_apart_from_a_crash() -> None:
    loss = exit_loss(QEMU_LOG, powered_off=True)
    assert (loss.kind, loss.summary) == ("exit", "the machine was powered off from inside")


def test_a_log_that_cannot_be_read_is_no_excuse() -> None:
    assert exit_loss("", powered_off=False).kind == "provider"


def test_a_panic_of_a_kernel_that_prints_no_times() -> None:
    loss = diagnose("Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\r\n")
    assert loss is not None
    assert loss.kind == "panic"


def test_a_panic_behind_a_login_prompt() -> None:
    loss = diagnose("testos login: [  100.2] Kernel panic - not syncing: softlockup: hung tasks\r\n")
    assert loss is not None
    assert loss.summary == "kernel panic: softlockup: hung tasks"
