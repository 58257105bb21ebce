"""``Machine`` with a real sshd on this host in the place of a guest: everything but boots and units."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from kola import health
from kola import logs as logs_module
from kola.errors import CommandFailed, CommandTimeout, ConfigError, Loss, MachineLost
from kola.keys import generate_key, write_client_key
from kola.machine import Access, Machine
from kola.platform import Usage
from kola.ssh import HostKeyMismatch
from tests.integration.local_sshd import LocalSshd, local_sshd, needs_sshd

pytestmark = needs_sshd
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
PANIC = Loss("panic", "kernel panic: sysrq triggered crash", ("[ 9.1] Kernel panic - not syncing",))


@dataclass
class LocalInstance:
    """This host as an ``Instance``; its console and journal are files."""

    port: int
    console_file: Path
    journal_path: Path | None = None
    macs: Sequence[str] = ()
    loss: Loss | None = None
    address: str = "127.0.0.1"
    id: str = "local"
    name: str = "kola-test-1"

    def console(self) -> str:
        return self.console_file.read_text()

    def ready_signals(self) -> int:
        return 0

    def lost(self) -> Loss | None:
        return self.loss

    def usage(self) -> Usage | None:
        return None

    def reset(self) -> None:
        raise NotImplementedError

    def keep(self) -> None:
        raise NotImplementedError


@dataclass
class Guest:
    sshd: LocalSshd
    instance: LocalInstance
    machine: Machine
    said: list[str]


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    console, journal = tmp_path / "console.log", tmp_path / "journal.json"
    console.write_text("Booting\r\n\x1b[0;32m  OK  \x1b[0m] Reached target\r\n")
    journal.write_text(json.dumps({"MESSAGE": "journal says hello", "_COMM": "greeter", "__CURSOR": "c1"}) + "\n")
    with local_sshd(tmp_path) as sshd:
        instance = LocalInstance(sshd.port, console, journal)
        write_client_key(tmp_path / "ssh" / "id", sshd.client_key)
        access = Access(
            sshd.user, sshd.client_key, sshd.host_key.public, tmp_path / "ssh" / "id", tmp_path / "ssh" / "known_hosts"
        )
        said: list[str] = []
        machine = Machine(
            instance, access, slowness=0.5, artifacts=tmp_path, progress=lambda what, _elapsed: said.append(what)
        )
        yield Guest(sshd, instance, machine, said)
        machine.close()


# -- commands --------------------------------------------------------------------------------------------------------


def test_run(guest: Guest) -> None:
    machine = guest.machine
    result = machine.run("echo $((1+1)); echo e >&2")
    assert (result.command, result.stdout, result.stderr) == ("echo $((1+1)); echo e >&2", "2\n", "e\n")
    assert machine.connected
    assert machine.run(["printf", "%s|", "a b", "$x"]).stdout == "a b|$x|"
    assert machine.run("cat", input="größer").stdout == "größer"
    assert machine.run("echo $A-$B", env={"A": "1 '2'", "B": "3"}).stdout == "1 '2'-3\n"
    assert machine.run("exit 7", check=False).exit_code == 7
    assert machine.run("id -un", user=guest.sshd.user).stdout.strip() == guest.sshd.user
    assert machine.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@as_root
def test_run_as_another_user(guest: Guest) -> None:
    if shutil.which("sudo") is None:
        pytest.skip("needs sudo")
    assert guest.machine.run("id -un; echo $A", user="nobody", env={"A": "x"}).stdout == "nobody\nx\n"


def test_connection_is_made_when_it_is_needed(guest: Guest) -> None:
    assert [guest.machine.connected, bool(guest.machine.boot_id), guest.machine.connected] == [False, True, True]
    guest.machine.close()
    guest.machine.close()
    assert not guest.machine.connected


def test_bad_arguments_are_one_line(guest: Guest) -> None:
    with pytest.raises(ConfigError, match=r"^sudo=True means user='root', not user='nobody'$"):
        guest.machine.run("id", sudo=True, user="nobody")


def test_failed_command_shows_everything(guest: Guest) -> None:
    with pytest.raises(CommandFailed) as error:
        guest.machine.run("echo some output; echo the reason >&2; exit 3")
    text = str(error.value)
    assert text.startswith("command failed on kola-test-1: exit code 3 after ")
    for part in ("    | echo some output; echo the reason >&2; exit 3", "    | some output", "    | the reason"):
        assert part in text.splitlines()


def test_timeout_says_so_and_shows_the_circumstances(guest: Guest) -> None:
    with pytest.raises(CommandTimeout) as error:
        guest.machine.run("echo begun; sleep 55", timeout=1)
    text = str(error.value)
    assert text.startswith("command timed out on kola-test-1 after 1.")
    for part in ("| echo begun; sleep 55", "| begun", "its processes were killed", "Reached target",
                 "greeter: journal says hello", "queued jobs"):  # fmt: skip
        assert part in text
    assert "\x1b" not in text
    assert guest.machine.run("echo fine").stdout == "fine\n"


def test_default_time_limit_is_scaled(guest: Guest) -> None:
    assert guest.machine.limits.command == 30


def test_run_many(guest: Guest) -> None:
    results = guest.machine.run_many(
        ["echo $A; A=1", ["printf", "%s", "$x"], "echo $A; exit 3", "echo on"], check=False
    )
    assert [(r.command, r.stdout, r.exit_code) for r in results] == [
        ("echo $A; A=1", "\n", 0), ("printf %s '$x'", "$x", 0), ("echo $A; exit 3", "\n", 3), ("echo on", "on\n", 0),
    ]  # fmt: skip
    assert guest.machine.run_many([]) == []
    with pytest.raises(ConfigError, match=r"^sudo=True means user='root', not user='nobody'$"):
        guest.machine.run_many(["id"], sudo=True, user="nobody")


def test_run_many_stops_at_the_first_failure(guest: Guest, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"(?s)exit code 3 after.*the reason") as error:
        guest.machine.run_many(["true", "echo the reason >&2; exit 3", ["touch", str(tmp_path / "never")]])
    assert "| echo the reason >&2; exit 3" in str(error.value)
    assert not (tmp_path / "never").exists()


def test_run_many_times_out(guest: Guest, tmp_path: Path) -> None:
    with pytest.raises(CommandTimeout) as error:
        guest.machine.run_many(["sleep 0.7", "echo begun; sleep 55", f"touch {tmp_path}/never"], timeout=1)
    text = str(error.value)
    assert "| echo begun; sleep 55" in text.splitlines()[2]
    assert "| begun" in text
    assert not (tmp_path / "never").exists()


def test_run_many_on_a_machine_that_dies(guest: Guest) -> None:
    guest.machine.connect()
    threading.Timer(0.5, guest.sshd.stop).start()
    with pytest.raises(MachineLost, match="SSH connection lost during: true; sleep 20; true"):
        guest.machine.run_many(["true", "sleep 20", "true"])


def test_run_many_finds_a_connection_that_broke_before(guest: Guest) -> None:
    guest.machine.run("true")
    guest.sshd.stop()
    guest.sshd.start()
    assert [result.stdout for result in guest.machine.run_many(["echo 1", "echo 2"])] == ["1\n", "2\n"]


def test_commands_share_a_round_trip(guest: Guest) -> None:
    results = guest.machine.run_many(["sh -c 'echo $PPID'", "sh -c 'echo $PPID'", "exit 1"], check=False)
    assert results[0].stdout == results[1].stdout


def test_threads(guest: Guest) -> None:
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda n: guest.machine.run(f"sleep 0.2; echo {n}").stdout, range(12)))
    assert outputs == [f"{n}\n" for n in range(12)]


# -- files -----------------------------------------------------------------------------------------------------------


def test_files_there_and_back(guest: Guest, tmp_path: Path) -> None:
    machine = guest.machine
    data = os.urandom(5 << 20)
    (tmp_path / "a").write_bytes(data)
    remote = tmp_path / "it's there"
    machine.put(tmp_path / "a", str(remote), mode=0o4640)
    assert remote.read_bytes() == data
    assert remote.stat().st_mode & 0o7777 == 0o4640
    assert machine.get(str(remote), tmp_path / "b") == tmp_path / "b"
    assert (tmp_path / "b").read_bytes() == data
    machine.write_file(str(remote), "größer\n")
    assert machine.read_file(str(remote)) == "größer\n"
    assert remote.stat().st_mode & 0o777 == 0o640
    machine.write_file(str(remote), b"\xff\x00")
    assert machine.read_bytes(str(remote)) == b"\xff\x00"
    machine.write_file(str(remote), b"")
    assert machine.read_bytes(str(remote)) == b""


@as_root
def test_files_of_root(guest: Guest, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    guest.machine.write_file(str(path), "x", mode=0o600, owner="nobody:nogroup", sudo=True)
    assert path.stat().st_uid == 65534
    assert path.stat().st_mode & 0o777 == 0o600
    assert guest.machine.read_file(str(path), sudo=True) == "x"


def test_files_that_are_not_there(guest: Guest, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="No such file or directory"):
        guest.machine.get(str(tmp_path / "none"), tmp_path / "local")
    assert not list(tmp_path.glob("*local*"))
    with pytest.raises(CommandFailed, match=rf"(?s)write {tmp_path}/none/x.*No such file or directory"):
        guest.machine.write_file(f"{tmp_path}/none/x", "x")
    with pytest.raises(FileNotFoundError):
        guest.machine.put(tmp_path / "none", str(tmp_path / "local"))


# -- a machine that dies ---------------------------------------------------------------------------------------------


def test_death_during_a_command_is_noticed_at_once(guest: Guest) -> None:
    guest.machine.connect()
    threading.Timer(0.5, lambda: setattr(guest.instance, "loss", PANIC)).start()
    began = time.monotonic()
    with pytest.raises(MachineLost, match="kernel panic: sysrq triggered crash") as error:
        guest.machine.run("sleep 20")  # the connection itself stays: a dead guest does not hang up
    assert time.monotonic() - began < 3
    assert error.value.loss is PANIC
    assert "Kernel panic - not syncing" in str(error.value)
    assert "console and journal: " in str(error.value)


def test_broken_connection_is_explained_by_the_platform(guest: Guest) -> None:
    guest.machine.connect()
    threading.Timer(0.5, guest.sshd.stop).start()
    threading.Timer(1.2, lambda: setattr(guest.instance, "loss", PANIC)).start()
    with pytest.raises(MachineLost) as error:
        guest.machine.run("sleep 20")
    assert error.value.loss is PANIC


def test_broken_connection_without_an_explanation(guest: Guest) -> None:
    guest.machine.connect()
    threading.Timer(0.5, guest.sshd.stop).start()
    with pytest.raises(MachineLost, match="SSH connection lost during: sleep 20") as error:
        guest.machine.run("sleep 20")
    assert error.value.loss.kind == "ssh"
    assert "greeter: journal says hello" in str(error.value)


def test_sshd_that_was_restarted_is_found_again(guest: Guest) -> None:
    guest.machine.run("true")
    guest.sshd.stop()
    guest.sshd.start()
    assert guest.machine.run("echo again").stdout == "again\n"


def test_reboot_that_nobody_asked_for(guest: Guest) -> None:
    guest.machine.run("true")
    guest.machine._link.boot_id = "the boot before"
    guest.sshd.stop()
    guest.sshd.start()
    with pytest.raises(MachineLost, match="it rebooted on its own"):
        guest.machine.run("true")


def test_boot_that_fails_is_noticed_at_once(guest: Guest) -> None:
    guest.sshd.stop()
    guest.instance.loss = Loss("ignition", "Ignition failed: bad config")
    began = time.monotonic()
    with pytest.raises(MachineLost, match="Ignition failed: bad config"):
        guest.machine.connect()
    assert time.monotonic() - began < 1


def test_boot_that_takes_too_long(guest: Guest) -> None:
    guest.sshd.stop()
    with pytest.raises(MachineLost, match="no SSH within 1 s") as error:
        guest.machine.connect(1)
    assert error.value.loss.kind == "timeout"
    for part in ("last lines of the console:", "OK  ] Reached target", "greeter: journal says hello"):
        assert part in str(error.value)
    assert "waiting for SSH" in guest.said


def test_boot_that_comes_up_late(guest: Guest) -> None:
    guest.sshd.stop()
    threading.Timer(1, guest.sshd.start).start()
    guest.machine.connect(20)
    assert guest.machine.run("echo up").stdout == "up\n"
    assert guest.said


def test_login_that_is_refused_is_in_the_message(guest: Guest) -> None:
    (guest.sshd.folder / "authorized_keys").write_text("")
    with pytest.raises(MachineLost, match=r"no SSH within 1 s \(127.0.0.1 port \d+: \w+ may not log in \(yet\)"):
        guest.machine.connect(1)


def test_another_machine_at_the_address(guest: Guest) -> None:
    guest.sshd.stop()
    (guest.sshd.folder / "host_key").write_text(generate_key().private)
    guest.sshd.start()
    with pytest.raises(HostKeyMismatch):
        guest.machine.connect(5)


def test_old_boot_is_not_taken_for_the_new_one(guest: Guest) -> None:
    before = guest.machine.boot_id
    with pytest.raises(MachineLost, match=r"no SSH after the reboot within 2 s \(it has not gone down yet\)"):
        guest.machine.await_boot(before, 2)
    guest.machine.await_boot("the boot before", 10)
    assert guest.machine.boot_id == before


# -- for a person and for the checks ---------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs ssh (openssh-client)")
def test_ssh_command_can_be_pasted(guest: Guest) -> None:
    command = guest.machine.ssh_command() + " -F none -o BatchMode=yes echo it works"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "it works\n"
    assert guest.machine.ssh_command() in command
    assert len((guest.sshd.folder / "ssh/known_hosts").read_text().splitlines()) == 1


def test_describe_and_console(guest: Guest) -> None:
    text = guest.machine.describe(1)
    assert "Reached target" in text
    assert "Booting" not in text
    assert "greeter: journal says hello" in text
    assert guest.machine.console(since=7) == guest.instance.console()[7:]
    assert [entry.message for entry in guest.machine.journal_on_host()] == ["journal says hello"]
    assert guest.machine.journal_on_host(since="c1") == []


@as_root
def test_audit_log(guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "audit.log"
    monkeypatch.setattr(logs_module, "AUDIT_LOG", str(log))
    machine = guest.machine
    assert (machine.audit_size(), machine.audit_log()) == (0, [])
    log.write_text("one\nt\x1do\n")  # as auditd's enriched format sets its own fields apart
    assert (machine.audit_size(), machine.audit_log()) == (8, ["one", "t\x1do"])
    assert machine.audit_log(since=4) == ["t\x1do"]
    assert machine.audit_log(since=8) == []
    with log.open("a") as file:
        file.write("three\n")
    log.rename(tmp_path / "audit.log.1")
    log.write_text("four\n")
    assert machine.audit_log(since=8) == ["three", "four"]


# -- health ----------------------------------------------------------------------------------------------------------

SHIMS = {
    "systemctl": 'cat "$HOME/failed"',
    "systemd-cat": """printf '{"MESSAGE": "%s", "SYSLOG_IDENTIFIER": "kola-sync", "__CURSOR": "s%s"}\\n' "$4" "$4" """
    '>>"$HOME/journal.json"',
}


@pytest.fixture
def patient(guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    """A machine whose units, journal and audit log are files of the test's folder."""
    (tmp_path / "bin").mkdir()
    for name, script in SHIMS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / ".bashrc").write_text('export PATH="$HOME/bin:$PATH"\n')
    (tmp_path / "failed").touch()
    monkeypatch.setattr(logs_module, "AUDIT_LOG", str(tmp_path / "audit.log"))
    return guest


