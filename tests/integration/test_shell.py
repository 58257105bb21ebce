"""Commands in the shells that stay, on a real sshd: as separate as if each had a session of its own."""

from __future__ import annotations

import io
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kola.channel import ConnectionLost
from kola.command import Line, TimedOutCommand
from kola.ssh import Connection
from kola.wait import wait_until
from tests.integration.local_sshd import connect, local_sshd, needs_sshd

pytestmark = needs_sshd

MIB = 1 << 20


def out(connection: Connection, line: str) -> str:
    return connection.run(line, timeout=20).stdout


def raw(connection: Connection, line: str) -> bytes:
    taken = io.BytesIO()
    connection.run(line, output=taken, timeout=20)
    return taken.getvalue()


def shell_pid(connection: Connection) -> int:
    """Return the process id of the login user's shell."""
    place = connection._shells[False]
    assert place.shell is not None
    assert place.shell._greeting is not None
    return int(place.shell._greeting.pid)


# -- one after the other -----------------------------------------------------------------------------------------------


def test_commands_share_a_shell(connection: Connection) -> None:
    parents = {out(connection, "exec sh -c 'echo $PPID'") for _ in range(5)}
    assert parents == {f"{shell_pid(connection)}\n"}


def test_a_command_costs_one_fork(connection: Connection) -> None:
    connection.run("true", timeout=10)
    forks = [int(out(connection, "exec sh -c 'echo $$'")) for _ in range(2)]
    # Ids of processes only grow; other processes of this host may begin meanwhile, so the smallest step counts.
    steps = []
    for _ in range(20):
        forks = [int(out(connection, "exec sh -c 'echo $$'")) for _ in range(2)]
        steps.append(forks[1] - forks[0])
    assert min(step for step in steps if step > 0) == 1


def test_boot_id(connection: Connection) -> None:
    assert connection.boot_id(timeout=10) == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert connection.boot_id(timeout=10) == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_nothing_of_a_command_stays(connection: Connection) -> None:
    show = "pwd; umask; ulimit -n; export -p; declare -F; shopt -p; set +o; trap; alias; env"
    without_names = r"KOLA_COMMAND=\"?\w+\"?|BASHPID.*"
    before = out(connection, show)
    connection.run(
        "cd /; umask 077; ulimit -n 50; export A=1; f() { :; }; shopt -s nullglob; set -f; trap 'echo t' EXIT;"
        "alias l=ls; exec 5>&1 2>/dev/null >&2 </dev/zero", timeout=10,
    )  # fmt: skip
    after = out(connection, show)
    assert re.sub(without_names, "", after) == re.sub(without_names, "", before)
    assert "KOLA_COMMAND" in before
    assert connection.run("echo e >&2; cat", timeout=10).stderr == "e\n"


def test_a_command_has_its_three_streams_only(connection: Connection) -> None:
    assert out(connection, "exec bash -c 'for fd in /proc/$$/fd/*; do echo ${fd##*/}; done'").split()[:3] == list("012")
    assert out(connection, "[ -e /proc/$BASHPID/fd/3 ] || [ -e /proc/$BASHPID/fd/4 ] || echo none") == "none\n"
    assert out(connection, "readlink /proc/self/fd/0") == "/dev/null\n"


def test_the_mark_is_nowhere_to_be_seen(connection: Connection) -> None:
    connection.run("true", timeout=10)
    place = connection._shells[False]
    assert place.shell is not None
    mark = place.shell._out._mark.decode()
    seen = out(
        connection, "set; declare -p; env; set -x; : x; cat /proc/$PPID/{environ,cmdline} /proc/$$/{environ,cmdline}"
    )
    assert "KOLA_COMMAND" in seen
    assert mark not in seen


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("exit 3", 3), ("exec false", 1), ("set -e; false; echo never", 1), ("set -u; echo $NOT_THERE", 1),
        ("exec /does/not/exist", 127), ("exec /etc/passwd", 126), ("exit 255", 255), ("kill -KILL $BASHPID", 137),
        ("kill -TERM 0", 143), ("exec bash -c 'kill -SEGV $$'", 139), ("return 4 2>/dev/null; exit 9", 9),
        ("trap 'exit 6' EXIT; false", 6), ("break; continue; exit 2", 2),
    ],
)  # fmt: skip
def test_exit_codes_leave_the_shell_alone(connection: Connection, line: str, code: int) -> None:
    connection.run("true", timeout=10)
    before = shell_pid(connection)
    assert connection.run(line, timeout=10).exit_code == code
    assert out(connection, "echo next") == "next\n"
    assert shell_pid(connection) == before


