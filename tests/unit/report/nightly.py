"""Folders of runs as a nightly leaves them: several builds, platforms, shares, and tests with all sorts of ends.

Deterministic; the record is written by kola's own code, logs in the form in which machines write them.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kola.results import (
    FirstFailure,
    ImageRecord,
    MachineRecord,
    Outcome,
    RunRecord,
    Share,
    Target,
    TestRecord,
)  # fmt: skip

Entry = tuple[float, int, str, str]
"""Moment, priority, identifier, message."""
Life = tuple[float, float, float, bool]
"""Moments at which a machine was asked for, was up, was gone; whether it was booted."""
START = 1_795_000_000.0
DAY = 86_400.0
DESCRIPTIONS = {
    "test_boot": "The system comes up without a failed unit.",
    "test_selinux_enforcing": "SELinux is enforcing, in the kernel and in its config.",
    "test_updates_off": "Nothing updates the machine while it is tested.",
    "test_journal_is_kept": "The journal of the boot before is there after a reboot.",
    "test_time": "The clock is synchronised.",
    "test_kargs": "Kernel arguments are what the image says.",
    "test_users": "Only core may log in, by key.",
    "test_read_only_usr": "/usr cannot be written to.",
    "test_podman": "podman works as root with the overlay driver.",
    "test_rootless": "A user runs a container without root.",
    "test_dns": "Names are resolved by systemd-resolved.",
    "test_growfs": "The root file system fills its disk after the first boot.",
    "test_files": "Ignition writes files with mode, owner and label.",
    "test_luks": "A volume is encrypted and opened by a TPM in the next boot.",
    "test_update_and_rollback": "An update is booted, and the one before it is again after a rollback.",
    "test_etc_is_merged": "What was changed in /etc outlives an update.",
}
SUITES = {
    "basic": (
        "test_boot",
        "test_selinux_enforcing",
        "test_dns",
        "test_growfs",
        "test_updates_off",
        "test_journal_is_kept",
        "test_time",
        "test_kargs",
        "test_users",
        "test_read_only_usr",
    ),
    "containers": ("test_podman", "test_rootless"),
    "ignition": ("test_files", "test_luks"),
    "upgrade": ("test_update_and_rollback", "test_etc_is_merged"),
}
TARGETS = (
    Target("qemu", "x86_64", "kvm", ImageRecord(""), firmware="bios"),
    Target("qemu", "x86_64", "kvm", ImageRecord(""), firmware="uefi"),
    Target("qemu", "aarch64", "tcg", ImageRecord(""), firmware="uefi"),
    Target("aws", "x86_64", "cloud", ImageRecord("")),
)


def nodeid(suite: str, name: str) -> str:
    return f"tests/external/{suite}/test_{suite}.py::{name}"


@dataclass(frozen=True)
class End:
    """How a test ends, and what its machine says meanwhile: ``(priority, identifier, message)``."""

    outcome: Outcome
    reason: str = ""
    text: str = ""
    first: str = ""
    log: tuple[tuple[int, str, str], ...] = ()
    console: tuple[str, ...] = ()


@dataclass
class Nightly:
    """Writes runs below a folder.

    Attributes:
        lines: further lines of each machine's journal.
    """

    folder: Path
    stream: str = "testing-devel"
    lines: int = 120
    _random: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - not for secrets

    def image(self, number: int) -> ImageRecord:
        version = f"44.202611{18 + number}.20.0"
        digest = hashlib.sha256(version.encode()).hexdigest()
        return ImageRecord(
            f"build:{version}", "fedora-coreos", version, version, self.stream, "fedora-coreos", digest, digest[::-1]
        )

    def run(
        self,
        number: int,
        target: Target,
        suite: str,
        ends: Mapping[str, End] | None = None,
        *,
        share: Share | None = None,
        names: Iterable[str] | None = None,
        complete: bool = True,
        hour: float = 2.0,
    ) -> Path:
        """Write one run of build ``number`` and return its folder."""
        begin = START + number * DAY + hour * 3600
        label = ".".join(
            [self.stream, *target.name.split(), suite, *([f"{share.number}of{share.total}"] if share else [])]
        )
        folder = self.folder / f"night-{number}" / label
        run_id = hashlib.sha256(f"{number} {label}".encode()).hexdigest()[:8]
        known = replace(target, image=self.image(number), deployments=["ab" * 32])
        record = RunRecord(run_id, "0.1.0", begin, [known], suites=[suite], shard=share, complete=complete, name=label)
        ends = ends or {}
        moment = begin + 3
        machine = ""
        for place, name in enumerate(SUITES[suite] if names is None else names):
            end = ends.get(name, End(Outcome.PASSED))
            test = TestRecord(
                nodeid(suite, name), end.outcome, suite, DESCRIPTIONS.get(name, ""), reason=end.reason, text=end.text,
                tags=[suite], isolation="shared" if place else "fresh", worker=f"gw{place % 2}",
            )  # fmt: skip
            record.tests[test.nodeid] = test
            if end.outcome in {Outcome.NOT_RUN, Outcome.SKIPPED}:
                continue
            boot = not machine
            machine = f"kola-{run_id}-gw{place % 2}-{place + 1}"
            took = self._random.uniform(18, 26) if boot else self._random.uniform(0.8, 1.4)
            test.started, call = moment, self._random.uniform(4, 40)
            test.phases = {"setup": round(took, 3), "call": round(call, 3), "teardown": 0.12}
            test.duration = round(sum(test.phases.values()), 3)
            if end.first:
                tried = f"{machine}0"
                self._machine(folder, record, tried, (moment, moment + took, moment + took + 5, False), end)
                test.first_failure = FirstFailure(
                    end.first.splitlines()[-1].removeprefix("E   "), "call", end.first, [tried], [f"machines/{tried}"]
                )
                end = End(Outcome.PASSED)
                moment += took + 5
                test.started = moment
            gone = moment + test.duration
            self._machine(folder, record, machine, (moment, moment + took, gone, boot), end)
            test.machines, test.artifacts = [machine], [f"machines/{machine}"]
            if place % 2:
                moment = gone + 0.4
            else:
                moment += took + 1.5
        counts = {test.outcome for test in record.tests.values()}
        if complete:
            record.finished = moment + 30
            record.exit_code = 1 if Outcome.FAILED in counts else 75 if Outcome.PROVIDER_ERROR in counts else 0
        folder.mkdir(parents=True, exist_ok=True)
        record.write(folder / "results.json")
        return folder

    def _machine(self, folder: Path, record: RunRecord, name: str, life: Life, end: End) -> None:
        created, up, gone, boot = life
        machine = MachineRecord(
            name, name.split("-")[2], "boot" if boot else "clone", created=created, booting=created + 0.7, up=up,
            gone=gone, memory_mib=2048, peak_mib=700.0 + self._random.random() * 300, deployment="ab" * 32,
            artifacts=f"machines/{name}",
        )  # fmt: skip
        record.machines[name] = machine
        place = folder / "machines" / name
        place.mkdir(parents=True)
        (place / "ignition.json").write_text('{"ignition": {"version": "3.4.0"}}\n')
        (place / "console.txt").write_text("\r\n".join(self._console(end)) + "\r\n")
        entries = [*self._boot(created + 1.5, up), *self._work(up, gone, end)]
        lines = [self._line(name, number, entry) for number, entry in enumerate(sorted(entries))]
        (place / "journal.jsonl").write_text("".join(lines))

    def _boot(self, begin: float, up: float) -> list[Entry]:
        step = (up - begin) / 12
        said = [
            (6, "kernel", "Linux version 6.17.8-300.fc44.x86_64 (mockbuild@build) #1 SMP PREEMPT_DYNAMIC"),
            (6, "systemd", "systemd 258.2 running in system mode (+PAM +AUDIT +SELINUX +IMA)"),
            (6, "ignition", "Ignition 2.24.0"),
            (6, "ignition", 'reading system config file "/usr/lib/ignition/base.d/00-core.ign"'),
            (6, "ignition", 'files: createFiles: op(3): [finished] writing file "/etc/hostname"'),
            (6, "ignition", "Ignition finished successfully"),
            (6, "systemd", "Reached target sysinit.target - System Initialization."),
            (5, "systemd", "Started NetworkManager.service - Network Manager."),
            (4, "kernel", "SELinux: policy capability userspace_initial_context=0"),
            (6, "systemd", "Started sshd.service - OpenSSH server daemon."),
            (6, "systemd", "Startup finished in 1.901s (kernel) + 6.200s (initrd) + 9.334s (userspace) = 17.436s."),
        ]
        return [(begin + step * place, *entry) for place, entry in enumerate(said)]

    def _work(self, up: float, gone: float, end: End) -> list[Entry]:
        usual = (
            "Started run-r{:08x}.service - /usr/bin/bash -c true.", "run-r{:08x}.service: Deactivated successfully.",
            "Session {} of user core logged in.", "Created slice user-{}.slice - User Slice.",
        )  # fmt: skip
        said: list[Entry] = []
        for number in range(self.lines):
            at = up + (gone - up) * number / self.lines
            said.append((at, 6, "systemd", usual[number % len(usual)].format(self._random.getrandbits(32))))
        for number, (priority, identifier, message) in enumerate(end.log):
            said.append((gone - 1 + number * 0.05, priority, identifier, message))
        return said

    def _line(self, name: str, number: int, said: Entry) -> str:
        moment, priority, identifier, message = said
        entry = {
            "__CURSOR": f"s=1;i={number:x}", "__REALTIME_TIMESTAMP": str(int(moment * 1e6)), "PRIORITY": str(priority),
            "SYSLOG_IDENTIFIER": identifier, "MESSAGE": message, "_HOSTNAME": name, "_PID": str(300 + number % 700),
            "_BOOT_ID": "0" * 32, "_TRANSPORT": "kernel" if identifier == "kernel" else "journal",
        }  # fmt: skip
        return json.dumps(entry) + "\n"

    def _console(self, end: End) -> list[str]:
        said = ["\x1b[2J\x1b[0mSeaBIOS (version 1.16.3-4.fc44)", "Booting from Hard Disk...", "GRUB loading..."]
        said += [f"[    {number / 7:.6f}] virtio_blk virtio{number}: registered" for number in range(20)]
        said += [f"[  \x1b[0;32mOK\x1b[0m  ] Started unit-{number}.service." for number in range(25)]
        said += ["", "Fedora CoreOS 44", "Kernel 6.17.8-300.fc44 on x86_64 (ttyS0)", "", "localhost login: "]
        return [*said, *end.console]


BROKEN_LABEL = End(
    Outcome.FAILED,
    "AssertionError: 1 file under /etc has a wrong label: /etc/resolv.conf is unlabeled_t",
    """\
    def test_selinux_enforcing(machine: Machine) -> None:
        \"\"\"SELinux is enforcing, in the kernel and in its config.\"\"\"
        assert machine.run("getenforce").stdout.strip() == "Enforcing"
        wrong = mislabelled(machine, "/etc")
