"""Connections and commands against a real sshd."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from paramiko import Message
from paramiko.common import cMSG_CHANNEL_DATA, cMSG_CHANNEL_EOF

from kola.command import Line, TimedOutCommand
from kola.doorbell import Doorbell
from kola.errors import ConfigError, KolaError
from kola.keys import generate_key
from kola.ssh import CHANNELS, Connection, ConnectionLost, HostKeyMismatch
from kola.wait import wait_until
from tests.integration.local_machine import as_root
from tests.integration.local_sshd import LocalSshd, connect, local_sshd, needs_sshd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_sshd

MIB = 1 << 20


@pytest.fixture
def frozen_filesystem(tmp_path: Path) -> Iterator[Path]:
    """A file system on which a writer hangs, deaf to signals, until it is thawed."""
    image, folder = tmp_path / "image", tmp_path / "frozen"
    image.write_bytes(bytes(16 * MIB))
    folder.mkdir()
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    try:
        subprocess.run(["fsfreeze", "--freeze", folder], check=True)
        yield folder
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", folder], check=False, capture_output=True)
        subprocess.run(["umount", folder], check=True)


def processes_with(mark: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark in path.read_bytes().decode(errors="replace").split("\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


# -- commands --------------------------------------------------------------------------------------------------------


def test_streams_and_exit_code(connection: Connection) -> None:
    result = connection.run("echo out; echo err >&2; exit 3", timeout=10)
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
    assert result.command == "echo out; echo err >&2; exit 3"
    assert 0 < result.duration < 10


def test_standard_input_is_delivered_and_closed(connection: Connection) -> None:
    assert connection.run("cat; echo end", input=b"one\ntwo", timeout=10).stdout == "one\ntwoend\n"
    assert connection.run("cat", timeout=10).stdout == ""


def test_megabytes_on_both_streams_and_stdin_at_once(connection: Connection) -> None:
    size = 24 * MIB
    data = os.urandom(MIB) * (size // MIB)
    out = io.BytesIO()
    result = connection.run(f"head -c {size} /dev/zero >&2 & cat; wait", input=data, output=out, timeout=60)
    assert out.getvalue() == data
    assert len(result.stderr) == size
    assert result.stdout == ""


def test_streams_to_and_from_files(connection: Connection, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(3 * MIB + 7))
    with source.open("rb") as given, target.open("wb") as taken:
        connection.run("cat", input=given, output=taken, timeout=30)
    assert target.read_bytes() == source.read_bytes()


def test_output_that_is_no_utf8_does_not_hurt(connection: Connection) -> None:
    result = connection.run(r"printf 'a\377b'; printf '\200' >&2", timeout=10)
    assert (result.stdout, result.stderr) == ("a\ufffdb", "\ufffd")


def test_input_that_nobody_reads(connection: Connection) -> None:
    assert connection.run("exit 5", input=b"x" * 16 * MIB, timeout=20).exit_code == 5
    assert connection.run("head -c 3", input=b"abc" * 8 * MIB, timeout=20).stdout == "abc"


def test_input_that_cannot_be_read_is_the_callers_error(connection: Connection, tmp_path: Path) -> None:
    with (tmp_path / "writable").open("wb") as file, pytest.raises(OSError, match="read"):
        connection.run("cat", input=file, timeout=10)
    assert connection.run("true", timeout=10).exit_code == 0


@pytest.mark.parametrize("kind", [cMSG_CHANNEL_EOF, cMSG_CHANNEL_DATA])
def test_input_that_comes_when_the_channel_is_closed(sshd: LocalSshd, kind: bytes) -> None:
    """The command may end while its input is on its way out; sshd would end the whole connection for that."""
    connection = connect(sshd)
    transport = connection._transport
    channel = transport.open_session()
    channel.exec_command("exit 0")
    wait_until(lambda: channel.closed, 10)
    late = Message()
    late.add_byte(kind)
    late.add_int(channel.remote_chanid)
    late.add_string("x")
    with transport.sending(channel):
        transport._send_user_message(late)  # type: ignore[attr-defined]
    assert connection.run("echo fine", input=b"to a channel", timeout=10).stdout == "fine\n"
    connection.close()


def test_many_commands_at_once_that_do_not_read(sshd: LocalSshd) -> None:
    connection = connect(sshd)

    def work(number: int) -> list[tuple[str, str, int]]:
        line = Line(f"exec bash --norc -c 'printf {number}; echo e{number} >&2; exit {number % 3}'", replaces=True)
        results = [connection.run(line, input=b"x" * (turn % 2), timeout=30) for turn in range(60)]
        return [(result.stdout, result.stderr, result.exit_code) for result in results]

    with ThreadPoolExecutor(4) as pool:
        for number, results in enumerate(pool.map(work, range(4))):
            assert results == [(f"{number}", f"e{number}\n", number % 3)] * 60
    connection.close()


@pytest.mark.parametrize(("name", "code"), [("TERM", 143), ("KILL", 137), ("SEGV", 139)])
def test_end_by_signal(connection: Connection, name: str, code: int) -> None:
    assert connection.run(f"echo last; kill -{name} $$", timeout=10).exit_code == code
    result = connection.run(f"exec bash -c 'echo last; kill -{name} $$'", timeout=10)
    assert (result.exit_code, result.stdout) == (code, "last\n")


def test_several_threads_at_once(connection: Connection) -> None:
    def work(number: int) -> str:
        return connection.run(f"sleep 0.3; seq {number} {number + 9999}", timeout=30).stdout

    began = time.monotonic()
    with ThreadPoolExecutor(3 * CHANNELS) as pool:
        outputs = list(pool.map(work, range(3 * CHANNELS)))
    assert [out.split()[0] for out in outputs] == [str(n) for n in range(3 * CHANNELS)]
    assert all(len(out.split()) == 10_000 for out in outputs)
    assert time.monotonic() - began < 3 * CHANNELS * 0.3


# -- time limits -----------------------------------------------------------------------------------------------------


def test_timeout_gives_what_there_was_and_leaves_no_process(connection: Connection) -> None:
    mark = f"{os.getpid()}77771"
    began = time.monotonic()
    with pytest.raises(TimedOutCommand) as error:
        connection.run(f"echo out; echo err >&2; setsid sleep {mark} & (sleep {mark}; :); echo never", timeout=1)
    assert 1 <= time.monotonic() - began < 8
    assert (error.value.result.stdout, error.value.result.stderr) == ("out\n", "err\n")
    assert error.value.result.exit_code == -1
    assert "its processes were killed" in str(error.value)
    assert "this is a timeout" in str(error.value)
    assert processes_with(mark) == []
    assert connection.run("echo fine", timeout=10).stdout == "fine\n"


def test_timeout_reaches_what_dropped_its_environment(connection: Connection) -> None:
    mark = f"{os.getpid()}77772"
    with pytest.raises(TimedOutCommand, match="were killed"):
        connection.run(f"env -i sleep {mark}; echo never", timeout=1)
    assert processes_with(mark) == []


@as_root
def test_timeout_waits_for_what_cannot_die_yet(connection: Connection, frozen_filesystem: Path) -> None:
    thaw = threading.Timer(2.5, subprocess.run, [["fsfreeze", "--unfreeze", frozen_filesystem]])
    thaw.start()
    with pytest.raises(TimedOutCommand, match="were killed"):
        connection.run(f"dd if=/dev/zero of={frozen_filesystem}/file count=1", timeout=1)
    thaw.join()


def test_child_in_the_background_that_holds_the_output(connection: Connection) -> None:
    mark = f"{os.getpid()}77773"
    with pytest.raises(TimedOutCommand, match=r"ended with exit code 4, but a child of it holds its output") as error:
        connection.run(f"sleep {mark} & echo out; exit 4", timeout=1)
    assert error.value.result.exit_code == 4
    assert error.value.result.stdout == "out\n"
    assert processes_with(mark) == []


def test_daemon_that_lets_go_stays(connection: Connection) -> None:
    mark = f"{os.getpid()}77774"
    assert connection.run(f"sleep {mark} </dev/null >/dev/null 2>&1 & echo started", timeout=5).exit_code == 0
    pids = wait_until(lambda: processes_with(mark), 5)
    assert len(pids) == 1
    os.kill(pids[0], 9)


def test_watch_is_asked_while_waiting_and_ends_it(connection: Connection) -> None:
    def watch() -> None:
        raise KolaError("the machine is dead")

    began = time.monotonic()
    with pytest.raises(KolaError, match="the machine is dead"):
        connection.run("sleep 5", timeout=30, watch=watch)
    assert time.monotonic() - began < 3


# -- connections -----------------------------------------------------------------------------------------------------


def test_other_host_key_is_refused(sshd: LocalSshd) -> None:
    with pytest.raises(HostKeyMismatch, match="another host key than the machine was given"):
        Connection.open("127.0.0.1", sshd.port, sshd.user, sshd.client_key, generate_key().public, timeout=10)
    with pytest.raises(ConfigError, match="expected a line 'ssh-ed25519"):
        Connection.open("127.0.0.1", sshd.port, sshd.user, sshd.client_key, "ssh-rsa AAAA", timeout=10)


def test_other_client_key_is_refused(sshd: LocalSshd) -> None:
    with pytest.raises(ConnectionLost, match=r"may not log in \(yet\)"):
        Connection.open("127.0.0.1", sshd.port, sshd.user, generate_key(), sshd.host_key.public, timeout=10)


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ConnectionLost, match=f"port {port}: .*refused"):
        Connection.open("127.0.0.1", port, "core", generate_key(), generate_key().public, timeout=5)


def test_somebody_listens_and_says_nothing() -> None:
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ConnectionLost):
            Connection.open("127.0.0.1", port, "core", generate_key(), generate_key().public, timeout=1)
    assert time.monotonic() - began < 4


def test_connection_lost_during_a_command(tmp_path: Path) -> None:
    with local_sshd(tmp_path) as sshd:
        connection = connect(sshd)
        threading.Timer(1, sshd.stop).start()
        began = time.monotonic()
        with pytest.raises(ConnectionLost, match="broke before the command ended: sleep 20"):
            connection.run("sleep 20", timeout=60)
        assert time.monotonic() - began < 5
        with pytest.raises(ConnectionLost, match="could not be sent") as error:
            connection.run("true", timeout=10)
        assert not error.value.sent
        assert not connection.alive
        connection.close()
        connection.close()


def test_the_server_of_these_tests_is_stopped_once(tmp_path: Path) -> None:
    """It is by a timer and at the end of its test, sometimes in the same moment."""
    with local_sshd(tmp_path) as sshd, ThreadPoolExecutor(4) as pool:
        for stopped in [pool.submit(sshd.stop) for _ in range(4)]:
            stopped.result()


def test_doorbell_waits_for_the_server_to_speak(tmp_path: Path) -> None:
    with local_sshd(tmp_path) as sshd:
        sshd.stop()
        bell = Doorbell("127.0.0.1", sshd.port, patience=0.2)
        assert not any(bell.answered() for _ in range(5))
        with socket.create_server(("127.0.0.1", sshd.port)) as silent, contextlib.ExitStack() as accepted:
            silent.setblocking(False)

            def rung() -> bool:
                assert bell.answered() is None
                with contextlib.suppress(BlockingIOError):
                    accepted.enter_context(silent.accept()[0])
                    return True
                return False

            for _ in range(2):  # it accepts, as a forwarded port does, and stays silent: the bell is rung again
                wait_until(rung, 5, interval=0.02)
        sshd.start()
        sock = wait_until(bell.answered, 5, interval=0.02)
        assert sock is not None
        opened = Connection.over(sock, sshd.user, sshd.client_key, sshd.host_key.public, timeout=10)
        assert opened.run("echo hello", timeout=10).stdout == "hello\n"
        opened.close()
        bell.close()


def test_doorbell_waits_by_itself(tmp_path: Path) -> None:
    with local_sshd(tmp_path) as sshd:
        sshd.stop()
        bell = Doorbell("127.0.0.1", sshd.port)
        began = time.monotonic()
        assert bell.answered(0.3) is None  # refused all the time
        assert 0.3 <= time.monotonic() - began < 20
        starts = threading.Timer(0.5, sshd.start)
        starts.start()
        sock = bell.answered(20)
        assert sock is not None
        assert sock.recv(4) == b"SSH-"
        sock.close()
        starts.join()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            quiet = Doorbell("127.0.0.1", silent.getsockname()[1])
            assert quiet.answered(0.2) is None
            quiet.close()


def test_doorbell_rings_anew_when_the_machine_says_that_it_is_up() -> None:
    said = 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        bell = Doorbell("127.0.0.1", server.getsockname()[1], patience=60, signals=lambda: said)
        assert bell.answered(0.2) is None
        with server.accept()[0] as early:  # made too early: nobody will ever answer it
            assert bell.answered(0.2) is None
            said += 1
            assert bell.answered(0.2) is None
            assert early.recv(1) == b"", "the old connection is still waited for"
        with server.accept()[0] as second:
            second.sendall(b"SSH-2.0-x")
            sock = bell.answered(10)
            assert sock is not None
            sock.close()