@pytest.mark.parametrize(
    "line", ["echo 'open", 'echo "open', "if true", "cat <<E\nopen", "$((", ")", "}", "done", "esac; (", "\\"]
)
def test_what_is_no_shell_script_leaves_the_shell_alone(connection: Connection, line: str) -> None:
    connection.run(line, timeout=10)
    before = shell_pid(connection)
    assert out(connection, "echo next") == "next\n"
    assert shell_pid(connection) == before


def test_signal_to_itself_ends_the_command_and_not_the_connection(connection: Connection) -> None:
    assert connection.run("echo last; kill -TERM $$", timeout=10).exit_code == 143  # $$ is the shell itself here
    assert out(connection, "echo next") == "next\n"


# -- streams -----------------------------------------------------------------------------------------------------------


def test_output_is_exact(connection: Connection) -> None:
    assert raw(connection, r"printf 'a\0\377\200b'") == b"a\0\xff\x80b"
    assert raw(connection, "printf ''") == b""
    assert raw(connection, r"printf '\n\n'") == b"\n\n"
    assert raw(connection, r"printf 'no newline'") == b"no newline"
    assert out(connection, "printf größer") == "größer"
    assert out(connection, "printf '%s' \"it's ü\"") == "it's ü"


def test_megabytes_on_both_streams(connection: Connection) -> None:
    result = connection.run(
        f"head -c {24 * MIB} /dev/zero | tr '\\0' e >&2 & head -c {24 * MIB} /dev/zero; wait", timeout=60
    )
    assert result.stdout == "\0" * 24 * MIB
    assert result.stderr == "e" * 24 * MIB
    assert out(connection, "echo next") == "next\n"


def test_output_is_passed_on_as_it_comes(connection: Connection) -> None:
    class Taker(io.BytesIO):
        def write(self, data: object, /) -> int:
            came.set()
            return super().write(data)  # type: ignore[arg-type]

    came, taker = threading.Event(), Taker()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(connection.run, "echo first; sleep 5", output=taker, timeout=20)
        assert came.wait(3)
        assert taker.getvalue() == b"first\n"
        assert not running.done()
        connection.close()
        with pytest.raises(ConnectionLost):
            running.result()


def test_small_input_goes_to_the_shell(connection: Connection) -> None:
    line = Line("exec sh -c 'cat; echo $PPID >&2'", replaces=True)
    data = bytes(range(256)) * 8
    taken = io.BytesIO()
    result = connection.run(line, input=data, output=taken, timeout=10)
    assert taken.getvalue() == data
    assert result.stderr == f"{shell_pid(connection)}\n"
    assert connection.run(Line("exec true", replaces=True), input=data, timeout=10).exit_code == 0


def test_large_input_goes_to_a_channel(connection: Connection) -> None:
    taken, data = io.BytesIO(), os.urandom(MIB)
    connection.run(Line("exec cat", replaces=True), input=data, output=taken, timeout=10)
    assert taken.getvalue() == data


def test_long_commands(connection: Connection) -> None:
    for size in (5_000, 20_000, 60_000):
        assert out(connection, f"printf %s {'x' * size}") == "x" * size
        assert out(connection, f"printf %s {'ü' * size}") == "ü" * size


# -- children ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "child",
    ["sh -c 'sleep 0.7; echo late; echo e >&2' &", "setsid sh -c 'sleep 0.7; echo late; echo e >&2' &",
     "exec 7>&1 8>&2; sh -c 'sleep 0.7; echo late >&7; echo e >&8' >/dev/null 2>&1 &",
     "setsid -f env -i sh -c 'sleep 0.7; echo late; echo e >&2'"],
)  # fmt: skip
def test_child_that_holds_the_output_is_waited_for(connection: Connection, child: str) -> None:
    result = connection.run(
        f"echo early; {child} exit 5" if child.endswith("&") else f"echo early; {child}; exit 5", timeout=10
    )
    assert (result.stdout, result.stderr, result.exit_code) == ("early\nlate\n", "e\n", 5)
    assert result.duration > 0.6
    assert out(connection, "echo next") == "next\n"


