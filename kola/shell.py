"""A shell on a machine that stays and runs one command after the other: a fork each instead of a new SSH session.

The protocol, all ASCII. Towards the shell: its program, the mark (a random word), then a frame for each command: the
number of characters in eight digits, ``-`` (run it) or ``&`` (only if the one before succeeded), the command. From the
shell: the mark and one line about itself, then behind each command's output the mark, the exit code in three digits and
a letter, always on both streams.

The mark is known to the shell alone: no argument, not in the environment, and unset in the command's own process.
"""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola.channel import Channel, ConnectionLost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kola.channel import Sink
    from kola.wait import Deadline
    from kola.wire import Transport

FRAMES = 32 << 10
"""Characters of commands sent at once: they fit into a pipe, so that sending never has to wait for the shell."""
HELD = "h"
_REPLY = len("000d")

_LOOP = r"""
unset -v loop
set -m  # each command gets a process group of its own
exec 3</dev/null 4>&2 2>/dev/null
held() {
    local pid pids last fd flags status group parent
    read -r _ _ _ _ last </proc/loadavg
    pids=()
    if ((last < job || last - job > 500)); then
        for pid in /proc/[0-9]*; do
            pid=${pid#/proc/}
            ((last < job || pid > job)) && pids+=("$pid")
        done
    else
        for ((pid = job + 1; pid <= last; pid++)); do pids+=("$pid"); done
    fi
    for pid in "${pids[@]}"; do
        [[ $pid != "$$" && -d /proc/$pid ]] || continue
        if [[ -r /proc/$pid/fd ]]; then
            for fd in "/proc/$pid/fd/"*; do
                [[ $fd -ef /proc/$$/fd/1 || $fd -ef /proc/$$/fd/4 ]] || continue
                flags=
                read -r -d '' _ _ _ flags _ <"/proc/$pid/fdinfo/${fd##*/}"
                [[ $flags == *0 || ! -e $fd ]] || return 0  # O_RDONLY is sshd's end
            done
        elif ((last >= job && pid > job)); then
            status=
            read -r -d '' status <"/proc/$pid/status"
            [[ $status =~ Tgid:[[:space:]]+([0-9]+) ]] || continue
            group=${BASH_REMATCH[1]}
            [[ $status =~ PPid:[[:space:]]+([0-9]+) ]] && parent=${BASH_REMATCH[1]}
            ((group > job && parent != 2)) && return 0
        fi
    done
    return 1
}
read -r -N 32 mark
read -r boot </proc/sys/kernel/random/boot_id
read -r session </proc/$$/stat
session=${session##*) }
read -r _ _ _ session _ <<<"$session"
printf '%s %s %s %s\n' "$mark" "$$" "$session" "$boot"
printf '%s\n' "$mark" >&4  # behind what ~/.bashrc may have said
code=0
while read -r -N 9 head && read -r -N "$((10#${head%?}))" line; do
    if [[ $head == *'&' && $code != 0 ]]; then
        printf '%s%03ds' "$mark" "$code"
        printf '%s%03ds' "$mark" "$code" >&4
        continue
    fi
    (
        unset -v mark boot session head code job
        unset -f held
        eval "unset -v line; $line"
    ) <&3 2>&4 3<&- 4>&- &
    job=$!
    set +m  # else wait returns also when the command is stopped (and wait -f of one that has ended spins, bash 5.2)
    wait "$job"
    code=$? state=d
    set -m
    held && state=h
    printf '%s%03d%s' "$mark" "$code" "$state"
    printf '%s%03d%s' "$mark" "$code" "$state" >&4
    [[ $state == d ]] || exit
done
"""
"""Bash's alone, and builtins only, so that a command costs one fork.

``held``: does a process that the command started still hold the output? Process ids only grow, so the command's own are
behind its first one's. Somebody else's process, which may not be looked into, counts as one that does, unless it is the
kernel's or a thread of an older one. Then the shell ends, and the channel's end says when the last holder has let go.

A file of a process that may be dying is read to its end (``-d ''``): bash cannot seek back in it once the process has
gone, and would take what it has not used for the beginning of the next frame.
"""


_START = f'read -r -N {len(_LOOP)} loop; eval "$loop"'
"""Short, because sudo logs it, and for who looks at the machine's processes."""


def frame(line: str, *, only_after_success: bool = False) -> bytes:
    """Return what makes the shell run a line."""
    if not line.isascii():  # bash counts characters as its locale has them: send none but ASCII
        line = f"eval $'{''.join(map(_octal, line.encode()))}'"
    return f"{len(line):08d}{'&' if only_after_success else '-'}{line}".encode()


def with_input(line: str, data: bytes) -> str:
    """Return a line that replaces the shell (``exec ...``), with standard input; a fork more instead of a channel."""
    # printf reads its format once: octal escapes bring everything through, also null bytes.
    return f"{line} < <(exec 2>&-; printf '{''.join(map(_octal_for_printf, data))}')" if data else line


def _octal(byte: int) -> str:
    return chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\{byte:03o}"  # noqa: PLR2004 - printable ASCII


def _octal_for_printf(byte: int) -> str:
    return "%%" if byte == ord("%") else _octal(byte)


@dataclass(frozen=True)
class Greeting:
    """What a shell says of itself.

    Attributes:
        pid: its own.
        session: id of the session (setsid) that it and its commands are in.
        boot_id: of the running boot.
    """

    pid: str
    session: str
    boot_id: str


