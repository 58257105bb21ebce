"""The qemu platform with real libvirt and real QEMU: guests of one sector first, then the test OS."""

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kola.arch import get_arch, host_arch
from kola.errors import ConfigError, Loss, PlatformError
from kola.platform import Instance, Prepared, Scope
from kola.spec import Disk, MachineSpec, Nic, parse_disk
from kola.wait import wait_until
from platforms.qemu import driver, lifecycle
from platforms.qemu.driver import Qemu
from platforms.qemu.instance import QemuInstance
from platforms.qemu.options import Options
from platforms.qemu.process import find_guest

from .qemu_guests import (
    CONFIG,
    OWNER,
    POWER_OFF,
    RUN,
    SMALL,
    context_in,
    image_of,
    killed_run,
    make_disk,
    running,
)

TESTOS = Path(os.environ.get("KOLA_CACHE") or Path.home() / ".cache/kola") / "testos/x86_64/disk.qcow2"

pytestmark = [
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is not installed"),
    pytest.mark.skipif(host_arch().name != "x86_64", reason="the guests here are x86_64 code"),
]
needs_testos = pytest.mark.skipif(not TESTOS.exists(), reason=f"the test OS is not built: {TESTOS} is missing")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"kola-{RUN}-main-{request.node.name.removeprefix('test_')[:40]}"


@pytest.fixture(autouse=True)
def nothing_left(folder: Path) -> Iterator[None]:
    yield
    assert running() == []
    assert list(folder.glob("scratch/kola-*")) == []


def _loss(instance: Instance, seconds: float) -> Loss:
    loss = wait_until(instance.lost, seconds, what=f"the loss of {instance.name}")
    assert loss is not None
    return loss


# -- machines of one sector ------------------------------------------------------------------------------------------


def test_a_machine_runs_and_is_gone(qemu: Qemu, idle: Prepared, folder: Path, name: str) -> None:
    nics = (Nic(), Nic("52:54:00:ab:cd:ef"))
    spec = dataclasses.replace(SMALL, disk_gib=3, disks=(Disk(1, serial="data"),), nics=nics)
    began = time.monotonic()
    with qemu.launch(spec, CONFIG, name, idle) as machine:
        started = time.monotonic() - began
        assert started < 10  # 0.5 s on an idle host
        assert (machine.name, machine.address, machine.id != "") == (name, "127.0.0.1", True)
        assert machine.journal_path == folder / "machines" / name / "journal.jsonl"
        wait_until(lambda: "Booting from" in machine.console(), 30)
        assert machine.lost() is None
        socket.create_connection((machine.address, machine.port), 5).close()  # user-mode network listens
        config = folder / "scratch" / name / "config.ign"
        assert config.read_bytes() == CONFIG
        assert config.stat().st_mode & 0o777 == 0o600
        look = ["qemu-img", "info", "-U", "--output=json", str(config.parent / "root.qcow2")]
        assert json.loads(subprocess.check_output(look))["virtual-size"] == 3 << 30
        found = find_guest(name)
        assert found is not None
        environment = found.environment()
        found.close()
        assert (environment["KOLA_MACHINE_RUN_ID"], environment["KOLA_MACHINE_WORKER"]) == (RUN, "main")
        began = time.monotonic()
    assert time.monotonic() - began < 3  # 0.02 s on an idle host
    assert find_guest(name) is None
    assert not (folder / "scratch" / name).exists()
    assert {path.name for path in (folder / "machines" / name).iterdir()} == {
        "console.txt", "journal.jsonl", "ignition.jsonl", "qemu.log",
    }  # fmt: skip
    assert f"-name guest={name}" in (folder / "machines" / name / "qemu.log").read_text()


