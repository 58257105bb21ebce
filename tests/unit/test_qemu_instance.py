"""The watch over a machine's logs, and the hold on QEMU's process: real files, real processes, no guest."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from kola.errors import Loss
from kola.wait import wait_until
from platforms.qemu import instance, lifecycle
from platforms.qemu.binding import libvirt
from platforms.qemu.instance import DeathWatch, GrowingFile, QemuInstance
from platforms.qemu.process import find_guest, guests

PANIC = b"[    6.3] Kernel panic - not syncing: sysrq triggered crash\r\n[    6.4] CPU: 1"
EMERGENCY = b"\r\nPress Enter for emergency shell."
IGNITION = json.dumps(
    {"MESSAGE": "CRITICAL : Ignition failed: bad config", "PRIORITY": "6", "SYSLOG_IDENTIFIER": "ignition"}
).encode()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "PATIENCE", {"emergency": (0.6, 1.5), "ignition": (1.2, 3)})
    monkeypatch.setattr(instance, "PATIENCE_ELSE", (0.2, 1.5))


class Logs:
    def __init__(self, folder: Path) -> None:
        self.console, self.ignition = folder / "console.txt", folder / "ignition.jsonl"
        self.watch = DeathWatch(GrowingFile(self.console), GrowingFile(self.ignition))

    def say(self, text: bytes, where: Path | None = None) -> None:
        with (where or self.console).open("ab") as file:
            file.write(text)

    def loss(self) -> Loss:
        loss = wait_until(self.watch.poll, 5, interval=0.02)
        assert loss is not None
        return loss


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def test_news_begins_with_the_line_that_was_unfinished(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = GrowingFile(path)
    assert (file.news(), file.text()) == ("", "")
    path.write_bytes(b"one\ntw")
    assert file.news() == "one\ntw"
    assert file.news() == ""
    with path.open("ab") as more:
        more.write(b"o\nth")
    assert file.news() == "two\nth"
    file.forget()
    assert (file.news(), file.text(), file.whole()) == ("", "", "one\ntwo\nth")


def test_nothing_is_wrong(logs: Logs) -> None:
    assert logs.watch.poll() is None
    logs.say(b"[    0.0] Linux version 6\r\n")
    assert logs.watch.poll() is None


def test_a_panic_is_reported_once_the_machine_is_silent(logs: Logs) -> None:
    logs.say(PANIC)
    assert logs.watch.poll() is None
    logs.say(b" PID: 1\r\n[    6.5] more\r\n")
    assert logs.watch.poll() is None
    loss = logs.loss()
    assert loss.kind == "panic"
    assert loss.detail[-1] == "[    6.5] more"


def test_a_sign_that_is_cut_in_two(logs: Logs) -> None:
    logs.say(PANIC[:20])
    assert logs.watch.poll() is None
    logs.say(PANIC[20:])
    assert logs.loss().summary == "kernel panic: sysrq triggered crash"


def test_a_machine_that_never_falls_silent(logs: Logs) -> None:
    logs.say(PANIC + b"\r\n")
    began = time.monotonic()

    def poll() -> Loss | None:
        logs.say(b"[    7.0] still here\r\n")
        return logs.watch.poll()

    assert wait_until(poll, 5, interval=0.02)
    assert 1.4 < time.monotonic() - began < 3


def test_an_emergency_waits_for_ignitions_journal(logs: Logs) -> None:
    logs.say(EMERGENCY)
    began = time.monotonic()
    assert logs.loss().kind == "emergency"
    assert time.monotonic() - began > 0.5


def test_an_emergency_that_ignition_is_to_blame_for(logs: Logs) -> None:
    logs.say(EMERGENCY)
    assert logs.watch.poll() is None
    logs.say(IGNITION + b"\n", logs.ignition)
    loss = logs.watch.poll()
    assert loss is not None
    assert (loss.kind, loss.summary) == ("ignition", "Ignition failed: bad config")


def test_a_failed_unit_of_ignition_waits_longer_for_its_message(logs: Logs) -> None:
    unit = b"[FAILED] Failed to start ignition-fetch-offli\xe2\x80\xa6ice - Ignition (fetch-offline).\r\n"
    logs.say(unit + EMERGENCY)
    began = time.monotonic()
    assert logs.loss().kind == "ignition"
    assert time.monotonic() - began > 1.1


def test_after_a_reset_the_past_does_not_count(logs: Logs) -> None:
    logs.say(PANIC)
    logs.loss()
    logs.watch.forget()
    logs.say(b"\r\n[    0.0] Linux version 6\r\n")
    assert logs.watch.poll() is None


# -- processes -------------------------------------------------------------------------------------------------------


@pytest.fixture
def fake_guest() -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like QEMU in /proc; it ends with its standard input."""
    arguments = ["/usr/bin/qemu-fake", "-c", "read line", "-name", "guest=kola-unit-main-1,debug-threads=on"]
    with subprocess.Popen(arguments, executable="/bin/sh", stdin=subprocess.PIPE, env={"KOLA_X": "1=2"}) as process:
        wait_until(lambda: "kola-unit-main-1" in _names(), 5)
        yield process
        process.kill()


