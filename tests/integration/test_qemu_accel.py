"""Which accelerator runs guests, found out with the real QEMU of this host."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from kola.arch import get_arch, host_arch
from kola.errors import ConfigError
from platforms.qemu import accel, probe_guest

from .qemu_guests import HALT, make_disk

pytestmark = [
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is not installed"),
    pytest.mark.skipif(host_arch().name != "x86_64", reason="the guests here are x86_64 code"),
]


def test_the_probe_guest_answers_under_tcg_in_time(tmp_path: Path) -> None:
    emulator = shutil.which("qemu-system-x86_64") or ""
    disk = tmp_path / "disk.img"
    disk.write_bytes(probe_guest.boot_sector())
    os.truncate(disk, probe_guest.DISK_BYTES)
    command = accel.probe_command(host_arch(), emulator, "tcg", "max", disk)
    assert accel.run_probe(command, seconds=30) is None


def test_a_guest_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    emulator = shutil.which("qemu-system-x86_64") or ""
    command = accel.probe_command(host_arch(), emulator, "tcg", "max", make_disk(tmp_path / "halt.img", HALT))
    began = time.monotonic()
    assert accel.run_probe(command, seconds=1) == "/dev/kvm opens but ran no guest within 1 s"
    assert time.monotonic() - began < 5


def test_qemus_own_complaint_is_the_reason(tmp_path: Path) -> None:
    emulator = shutil.which("qemu-system-x86_64") or ""
    command = accel.probe_command(host_arch(), emulator, "tcg", "no-such-cpu", make_disk(tmp_path / "halt.img", HALT))
    assert "unable to find CPU model 'no-such-cpu'" in (accel.run_probe(command, seconds=30) or "")


def test_kvm_or_a_reason_why_not(tmp_path: Path) -> None:
    emulator = shutil.which("qemu-system-x86_64") or ""
    found = accel.choose("auto", host_arch(), emulator, "host", tmp_path)
    if found.name == "kvm":
        assert found.slowness == 1.0
        return
    assert found.slowness > 1
    assert found.note.endswith(": using tcg")
    assert "/dev/kvm" in found.note
    with pytest.raises(ConfigError, match=r"-P accelerator=kvm: .*allowed here: auto, tcg"):
        accel.choose("kvm", host_arch(), emulator, "host", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_device_there_is_no_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "KVM_DEVICE", tmp_path / "kvm")
    assert accel.choose("auto", host_arch(), "qemu", "host", tmp_path).note.startswith("there is no ")
    assert "no s390x guest" in accel.choose("auto", get_arch("s390x"), "qemu", "host", tmp_path).note