AVC = (
    'type=AVC msg=audit(1790000000.{0}:{0}): avc:  denied  {{ read }} for  pid=1 comm="{1}" '
    "scontext=a:b:c:d tcontext=e:f:g:h tclass=file permissive=0\n"
)
OOPS = "[ {0}.0] BUG: unable to handle page fault for address: {0}\n"


def rules(examination: health.Examination) -> list[str]:
    return [str(finding.rule) for finding in examination.findings]


@as_root
def test_every_event_is_found_once(patient: Guest, tmp_path: Path) -> None:
    audit, console, failed = tmp_path / "audit.log", patient.instance.console_file, tmp_path / "failed"
    machine = patient.machine
    healthy = health.examine(machine)
    assert rules(healthy) == []
    audit.write_text(AVC.format(1, "first"))
    failed.write_text("one.service loaded failed failed One\n")
    first = health.examine(machine, healthy.mark)
    assert rules(first) == ["avc-denial", "failed-unit"]
    assert first.mark.failed_units == {"one.service"}
    assert rules(health.examine(machine, first.mark)) == []
    with audit.open("a") as file:  # between two tests, when nobody uses the machine
        file.write(AVC.format(2, "second"))
    console.write_text(console.read_text() + OOPS.format(7))
    second = health.examine(machine, first.mark)
    assert "avc-denial" in rules(second)
    assert any(rule != "avc-denial" for rule in rules(second))
    assert "failed-unit" not in rules(second)
    assert rules(health.examine(machine, second.mark)) == []