def test_child_that_has_let_go_keeps_the_shell(connection: Connection) -> None:
    pid = int(out(connection, "setsid sleep 60 </dev/null >/dev/null 2>&1 & echo $!; sleep 0.2"))
    before = shell_pid(connection)
    assert out(connection, "echo next") == "next\n"
    assert shell_pid(connection) == before
    os.kill(pid, signal.SIGKILL)


def test_many_children(connection: Connection) -> None:
    assert out(connection, "for i in {1..700}; do /bin/true & done; wait; echo done") == "done\n"
    result = connection.run("for i in {1..700}; do /bin/true & done; wait; (sleep 0.5; echo late) & exit 2", timeout=20)
    assert (result.stdout, result.exit_code) == ("late\n", 2)


# -- time limits -------------------------------------------------------------------------------------------------------


def test_timeout_spares_what_earlier_commands_left(connection: Connection) -> None:
    left = int(out(connection, "sleep 60 </dev/null >/dev/null 2>&1 & echo $!"))
    with pytest.raises(TimedOutCommand, match="were killed") as error:
        connection.run("echo begun; env -i sleep 61; echo never", timeout=1)
    assert error.value.result.stdout == "begun\n"
    os.kill(left, 0)
    assert out(connection, "echo next") == "next\n"
    os.kill(left, signal.SIGKILL)


def test_timeout_of_a_loop_that_starts_nothing(connection: Connection) -> None:
    connection.run("true", timeout=10)
    before = shell_pid(connection)
    with pytest.raises(TimedOutCommand, match="were killed"):
        connection.run("while :; do :; done", timeout=1)
    wait_until(lambda: not Path(f"/proc/{before}").exists(), 5)
    assert out(connection, "echo next") == "next\n"


# -- the shell itself --------------------------------------------------------------------------------------------------


def test_shell_that_was_killed_is_replaced(connection: Connection) -> None:
    connection.run("true", timeout=10)
    os.kill(shell_pid(connection), signal.SIGKILL)
    place = connection._shells[False]
    wait_until(lambda: place.shell is not None and not place.shell.alive, 5)
    assert out(connection, "echo next") == "next\n"


def test_busy_shell_does_not_hold_up_others(connection: Connection) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(out, connection, "sleep 2; echo slow")
        wait_until(connection._shells[False].lock.locked, 5)
        began = time.monotonic()
        assert out(connection, "echo quick") == "quick\n"
        assert time.monotonic() - began < 1.5
        assert slow.result() == "slow\n"


@pytest.fixture
def with_sudo(tmp_path: Path) -> Iterator[tuple[Connection, Path]]:
    """A connection to an sshd whose users have a sudo of the test's own: the path of that script."""
    (tmp_path / "bin").mkdir()
    (tmp_path / ".bashrc").write_text('export PATH="$HOME/bin:$PATH"\n')
    sudo = tmp_path / "bin" / "sudo"
    with local_sshd(tmp_path) as sshd:
        opened = connect(sshd)
        yield opened, sudo
        opened.close()


def test_root_has_a_shell_of_its_own_by_one_sudo(with_sudo: tuple[Connection, Path], tmp_path: Path) -> None:
    connection, sudo = with_sudo
    sudo.write_text(f"""#!/bin/bash
echo "$*" >>{tmp_path}/calls
while [ "$1" != -- ]; do shift; done
export ROOT=yes
"${{@:2}}"  # as a process of its own, as sudo does it
""")
    sudo.chmod(0o755)
    line = Line("exec false", root="exec sh -c 'echo $ROOT $PPID; cat'", replaces=True)
    pids = {connection.run(line, input=b"x\n", timeout=20).stdout for _ in range(3)}
    pids |= {result.stdout.replace("\n", "\nx\n") for result in connection.run_many([line] * 2, stop=True, timeout=20)}
    assert len(pids) == 1
    assert pids.pop().startswith("yes ")
    assert out(connection, "echo .$ROOT.") == "..\n"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 1
    assert calls[0].startswith("-n -H -u root -- bash --norc -c ")
    with pytest.raises(TimedOutCommand, match="were killed"):
        connection.run(Line("exec false", root="exec sleep 50"), timeout=1)
    assert connection.run(line, timeout=20).stdout.startswith("yes ")


