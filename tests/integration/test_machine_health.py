"""What a machine shows to a person and to the checks, with a real sshd on this host in the place of a guest."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from kola import health
from kola import logs as logs_module
from tests.integration.local_machine import PANIC, LocalGuest, as_root
from tests.integration.local_sshd import needs_sshd

pytestmark = needs_sshd


# -- for a person and for the checks ----------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs ssh (openssh-client)")
def test_ssh_command_can_be_pasted(guest: LocalGuest) -> None:
    command = guest.machine.ssh_command() + " -F none -o BatchMode=yes echo it works"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "it works\n"
    assert guest.machine.ssh_command() in command
    assert len((guest.sshd.folder / "ssh/known_hosts").read_text().splitlines()) == 1


def test_describe_and_console(guest: LocalGuest) -> None:
    text = guest.machine.describe(1)
    assert "Reached target" in text
    assert "Booting" not in text
    assert "greeter: journal says hello" in text
    assert guest.machine.console(since=7) == guest.instance.console()[7:]
    assert [entry.message for entry in guest.machine.journal_on_host()] == ["journal says hello"]
    assert guest.machine.journal_on_host(since="c1") == []


@as_root
def test_audit_log(guest: LocalGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


# -- health -----------------------------------------------------------------------------------------------------------

SHIMS = {
    "systemctl": 'cat "$HOME/failed"',
    "systemd-cat": """printf '{"MESSAGE": "%s", "SYSLOG_IDENTIFIER": "kola-sync", "__CURSOR": "s%s"}\\n' "$4" "$4" """
    '>>"$HOME/journal.json"',
}


@pytest.fixture
def patient(guest: LocalGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalGuest:
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
def test_every_event_is_found_once(patient: LocalGuest, tmp_path: Path) -> None:
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
def test_rotated_audit_log_is_read_on(patient: LocalGuest, tmp_path: Path) -> None:
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
def test_journal_up_to_the_look_is_there(patient: LocalGuest, tmp_path: Path) -> None:
    since = health.examine(patient.machine).mark
    assert since.journal is not None
    assert since.journal.startswith("s")
    with (tmp_path / "journal.json").open("a") as file:
        file.write(json.dumps({"MESSAGE": OOPS.format(7), "_TRANSPORT": "kernel", "__CURSOR": "k1"}) + "\n")
    seen = health.examine(patient.machine, since)
    assert len(seen.findings) == 1
    assert seen.mark.journal != since.journal
    assert "kola-sync" not in {entry.identifier for entry in patient.machine.journal()}


def test_machine_that_is_lost_keeps_its_mark(patient: LocalGuest) -> None:
    patient.machine.run("true")
    since = health.Mark(console=3, audit=17, failed_units=frozenset({"a.service"}))
    patient.instance.loss = PANIC
    patient.sshd.stop()
    seen = health.examine(patient.machine, since)
    assert seen.mark.audit == 17
    assert seen.mark.failed_units == {"a.service"}
    assert seen.mark.console == len(patient.instance.console())
