"""What commands and files cost over SSH, beside OpenSSH's own client: ``python -m benchmarks.ssh``.

All ways take turns in each round, so that a busy host slows down all of them; the table has medians, and their ratios
to the first of a group.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kola.command import Line
from kola.keys import add_known_host, read_client_key, write_client_key
from kola.ssh import Connection
from tests.integration.local_sshd import local_sshd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MIB = 1 << 20
BATCH = 20


@dataclass(frozen=True)
class Target:
    """How to connect.

    Attributes:
        address: name or IP address.
        port: TCP port.
        user: who logs in.
        key_file: the client's private key.
        known_hosts: a file whose last line is the host key's.
        folder: one on the machine that may be written to.
    """

    address: str
    port: int
    user: str
    key_file: Path
    known_hosts: Path
    folder: str = "/var/tmp"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        group: what is measured.
        way: how it is done.
        median: seconds.
        ratio: to the first way of the group.
    """

    group: str
    way: str
    median: float
    ratio: float


def rows(target: Target, *, rounds: int = 15, transfer_rounds: int = 3, size: int = 64 * MIB) -> list[Row]:
    """Measure everything.

    Args:
        target: the machine.
        rounds: of commands.
        transfer_rounds: of transfers.
        size: bytes of the file.
    """
    with contextlib.ExitStack() as stack:
        here = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kola-b-")))
        options = _options(target)
        host = f"{target.user}@{target.address}"
        control = str(here / "c")
        port = ["-p", str(target.port)]
        subprocess.run(["ssh", "-M", "-S", control, "-fN", *port, *options, host], check=True, stdin=subprocess.DEVNULL)
        stack.callback(subprocess.run, ["ssh", "-S", control, "-O", "exit", host], check=True, capture_output=True)
        connection = stack.enter_context(contextlib.closing(connect(target)))
        true, line = _line("true", target), Line("exec true")
        many = [_line("true", target)] * BATCH

        def run(line: Line) -> Callable[[], object]:
            return lambda: connection.run(line, timeout=60)

        def one_by_one() -> None:
            for line in many:
                connection.run(line, timeout=60)

        table = _measure(
            "exec true",
            {
                "ssh, ControlMaster": _program("ssh", "-S", control, host, "exec true"),
                "ssh, new connection": _program("ssh", *port, *options, host, "exec true"),
                "kola, exec true": run(line),
                "kola, bash -c true": run(true),
            },
            rounds,
        )
        batch = lambda: connection.run_many(many, stop=True, timeout=60)  # noqa: E731 - one of a table
        table += _measure(f"{BATCH} x bash -c true", {"run, one by one": one_by_one, "run_many": batch}, rounds)

        source, back = here / "source", here / "back"
        source.write_bytes(os.urandom(MIB) * (size // MIB))
        remote = f"{target.folder}/kola-benchmark-{os.getpid()}"
        stack.callback(connection.run, f"rm -f {remote}", timeout=60)
        scp = ["scp", "-q", "-P", str(target.port), *options]

        def put() -> None:
            with source.open("rb") as file:
                connection.run(f"exec cat >{remote}", input=file, timeout=600)

        def get() -> None:
            with back.open("wb") as file:
                connection.run(f"exec cat {remote}", output=file, timeout=600)

        mib = f"{size // MIB} MiB"
        ways: dict[str, Callable[[], object]] = {
            "scp, ControlMaster": _program(*scp, "-o", f"ControlPath={control}", str(source), f"{host}:{remote}"),
            "scp, new connection": _program(*scp, str(source), f"{host}:{remote}"),
            "kola": put,
        }
        table += _measure(f"put {mib}", ways, transfer_rounds)
        ways = {
            "scp, ControlMaster": _program(*scp, "-o", f"ControlPath={control}", f"{host}:{remote}", str(back)),
            "scp, new connection": _program(*scp, f"{host}:{remote}", str(back)),
            "kola": get,
        }
        return table + _measure(f"get {mib}", ways, transfer_rounds)


def connect(target: Target) -> Connection:
    """Return a connection of kola's own."""
    host_key = " ".join(target.known_hosts.read_text().split()[-2:])
    key = read_client_key(target.key_file)
    return Connection.open(target.address, target.port, target.user, key, host_key, timeout=60)


def _line(cmd: str, target: Target) -> Line:
    return Line.of(cmd, login=target.user)


def _options(target: Target) -> list[str]:
    return [
        *("-F", "none", "-i", str(target.key_file), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
        *("-o", f"UserKnownHostsFile={target.known_hosts}", "-o", "StrictHostKeyChecking=yes"),
    ]


def _program(*command: str) -> Callable[[], object]:
    return lambda: subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def _measure(group: str, ways: Mapping[str, Callable[[], object]], rounds: int) -> list[Row]:
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, work in ways.items():
            began = time.perf_counter()
            work()
            if number:  # the first round is to get warm
                taken[way].append(time.perf_counter() - began)
    medians = {way: statistics.median(seconds) for way, seconds in taken.items()}
    first = next(iter(medians.values()))
    return [Row(group, way, median, median / first) for way, median in medians.items()]


def render(table: list[Row]) -> str:
    """Return the table for a person."""
    head = f"{'':<20} {'':<22} {'median':>12} {'ratio':>7}"
    lines = [f"{row.group:<20} {row.way:<22} {row.median * 1000:>9.1f} ms {row.ratio:>7.2f}" for row in table]
    return "\n".join([head, *lines])


@contextlib.contextmanager
def local_target() -> Iterator[Target]:
    """Start an sshd on this host, with an empty home folder."""
    with (
        tempfile.TemporaryDirectory(prefix="kola-b-") as name,
        local_sshd(Path(name), "Subsystem sftp internal-sftp") as sshd,
    ):
        folder = Path(name)
        write_client_key(folder / "id", sshd.client_key)
        add_known_host(folder / "known_hosts", "127.0.0.1", sshd.port, sshd.host_key.public)
        yield Target("127.0.0.1", sshd.port, sshd.user, folder / "id", folder / "known_hosts", name)


def main() -> None:
    """Measure with an sshd on this host."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--transfer-rounds", type=int, default=3)
    arguments = parser.parse_args()
    with local_target() as target:
        print(render(rows(target, rounds=arguments.rounds, transfer_rounds=arguments.transfer_rounds)))


if __name__ == "__main__":
    main()