def test_other_root_disks_boot_too(qemu: Qemu, idle: Prepared, name: str) -> None:
    extra = (parse_disk("1G:512e"), parse_disk("1G:mpath"))
    for kind, savable in (("channel=nvme", False), ("channel=scsi", True), ("mpath", True)):
        spec = dataclasses.replace(SMALL, root_disk=parse_disk(f":{kind}"), disks=extra)
        with qemu.launch(spec, CONFIG, f"{name}-{kind.removeprefix('channel=')}", idle) as machine:
            wait_until(lambda machine=machine: "Booting from" in machine.console(), 30)  # type: ignore[misc]
            assert machine.lost() is None
        assert qemu.savable(spec) == savable
        assert qemu.fingerprint(spec, idle) != qemu.fingerprint(SMALL, idle)
    large = dataclasses.replace(SMALL, disk_gib=3)
    assert qemu.fingerprint(large, idle) != qemu.fingerprint(SMALL, idle)


def test_a_disk_that_does_not_boot(qemu: Qemu, idle: Prepared, folder: Path, name: str) -> None:
    prepared = dataclasses.replace(idle, image_ref=str(make_disk(folder / "empty.img", b"")))
    with qemu.launch(SMALL, CONFIG, name, prepared) as machine:
        loss = _loss(machine, 30)
    assert (loss.kind, loss.summary) == ("no-boot", "no bootable system: Boot failed: not a bootable disk")


def test_power_off_from_inside(qemu: Qemu, idle: Prepared, folder: Path, name: str) -> None:
    prepared = dataclasses.replace(idle, image_ref=str(make_disk(folder / "off.img", POWER_OFF)))
    with qemu.launch(SMALL, CONFIG, name, prepared) as machine:
        loss = _loss(machine, 30)
    assert (loss.kind, loss.summary) == ("exit", "the machine was powered off from inside")


def test_qemu_that_is_killed(qemu: Qemu, idle: Prepared, name: str) -> None:
    with qemu.launch(SMALL, CONFIG, name, idle) as machine:
        process = find_guest(name)
        assert process is not None
        os.kill(process.pid, signal.SIGTERM)
        process.close()
        loss = _loss(machine, 10)
    assert loss.kind == "provider"
    assert loss.summary.startswith("QEMU ended unexpectedly: qemu-system-x86_64: terminating on signal 15")


def test_reset_gives_a_lost_machine_a_new_life(qemu: Qemu, idle: Prepared, folder: Path, name: str) -> None:
    prepared = dataclasses.replace(idle, image_ref=str(make_disk(folder / "empty.img", b"")))
    with qemu.launch(SMALL, CONFIG, name, prepared) as machine:
        _loss(machine, 30)
        machine.reset()
        assert machine.lost() is None
        assert _loss(machine, 30).kind == "no-boot"
        assert machine.console().count("No bootable device.") == 2


def test_a_port_that_someone_else_took(qemu: Qemu, idle: Prepared, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        free = lifecycle._free_port
        ports = iter([taken, taken])
        monkeypatch.setattr(lifecycle, "_free_port", lambda: next(ports, None) or free())
        with qemu.launch(SMALL, CONFIG, name, idle) as machine:
            assert machine.port != taken
            assert machine.lost() is None


def test_qemu_that_does_not_start_leaves_nothing(qemu: Qemu, idle: Prepared, folder: Path, name: str) -> None:
    prepared = dataclasses.replace(idle, accelerator="tcg")
    odd = Qemu(Options(cpu="no-such-cpu"), host_arch(), qemu.context)
    odd._link = qemu._link
    with pytest.raises(PlatformError, match=f"{name}: QEMU does not start: unable to find CPU model 'no-such-cpu'"):
        odd.launch(SMALL, CONFIG, name, prepared).__enter__()
    assert not (folder / "scratch" / name).exists()


def test_bad_input_is_one_line(qemu: Qemu, idle: Prepared, folder: Path, name: str) -> None:
    broken = folder / "broken.qcow2"
    broken.write_bytes(b"QFI\xfb\0\0\0\3")
    with pytest.raises(ConfigError, match=r"image .*broken\.qcow2: .*") as caught:
        qemu.prepare(image_of(broken))
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="needs an image"):
        qemu.prepare(None)
    with pytest.raises(ConfigError, match=r"architecture s390x; allowed: x86_64"):
        Qemu(Options(), get_arch("s390x"), qemu.context).prepare(image_of(broken))
    with pytest.raises(ConfigError, match="at most"):
        qemu.launch(dataclasses.replace(SMALL, nics=(Nic(),) * 20), CONFIG, name, idle).__enter__()
    big = folder / "big.img"
    big.touch()
    os.truncate(big, 2 << 30)
    with pytest.raises(ConfigError, match=r"disk_gib=1 is less than the image's own 2\.0 GiB"):
        qemu.launch(
            dataclasses.replace(SMALL, disk_gib=1), CONFIG, name, dataclasses.replace(idle, image_ref=str(big))
        ).__enter__()
    with pytest.raises(ConfigError, match="run_id"):
        qemu.sweep(Scope(owner=OWNER))


