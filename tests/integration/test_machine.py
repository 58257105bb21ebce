"""``Machine`` on a real guest: boots, units, the journal, and what only another kernel can show."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from kola import ignition, images
from kola.arch import host_arch
from kola.errors import CheckFailed, CommandTimeout, MachineLost, WaitTimeout
from kola.keys import generate_key, write_client_key
from kola.machine import Access, Machine
from kola.provision import USER, provision
from kola.spec import MachineSpec
from platforms.qemu.driver import Qemu
from tests.integration.conftest import TESTOS, needs_testos
from tests.integration.qemu_guests import RUN

pytestmark = needs_testos

BROKEN = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo the reason; exit 3'\n"
SLOW = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 3\n"


@pytest.fixture(scope="module")
def machine(qemu: Qemu, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("access")
    name = f"kola-{RUN}-main-machine"
    client, host = generate_key(), generate_key()
    key_file = folder / "id"
    write_client_key(key_file, client)
    config = ignition.empty()
    for unit, text in {"broken": BROKEN, "slow": SLOW}.items():
        config = ignition.add_unit(config, f"{unit}.service", text)
    config = provision(config, client_key=client.public, host_key=host, capabilities=qemu.capabilities)
    prepared = qemu.prepare(images.resolve("testos", cache=TESTOS.parents[2], arch=host_arch()))
    with qemu.launch(MachineSpec(), ignition.serialise(config), name, prepared) as instance:
        access = Access(USER, client, host.public, key_file, folder / "known_hosts")
        booted = Machine(instance, access, slowness=prepared.slowness, artifacts=qemu.context.artifacts / name)
        booted.connect()
        yield booted
        booted.close()


def test_commands_and_root(machine: Machine) -> None:
    assert machine.run("id -un").stdout == "core\n"
    assert machine.run("id -un; echo $A", sudo=True, env={"A": "x y"}).stdout == "root\nx y\n"
    assert machine.run(["id", "-un"], user="nobody").stdout == "nobody\n"
    machine.write_file("/etc/kola-test", "hello\n", mode=0o640, owner="root:core", sudo=True)
    assert machine.run(["stat", "-c", "%a %U %G", "/etc/kola-test"]).stdout == "640 root core\n"
    assert machine.read_file("/etc/kola-test") == "hello\n"


def test_timeout_reaches_what_sudo_started(machine: Machine) -> None:
    with pytest.raises(CommandTimeout) as error:
        machine.run("sudo sleep 7001 & sudo -u nobody sleep 7002", timeout=machine.slowness)
    for part in ("its processes were killed", "queued jobs", "No jobs running", "login:"):
        assert part in str(error.value)
    assert machine.run("pgrep -x sleep", check=False).stdout == ""


def test_journal_has_everything_up_to_the_call(machine: Machine) -> None:
    since = machine.cursor()
    for number in range(3):
        machine.run(f"logger -t kola-test message {number}")
        entries = machine.journal(since=since)
        messages = [entry.message for entry in entries if entry.identifier == "kola-test"]
        assert messages == [f"message {n}" for n in range(number + 1)]
    machine.run("echo '<3>kola-test: from the kernel' > /dev/kmsg", sudo=True)
    kernel = [entry for entry in machine.journal(since=since) if entry.transport == "kernel"]
    assert ("kola-test", "from the kernel", 3) in [(e.identifier, e.message, e.priority) for e in kernel]
    whole = machine.journal()
    assert whole[0].message.startswith("Linux version")
    assert len({entry.cursor for entry in whole}) == len(whole)
    assert machine.journal(unit="ssh") == [entry for entry in machine.journal() if entry.concerns("ssh.service")] != []


def test_journal_comes_through_its_own_channel(machine: Machine) -> None:
    machine.run("logger -t kola-test without SSH")
    machine.cursor()
    assert "without SSH" in [entry.message for entry in machine.journal_on_host()]


def test_journal_over_ssh_is_the_same(machine: Machine) -> None:
    instance, access = machine.instance, machine.access
    channelless = _NoChannel(instance)
    without = Machine(channelless, access, slowness=machine.slowness, artifacts=machine.artifacts)  # type: ignore[arg-type]
    since = machine.cursor()
    machine.run("logger -t kola-test seen twice")
    over_channel, over_ssh = machine.journal(since=since), without.journal(since=since)
    without.close()
    seen = [entry.cursor for entry in over_channel]
    assert seen
    assert [entry.cursor for entry in over_ssh][: len(seen)] == seen


class _NoChannel:
    """The same instance as a platform without a journal channel shows it."""

    journal_path = None

    def __init__(self, instance: object) -> None:
        self._instance = instance

    def __getattr__(self, name: str) -> object:
        return getattr(self._instance, name)


def test_units(machine: Machine) -> None:
    machine.wait_for_unit("ssh")
    with pytest.raises(CheckFailed, match=r"unit none.service on kola-.* is not-found, not active"):
        machine.wait_for_unit("none.service")
    with pytest.raises(WaitTimeout, match=r"(?s)broken on .* to be active: it is inactive \(dead\).*status:"):
        machine.wait_for_unit("broken", timeout=0.1)
    machine.run(["systemctl", "start", "--no-block", "broken", "slow"], sudo=True)
    with pytest.raises(CheckFailed, match=r"(?s)unit broken on .* is failed.*status=3.*the reason"):
        machine.wait_for_unit("broken")
    machine.wait_for_unit("slow.service")
    machine.wait_for_unit("broken", state="failed")
    assert machine.failed_units() == ["broken.service"]
    machine.run(["systemctl", "reset-failed"], sudo=True)
    assert machine.failed_units() == []


def test_audit_log_grows(machine: Machine) -> None:
    size = machine.audit_size()
    assert size > 0
    machine.run(["sudo", "logger", "x"])
    new = machine.audit_log(since=size)
    assert any(line.startswith("type=USER_CMD") for line in new)
    whole = machine.audit_log()
    assert whole[whole.index(new[0]) :][: len(new)] == new
    assert all(line.startswith("type=") for line in whole)


ENDING = "trap 'sleep 3; echo last words; exit 0' TERM; touch /run/slow-to-end; while :; do sleep 0.1; done"


def test_reboot(machine: Machine) -> None:
    before, since = machine.boot_id, machine.cursor()
    machine.run(["systemd-run", "--unit=slow-to-end", "bash", "-c", ENDING], sudo=True)
    machine.run("until [ -e /run/slow-to-end ]; do sleep 0.1; done", timeout=60)
    machine.reboot()
    assert machine.boot_id != before
    assert machine.run("cat /proc/sys/kernel/random/boot_id").stdout.strip() == machine.boot_id
    told = {entry.message: entry.boot_id for entry in machine.journal(since=since)}
    assert machine.boot_id.replace("-", "") in told.values()
    assert told["last words"] == before.replace("-", ""), "what a service says while the machine shuts down arrives"
    assert machine.read_file("/etc/kola-test") == "hello\n"


@pytest.mark.slow
def test_power_cut(machine: Machine) -> None:
    before = machine.boot_id
    machine.reset()
    assert machine.boot_id != before


def test_panic_during_a_command(machine: Machine) -> None:
    began = time.monotonic()
    with pytest.raises(MachineLost, match="Kernel panic - not syncing") as error:
        machine.run("echo c > /proc/sysrq-trigger; sleep 60", sudo=True)
    assert error.value.loss.kind == "panic"
    assert time.monotonic() - began < 10 * machine.slowness
    assert "Kernel panic" in machine.describe()