@as_root
def test_rotated_audit_log_is_read_on(patient: Guest, tmp_path: Path) -> None:
    audit = tmp_path / "audit.log"
    audit.write_text(AVC.format(1, "old"))
    seen = health.examine(patient.machine)
    assert seen.mark.audit == audit.stat().st_size
    with audit.open("a") as file:
        file.write(AVC.format(2, "before"))
    audit.rename(tmp_path / "audit.log.1")
    audit.write_text("type=X a\n")
    after = health.examine(patient.machine, seen.mark)
    assert [finding.denial.comm for finding in after.findings if finding.denial] == ["before"]
    assert after.mark.audit == audit.stat().st_size


@as_root
def test_journal_up_to_the_look_is_there(patient: Guest, tmp_path: Path) -> None:
    since = health.examine(patient.machine).mark
    assert since.journal is not None
    assert since.journal.startswith("s")
    with (tmp_path / "journal.json").open("a") as file:
        file.write(json.dumps({"MESSAGE": OOPS.format(7), "_TRANSPORT": "kernel", "__CURSOR": "k1"}) + "\n")
    seen = health.examine(patient.machine, since)
    assert len(seen.findings) == 1
    assert seen.mark.journal != since.journal
    assert "kola-sync" not in {entry.identifier for entry in patient.machine.journal()}


def test_machine_that_is_lost_keeps_its_mark(patient: Guest) -> None:
    patient.machine.run("true")
    since = health.Mark(console=3, audit=17, failed_units=frozenset({"a.service"}))
    patient.instance.loss = PANIC
    patient.sshd.stop()
    seen = health.examine(patient.machine, since)
    assert seen.mark.audit == 17
    assert seen.mark.failed_units == {"a.service"}
    assert seen.mark.console == len(patient.instance.console())