def test_without_sudo_the_error_is_sudos(with_sudo: tuple[Connection, Path]) -> None:
    connection, sudo = with_sudo
    sudo.write_text("#!/bin/sh\necho sudo: a password is required >&2\nexit 1\n")
    sudo.chmod(0o755)
    line = Line.of("id", login="somebody", user="root")
    results = [connection.run(line, timeout=20), *connection.run_many([line, line], stop=False, timeout=20)]
    assert {(result.exit_code, result.stderr) for result in results} == {(1, "sudo: a password is required\n")}
    assert len(connection.run_many([line, line], stop=True, timeout=20)) == 1


def test_login_shell_that_talks(tmp_path: Path) -> None:
    """What ~/.bashrc prints is in front of a shell's first word, and no part of any output."""
    (tmp_path / ".bashrc").write_text("echo welcome; echo warning >&2; export FROM_RC=1\n")
    with local_sshd(tmp_path) as sshd:
        opened = connect(sshd)
        result = opened.run("echo $FROM_RC", timeout=10)
        assert result.stdout == "1\n"
        opened.close()


def test_shell_ends_with_the_connection(connection: Connection) -> None:
    connection.run("true", timeout=10)
    pid = shell_pid(connection)
    connection.close()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 5)
    with pytest.raises(ConnectionLost) as error:
        connection.run("true", timeout=5)
    assert not error.value.sent


# -- batches -----------------------------------------------------------------------------------------------------------


def many(connection: Connection, *lines: str, stop: bool, timeout: float = 10) -> list[tuple[str, str, int]]:
    results = connection.run_many([Line(line) for line in lines], stop=stop, timeout=timeout)
    return [(result.stdout, result.stderr, result.exit_code) for result in results]


def test_batch(connection: Connection) -> None:
    lines = ["printf a", "echo b >&2; exit 3", "cat; echo c", "exec false"]
    assert many(connection, *lines, stop=False) == [("a", "", 0), ("", "b\n", 3), ("c\n", "", 0), ("", "", 1)]
    assert many(connection, *lines, stop=True) == [("a", "", 0), ("", "b\n", 3)]
    assert many(connection, stop=True) == []
    assert many(connection, "echo fine", stop=True) == [("fine\n", "", 0)]


def test_batch_goes_on_when_a_command_costs_the_shell(connection: Connection) -> None:
    results = many(
        connection, "(sleep 0.5; echo late) & echo early", "echo second", "kill -9 $$", "echo last", stop=False
    )
    assert results == [("early\nlate\n", "", 0), ("second\n", "", 0), ("", "", 137), ("last\n", "", 0)]


def test_batch_that_is_longer_than_a_pipe(connection: Connection) -> None:
    lines = [f"echo {'x' * 2000}; echo {n}" for n in range(40)] + [f"printf %s {'y' * 60000} | wc -c"]
    results = many(connection, *lines, stop=True)
    assert [out.split()[-1] for out, _, _ in results] == [*(str(n) for n in range(40)), "60000"]


def test_batch_that_times_out(connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(TimedOutCommand) as error:
        many(connection, "echo a", "echo partial; sleep 50", f"touch {tmp_path}/never", stop=False, timeout=1)
    assert error.value.result.stdout == "partial\n"
    assert out(connection, "echo next") == "next\n"
    assert not (tmp_path / "never").exists()


def test_batch_while_the_shell_is_busy(connection: Connection) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(out, connection, "sleep 1; echo slow")
        wait_until(connection._shells[False].lock.locked, 5)
        assert many(connection, "echo 1", "false", "echo 3", stop=True) == [("1\n", "", 0), ("", "", 1)]
        assert slow.result() == "slow\n"