>       assert not wrong, f"{len(wrong)} file under /etc has a wrong label: {wrong[0]}"
E       AssertionError: 1 file under /etc has a wrong label: /etc/resolv.conf is unlabeled_t
E       assert not ['/etc/resolv.conf is unlabeled_t']

tests/external/basic/test_basic.py:41: AssertionError
  last lines of the journal:
    | audit: AVC avc:  denied  { read } for  pid=811 comm="NetworkManager" name="resolv.conf"
""",
    log=(
        (4, "audit", 'AVC avc:  denied  { read } for  pid=811 comm="NetworkManager" name="resolv.conf"'),
        (3, "NetworkManager", "<error> dns-mgr: could not open /etc/resolv.conf: Permission denied"),
        (6, "systemd", "NetworkManager-dispatcher.service: Deactivated successfully."),
    ),
)  # fmt: skip
BROKEN_ROLLBACK = End(
    Outcome.FAILED,
    "MachineLost: kola-ab12 did not answer SSH within 240 s after the reboot",
    "E   kola.errors.MachineLost: kola did not answer SSH within 240 s after the reboot\n",
    log=((2, "kernel", "EXT4-fs error (device vda3): ext4_find_entry: inode #12: comm ostree: reading directory"),),
    console=(
        "[   12.101123] EXT4-fs error (device vda3): ext4_find_entry:1612: inode #12: comm ostree",
        "[   12.900001] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
        "[   12.900100] CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.17.8-300.fc44.x86_64 #1",
    ),
)
RACE = End(
    Outcome.FLAKY,
    "AssertionError: newuidmap: open of uid_map failed: Permission denied",
    first="    def test_rootless(machine):\nE   AssertionError: newuidmap: open of uid_map failed: Permission denied",
    log=((3, "podman", "cannot set up namespace using newuidmap: exit status 1"),),
)
SNOOZED = End(
    Outcome.WARNED,
    "AssertionError: TPM2 is not enrolled (denylist: tracked, snoozed until 2026-12-24)",
    "E   AssertionError: TPM2 is not enrolled\n",
    log=((4, "systemd-cryptsetup", "No TPM2 token found in LUKS2 header."),),
)
NO_QUOTA = End(
    Outcome.PROVIDER_ERROR,
    "PlatformError: RunInstances: InsufficientInstanceCapacity: no m5.large in eu-west-1a",
    "E   kola.errors.PlatformError: RunInstances: InsufficientInstanceCapacity\n",
)
NO_TPM = End(Outcome.SKIPPED, "needs a TPM: the platform aws has none")
LOST_LABEL_SINCE = 3
BUILDS = 6


def write_nightly(folder: Path, *, lines: int = 120) -> Path:
    """Write six nights of one stream; the last one has something of everything. Returns the folder of the last."""
    nightly = Nightly(folder, lines=lines)
    for number in range(BUILDS):
        last = number == BUILDS - 1
        for place, target in enumerate(TARGETS):
            hour = 2 + place * 0.01
            basic = {"test_selinux_enforcing": BROKEN_LABEL} if number >= LOST_LABEL_SINCE and place < 2 else {}
            if target.platform == "aws" and last:
                basic = {"test_growfs": NO_QUOTA}
            if target.firmware == "bios":
                for share in (1, 2):
                    names = SUITES["basic"][share - 1 :: 2]
                    nightly.run(
                        number, target, "basic", basic, share=Share(share, 2), names=names, hour=hour + share / 99
                    )
            else:
                nightly.run(number, target, "basic", basic, hour=hour)
            race = {"test_rootless": RACE} if number in {1, 4, 5} and place == 0 else {}
            if target.arch == "x86_64":
                nightly.run(number, target, "containers", race, hour=hour)
            luks = NO_TPM if target.platform == "aws" else SNOOZED if number > 1 and place == 2 else End(Outcome.PASSED)
            if not (last and target.arch == "aarch64"):
                nightly.run(number, target, "ignition", {"test_luks": luks}, hour=hour)
            if target.platform == "qemu" and target.arch == "x86_64":
                ends = {"test_update_and_rollback": BROKEN_ROLLBACK} if last and place == 0 else {}
                cut = last and place == 1
                if cut:
                    ends = dict.fromkeys(SUITES["upgrade"][1:], End(Outcome.NOT_RUN))
                nightly.run(number, target, "upgrade", ends, complete=not cut, hour=hour)
    return folder / f"night-{BUILDS - 1}"


def write_verdict(file: Path) -> Path:
    """Write what the gate says of the last night, in the form of ``kola gate --verdict``. Returns the file."""
    cells = ("qemu x86_64 bios", "qemu x86_64 uefi", "qemu aarch64 uefi", "aws x86_64")
    held = {("qemu x86_64 bios", "upgrade"), ("qemu x86_64 bios", "basic"), ("qemu x86_64 uefi", "basic")}
    label = "test_selinux.py::test_selinux_enforcing: /etc/selinux/config has no label"

    def found(code: str, cell: str, text: str, **more: object) -> dict[str, object]:
        return {"code": code, "subject": cell, "text": text, **more}

    waiver = {
        "reason": "the account's quota is raised on Monday", "owner": "cloud@example.com",
        "tracker": "https://example.com/issues/17", "expires": "2026-12-31",
    }  # fmt: skip
    verdict = {
        "schema": 1, "verdict": "hold", "stream": "testing-devel", "build": f"44.202611{18 + BUILDS - 1}.20.0",
        "phase": "results", "time": START + BUILDS * DAY, "notes": [],
        "reasons": [
            found("failed", "qemu x86_64 bios: basic", label),
            found("failed", "qemu x86_64 bios: upgrade", "test_update.py::test_update_and_rollback: no rollback"),
            found("failed", "qemu x86_64 uefi: basic", label),
            found("not-run", "qemu x86_64 uefi: upgrade", "test_update.py::test_etc_is_merged was not run"),
        ],
        "waived": [found("provider-error", "aws x86_64: basic", "test_growfs: quota of vCPUs", waiver=waiver)],
        "informing": [found("missing", "qemu aarch64 uefi: ignition", "there are no results")],
        "cells": [
            {"name": f"{cell}: {suite}", "state": "hold" if (cell, suite) in held else "passed"}
            for cell in cells
            for suite in ("basic", "upgrade", "containers")
        ],
    }  # fmt: skip
    file.write_text(json.dumps(verdict))
    return file