def test_a_scratch_folder_with_a_long_path(folder: Path) -> None:
    long = folder / ("x" * 60)
    long.mkdir()
    with pytest.raises(ConfigError, match=r"at most .*TMPDIR"):
        Qemu(Options(), host_arch(), dataclasses.replace(context_in(folder), scratch=long))._link.connection()
    assert list(long.iterdir()) == []


# -- kept machines, killed runs --------------------------------------------------------------------------------------


def test_a_kept_machine_stays_until_it_is_swept(qemu: Qemu, idle: Prepared, folder: Path, name: str) -> None:
    with qemu.launch(SMALL, CONFIG, name, idle) as machine:
        machine.keep()
    process = find_guest(name)
    assert process is not None
    try:
        assert process.alive()
        assert (folder / "scratch" / name / "root.qcow2").exists()
        assert qemu.sweep(Scope(owner=OWNER, run_id=RUN, keep=frozenset({name}))) == []
        assert qemu.sweep(Scope(owner="someone else", run_id=RUN)) == []
        assert qemu.sweep(Scope(owner=OWNER, run_id=RUN, worker="gw7")) == []
        assert qemu.sweep(Scope(owner=OWNER, older_than=3600)) == []
        assert process.alive()
        assert qemu.sweep(Scope(owner=OWNER, run_id=RUN)) == [name]
        assert not process.alive()
        assert qemu.sweep(Scope(owner=OWNER, run_id=RUN)) == []
    finally:
        process.kill()
        process.close()
    assert (folder / "machines" / name / "qemu.log").exists()


def test_sweep_after_a_killed_process(qemu: Qemu, idle: Prepared, folder: Path, name: str) -> None:
    killed_run(folder, name, idle.image_ref, "qemu:///embed")
    process = find_guest(name)
    assert process is not None
    process.close()
    assert qemu.sweep(Scope(owner=OWNER, run_id=RUN, worker="gw0")) == []
    assert qemu.sweep(Scope(owner=OWNER, run_id=RUN, worker="gw9")) == [name]
    assert find_guest(name) is None
    assert not (folder / "scratch" / name).exists()


def test_sweep_finds_files_of_a_machine_that_is_gone(qemu: Qemu, idle: Prepared, folder: Path, name: str) -> None:
    killed_run(folder, name, idle.image_ref, "qemu:///embed")
    lifecycle.end(name)
    assert qemu.sweep(Scope(owner=OWNER, run_id=RUN)) == [name]
    assert not (folder / "scratch" / name).exists()


# -- the test OS -----------------------------------------------------------------------------------------------------


def _await_boots(machine: Instance, count: int) -> None:
    wait_until(lambda: machine.console().count("Booting from Hard Disk") == count, 60)


@pytest.fixture
def saved(qemu: Qemu, idle: Prepared, folder: Path, name: str) -> Iterator[Path]:
    """A machine of one sector, saved; it says nothing, so its clock is not looked at."""
    target = folder / "saved"
    target.mkdir()
    with qemu.launch(SMALL, CONFIG, f"{name}-gold", idle) as machine:
        assert isinstance(machine, QemuInstance)
        _await_boots(machine, 1)
        machine.save(target)
        assert machine.lost() is None, "it does not go on"
    yield target
    shutil.rmtree(target)


