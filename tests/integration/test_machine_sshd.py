"""``Machine`` with a real sshd on this host in the place of a guest: commands and files."""

from __future__ import annotations

import os
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kola.errors import CommandFailed, CommandTimeout, ConfigError, MachineLost
from tests.integration.local_machine import LocalGuest, as_root
from tests.integration.local_sshd import needs_sshd

pytestmark = needs_sshd


# -- commands ---------------------------------------------------------------------------------------------------------


def test_run(guest: LocalGuest) -> None:
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
def test_run_as_another_user(guest: LocalGuest) -> None:
    if shutil.which("sudo") is None:
        pytest.skip("needs sudo")
    assert guest.machine.run("id -un; echo $A", user="nobody", env={"A": "x"}).stdout == "nobody\nx\n"


def test_connection_is_made_when_it_is_needed(guest: LocalGuest) -> None:
    assert [guest.machine.connected, bool(guest.machine.boot_id), guest.machine.connected] == [False, True, True]
    guest.machine.close()
    guest.machine.close()
    assert not guest.machine.connected


def test_bad_arguments_are_one_line(guest: LocalGuest) -> None:
    with pytest.raises(ConfigError, match=r"^sudo=True means user='root', not user='nobody'$"):
        guest.machine.run("id", sudo=True, user="nobody")


def test_failed_command_shows_everything(guest: LocalGuest) -> None:
    with pytest.raises(CommandFailed) as error:
        guest.machine.run("echo some output; echo the reason >&2; exit 3")
    text = str(error.value)
    assert text.startswith("command failed on kola-test-1: exit code 3 after ")
    for part in ("    | echo some output; echo the reason >&2; exit 3", "    | some output", "    | the reason"):
        assert part in text.splitlines()


def test_timeout_says_so_and_shows_the_circumstances(guest: LocalGuest) -> None:
    with pytest.raises(CommandTimeout) as error:
        guest.machine.run("echo begun; sleep 55", timeout=1)
    text = str(error.value)
    assert re.match(r"command timed out on kola-test-1 after \d+\.\d s", text), text  # how late, the host decides
    for part in ("| echo begun; sleep 55", "| begun", "its processes were killed", "Reached target",
                 "greeter: journal says hello", "queued jobs"):  # fmt: skip
        assert part in text
    assert "\x1b" not in text
    assert guest.machine.run("echo fine").stdout == "fine\n"


def test_default_time_limit_is_scaled(guest: LocalGuest) -> None:
    assert guest.machine.limits.command == 30


def test_run_many(guest: LocalGuest) -> None:
    results = guest.machine.run_many(
        ["echo $A; A=1", ["printf", "%s", "$x"], "echo $A; exit 3", "echo on"], check=False
    )
    assert [(r.command, r.stdout, r.exit_code) for r in results] == [
        ("echo $A; A=1", "\n", 0), ("printf %s '$x'", "$x", 0), ("echo $A; exit 3", "\n", 3), ("echo on", "on\n", 0),
    ]  # fmt: skip
    assert guest.machine.run_many([]) == []
    with pytest.raises(ConfigError, match=r"^sudo=True means user='root', not user='nobody'$"):
        guest.machine.run_many(["id"], sudo=True, user="nobody")


def test_run_many_stops_at_the_first_failure(guest: LocalGuest, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"(?s)exit code 3 after.*the reason") as error:
        guest.machine.run_many(["true", "echo the reason >&2; exit 3", ["touch", str(tmp_path / "never")]])
    assert "| echo the reason >&2; exit 3" in str(error.value)
    assert not (tmp_path / "never").exists()


def test_run_many_times_out(guest: LocalGuest, tmp_path: Path) -> None:
    with pytest.raises(CommandTimeout) as error:
        guest.machine.run_many(["sleep 0.7", "echo begun; sleep 55", f"touch {tmp_path}/never"], timeout=1)
    text = str(error.value)
    assert "| echo begun; sleep 55" in text.splitlines()[2]
    assert "| begun" in text
    assert not (tmp_path / "never").exists()


def test_run_many_on_a_machine_that_dies(guest: LocalGuest) -> None:
    guest.machine.connect()
    threading.Timer(0.5, guest.sshd.stop).start()
    with pytest.raises(MachineLost, match="SSH connection lost during: true; sleep 20; true"):
        guest.machine.run_many(["true", "sleep 20", "true"])


def test_run_many_finds_a_connection_that_broke_before(guest: LocalGuest) -> None:
    guest.machine.run("true")
    guest.sshd.stop()
    guest.sshd.start()
    assert [result.stdout for result in guest.machine.run_many(["echo 1", "echo 2"])] == ["1\n", "2\n"]


def test_commands_share_a_round_trip(guest: LocalGuest) -> None:
    results = guest.machine.run_many(["sh -c 'echo $PPID'", "sh -c 'echo $PPID'", "exit 1"], check=False)
    assert results[0].stdout == results[1].stdout


def test_threads(guest: LocalGuest) -> None:
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda n: guest.machine.run(f"sleep 0.2; echo {n}").stdout, range(12)))
    assert outputs == [f"{n}\n" for n in range(12)]


# -- files ------------------------------------------------------------------------------------------------------------


def test_files_there_and_back(guest: LocalGuest, tmp_path: Path) -> None:
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
def test_files_of_root(guest: LocalGuest, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    guest.machine.write_file(str(path), "x", mode=0o600, owner="nobody:nogroup", sudo=True)
    assert path.stat().st_uid == 65534
    assert path.stat().st_mode & 0o777 == 0o600
    assert guest.machine.read_file(str(path), sudo=True) == "x"


def test_files_that_are_not_there(guest: LocalGuest, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="No such file or directory"):
        guest.machine.get(str(tmp_path / "none"), tmp_path / "local")
    assert not list(tmp_path.glob("*local*"))
    with pytest.raises(CommandFailed, match=rf"(?s)write {tmp_path}/none/x.*No such file or directory"):
        guest.machine.write_file(f"{tmp_path}/none/x", "x")
    with pytest.raises(FileNotFoundError):
        guest.machine.put(tmp_path / "none", str(tmp_path / "local"))