class Cutter:
    """One stream of a shell, cut where the mark is; what cannot be part of a mark is passed on at once.

    Args:
        mark: what separates.
    """

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._waiting = bytearray()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def write(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._waiting += data

    def cut(self, sink: Sink, size: int) -> str:
        """Pass on what is in front of the next mark.

        Args:
            sink: takes it.
            size: number of characters behind the mark that belong to it.

        Returns:
            These characters, once they are there; nothing before.
        """
        waiting, mark = self._waiting, self._mark
        at = waiting.find(mark)
        if at < 0:
            begun = next((n for n in range(len(mark) - 1, 0, -1) if waiting.endswith(mark[:n])), 0)
            self._pass_on(sink, len(waiting) - begun)
            return ""
        self._pass_on(sink, at)
        end = len(mark) + size
        if len(waiting) < end:
            return ""
        behind = waiting[len(mark) : end].decode()
        del waiting[:end]
        return behind

    def line(self) -> str | None:
        """Return the line behind the mark, without what is in front; None if it is not there yet."""
        at = self._waiting.find(self._mark)
        end = self._waiting.find(b"\n", at)
        if at < 0 or end < 0:
            return None
        line = self._waiting[at + len(self._mark) : end].decode(errors="replace")
        del self._waiting[: end + 1]
        return line

    def flush(self, sink: Sink) -> None:
        """Pass on everything."""
        self._pass_on(sink, len(self._waiting))

    def _pass_on(self, sink: Sink, size: int) -> None:
        if size:
            sink.write(bytes(self._waiting[:size]))
            del self._waiting[:size]


class Shell:
    """One shell on one channel. Not safe for threads: one command or batch at a time.

    Args:
        transport: of the connection.
        peer: names the machine in errors.
        timeout: seconds until the machine has taken it.
        root: whose shell, by sudo.
    """

    def __init__(self, transport: Transport, peer: str, timeout: float, *, root: bool) -> None:
        mark = secrets.token_hex(16).encode()
        self._peer = peer
        self._out, self._err = Cutter(mark), Cutter(mark)
        self._greeting: Greeting | None = None
        self.over = False
        """It takes no more commands, nor has it run those that have no reply yet."""
        self.left_code = -1
        """Exit code of a command that has ended while others hold its output."""
        sudo = ("sudo", "-n", "-H", "-u", "root", "--") if root else ()
        line = f"exec {shlex.join([*sudo, 'bash', '--norc', '-c', _START, 'bash'])}"
        self._channel = Channel(transport, peer, line, _LOOP.encode() + mark, timeout, keep_input=True)

    @property
    def alive(self) -> bool:
        """Whether it takes another command, as far as is known."""
        return not self.over and not self._channel.streams_ended

    @property
    def to_kill(self) -> tuple[str, str]:
        """The shell's process, to be killed with its children (empty: it is gone), and the session to be spared."""
        greeting = self._greeting
        return ("", "") if greeting is None else ("" if self.left_code >= 0 else greeting.pid, greeting.session)

    def close(self) -> None:
        """Give it up; it ends by itself. Idempotent."""
        self.over = True
        self._channel.close()

    def greet(self, deadline: Deadline, watch: Callable[[], None] | None) -> Greeting | None:
        """Wait until it has begun; None if it ended instead (no bash, no sudo).

        Raises:
            WaitTimeout: the deadline passed.
            ConnectionLost: it could not be started.
        """
        said: list[str | None] = [None, None]

        def done() -> bool:
            ended = self._channel.receive(self._out, self._err)
            said[0] = self._out.line() if said[0] is None else said[0]
            said[1] = self._err.line() if said[1] is None else said[1]
            return ended or None not in said

        if self._greeting is None:
            self._channel.wait(done, deadline, watch)
            if said[0] is not None and said[1] is not None:
                self._greeting = Greeting(*said[0].split())
        return self._greeting

    def send(self, lines: Sequence[str], *, stop: bool) -> None:
        """Give it commands; ``reply`` is to be called for each.

        Args:
            lines: together not longer than FRAMES.
            stop: at the first that fails.

        Raises:
            ConnectionLost: they were not sent; also if the shell said something that nobody asked for.
        """
        if self._channel.receive(self._out, self._err) or self._out or self._err:
            raise ConnectionLost(f"{self._peer}: the shell is not ready", sent=False)
        frames = (frame(line, only_after_success=stop and number > 0) for number, line in enumerate(lines))
        self._channel.send(b"".join(frames))

    def reply(self, out: Sink, err: Sink, deadline: Deadline, watch: Callable[[], None] | None) -> int:
        """Receive what the next command writes until it has ended and its output is closed.

        Returns:
            Its exit code, or that of the one before that failed and stopped the batch; -1 if the connection broke.

        Raises:
            WaitTimeout: the deadline passed; what there was is in the sinks.
            OSError: the output could not be written.
        """
        streams = ((self._out, out), (self._err, err))
        said = ["", ""]

        def done() -> bool:
            ended = self._channel.receive(self._out, self._err)
            for number, (cutter, sink) in enumerate(streams):
                said[number] = said[number] or cutter.cut(sink, _REPLY)
                if said[number].endswith(HELD):  # the shell ends with that: the rest is the command's
                    self.over, self.left_code = True, int(said[number][:-1])
                    cutter.flush(sink)
            return ended or (all(said) and not self.over)

        try:
            self._channel.wait(done, deadline, watch)
        except BaseException:
            self.over = True
            for cutter, sink in streams:
                cutter.flush(sink)
            raise
        reply = said[0] or said[1]
        if not all(said) or self.over:
            for cutter, sink in streams:
                cutter.flush(sink)
            self.close()
        if not reply:  # the command took its shell with it, or the connection broke
            return self._channel.exit_code
        return int(reply[:-1])