def test_a_saved_machine_is_restored_more_than_once(qemu: Qemu, idle: Prepared, saved: Path, name: str) -> None:
    with (
        qemu.restore(saved, SMALL, f"{name}-1", idle) as one,
        qemu.restore(saved, SMALL, f"{name}-2", idle) as two,
    ):
        assert one.port != two.port
        assert one.id != two.id
        for machine in (one, two):
            assert machine.lost() is None
            _await_boots(machine, 1)  # the history is the saved machine's
        two.reset()
        _await_boots(two, 2)
        _await_boots(one, 1)


def test_a_damaged_machine_is_not_restored(qemu: Qemu, idle: Prepared, saved: Path, name: str) -> None:
    state = saved / "state"
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    with pytest.raises(PlatformError, match=f"machine {name}: "), qemu.restore(saved, SMALL, name, idle):
        pass


def test_one_that_does_not_fit_is_not_restored(qemu: Qemu, idle: Prepared, saved: Path, name: str) -> None:
    bigger = dataclasses.replace(SMALL, memory_mib=512)
    with pytest.raises(PlatformError, match=f"machine {name}: "), qemu.restore(saved, bigger, name, idle):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_saving_on_a_full_disk_leaves_the_machine_alone(qemu: Qemu, idle: Prepared, name: str, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], check=True)
    try:
        with qemu.launch(SMALL, CONFIG, name, idle) as machine:
            assert isinstance(machine, QemuInstance)
            _await_boots(machine, 1)
            with pytest.raises(PlatformError, match="No space left on device"):
                machine.save(tmp_path)
            assert machine.lost() is None
            machine.reset()
            _await_boots(machine, 2)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_what_does_not_set_its_clock_is_not_saved(
    qemu: Qemu, idle: Prepared, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "CLOCK_SECONDS", 0.1)
    with qemu.launch(SMALL, CONFIG, name, idle) as machine:
        with pytest.raises(PlatformError, match=f"machine {name} does not set its clock"):
            qemu.save(machine, tmp_path)
        assert list(tmp_path.iterdir()) == []
        assert machine.lost() is None


@pytest.fixture(scope="module")
def testos(idle: Prepared) -> Prepared:
    return dataclasses.replace(idle, image_ref=str(TESTOS.resolve()))


def _boot_seconds(prepared: Prepared) -> float:
    return 30 * prepared.slowness


@needs_testos
@pytest.mark.slow
def test_kernel_panic_by_a_kernel_argument(qemu: Qemu, testos: Prepared, name: str) -> None:
    # The second one has the kernel print its command line even where the image says quiet.
    spec = MachineSpec(1024, kernel_args=("rdinit=/nonexistent",), first_boot_kernel_args=("ignore_loglevel",))
    with qemu.launch(spec, CONFIG, name, testos) as machine:
        loss = _loss(machine, _boot_seconds(testos))
        command_line = next(line for line in machine.console().splitlines() if "Kernel command line:" in line)
    assert loss.kind == "panic"
    assert "Unable to mount root fs" in loss.summary
    assert "ignition.firstboot ignore_loglevel " in command_line
    assert command_line.rstrip().endswith(" rdinit=/nonexistent")


@needs_testos
@pytest.mark.slow
def test_a_config_that_ignition_refuses(qemu: Qemu, testos: Prepared, name: str) -> None:
    with qemu.launch(MachineSpec(1024), b'{"ignition": {"version": "9.9.9"}}', name, testos) as machine:
        loss = _loss(machine, _boot_seconds(testos))
    assert (loss.kind, loss.summary) == ("ignition", "Ignition failed: unsupported config version")


@needs_testos
def test_emergency_shell(qemu: Qemu, testos: Prepared, name: str) -> None:
    spec = MachineSpec(1024, kernel_args=("rd.systemd.unit=emergency.target",))
    with qemu.launch(spec, CONFIG, name, testos) as machine:
        loss = _loss(machine, _boot_seconds(testos))
    assert loss.kind == "emergency"