def _names() -> list[str]:
    found = []
    for name, process in guests():
        process.close()
        found.append(name)
    return found


def test_a_guest_is_found_by_its_whole_name(fake_guest: subprocess.Popen[bytes]) -> None:
    found = find_guest("kola-unit-main-1")
    assert found is not None
    with closing(found):
        assert found.pid == fake_guest.pid
        assert found.alive()
        assert found.environment()["KOLA_X"] == "1=2"
    assert find_guest("kola-unit-main") is None


def test_kill_does_not_wait_for_the_parent_to_notice(fake_guest: subprocess.Popen[bytes]) -> None:
    found = find_guest("kola-unit-main-1")
    assert found is not None
    with closing(found):
        began = time.monotonic()
        found.kill()
        assert time.monotonic() - began < 2
        assert not found.alive()  # a zombie: nobody has waited for it
        assert fake_guest.poll() == -9
        found.kill()  # and again: nothing happens


def test_end_ends_one_guest_and_is_idempotent(fake_guest: subprocess.Popen[bytes]) -> None:
    lifecycle.end("kola-unit-main")
    assert fake_guest.poll() is None
    lifecycle.end("kola-unit-main-1")
    assert fake_guest.wait(5) == -9
    lifecycle.end("kola-unit-main-1")


# -- events ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(tmp_path: Path) -> QemuInstance:
    """A machine whose QEMU lives, and has just stopped it at an error of its disk."""
    folder = tmp_path / "scratch"
    files = {name: folder / name for name in ("console", "journal", "ignition_journal", "ready", "wake")}
    tags = SimpleNamespace(log=folder / "log", folder=folder)
    guest = SimpleNamespace(name="kola-unit-main-1", macs=("",), slowness=1.0, tags=tags, **files)
    domain = SimpleNamespace(UUIDString=lambda: "id", reset=lambda: None)
    machine = QemuInstance(2222, domain, SimpleNamespace(alive=lambda: True), guest)  # type: ignore[arg-type]
    machine.on_event(None, None, libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED, None)
    assert machine.lost() is None
    machine.on_event(None, None, libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR, None)
    return machine


def test_a_full_disk_of_this_host_is_not_the_guests_fault(stopped: QemuInstance, tmp_path: Path) -> None:
    loss = stopped.lost()
    assert loss is not None
    assert loss.kind == "provider"
    assert f"no space is left for its disks in {tmp_path / 'scratch'}" in loss.summary
    stopped.reset()
    assert stopped.lost() == loss, "it stands still after that, too"


def test_one_that_goes_on_is_not_lost(stopped: QemuInstance) -> None:
    stopped.on_event(None, None, libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED, None)
    assert stopped.lost() is None
