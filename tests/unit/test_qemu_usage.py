"""What a machine takes of the host, measured on real processes that map a file as QEMU maps a snapshot."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kola.platform import Usage
from platforms.qemu.process import Process, memory_kib

SIZE_MIB = 64
WRITTEN_MIB = 24
SLACK_MIB = 6

CHILD = """
import mmap, sys
PAGE, MIB = 4096, 2**20
size, written = int(sys.argv[2]) * MIB, int(sys.argv[3]) * MIB
say = lambda word: print(word, flush=True)
with open(sys.argv[1], "r+b") as file:
    memory = mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE)
for task in sys.stdin:
    if task == "read\\n":
        sum(memory[n] for n in range(0, size, PAGE))
    elif task == "write\\n":
        for n in range(0, written, PAGE):
            memory[n] = 1
    elif task == "work\\n":
        for n in range(2_000_000):
            pass
    say("done")
"""


class Clone:
    def __init__(self, stack: ExitStack, snapshot: Path) -> None:
        command = [sys.executable, "-c", CHILD, str(snapshot), str(SIZE_MIB), str(WRITTEN_MIB)]
        self.child = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(self.child.kill)
        self.process = Process(self.child.pid)
        stack.callback(self.process.close)
        self.do("begin")

    def do(self, task: str) -> None:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(f"{task}\n")
        self.child.stdin.flush()
        assert self.child.stdout.readline() == "done\n"

    @property
    def usage(self) -> Usage:
        found = self.process.usage()
        assert found is not None
        return found


@pytest.fixture
def clones(tmp_path: Path) -> Iterator[list[Clone]]:
    kind = subprocess.run(["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True).stdout
    if kind.strip() == "tmpfs":
        pytest.skip("the folder for temporary files is in memory itself")
    snapshot = tmp_path / "memory"
    snapshot.write_bytes(b"guest" * (SIZE_MIB * 2**20 // 5 + 1))
    with ExitStack() as stack:
        yield [Clone(stack, snapshot) for _ in range(2)]


def test_a_clone_takes_what_it_wrote_and_not_what_all_share(clones: list[Clone]) -> None:
    one, other = clones
    before = one.usage.memory_mib
    one.do("read")
    assert one.usage.memory_mib == pytest.approx(before, abs=SLACK_MIB), "the pages of the file can be dropped"
    other.do("read")
    other.do("write")
    assert one.usage.memory_mib == pytest.approx(before, abs=SLACK_MIB), "what the other one does costs it nothing"
    one.do("write")
    assert one.usage.memory_mib == pytest.approx(before + WRITTEN_MIB, abs=SLACK_MIB)
    assert other.usage.memory_mib == pytest.approx(before + WRITTEN_MIB, abs=SLACK_MIB), "the same for the same"


def test_time_is_counted_and_never_runs_back(clones: list[Clone]) -> None:
    before = clones[0].usage
    clones[0].do("work")
    after = clones[0].usage
    assert after.cpu_seconds > before.cpu_seconds
    assert after.waited_seconds >= before.waited_seconds


def test_nothing_is_known_of_a_process_that_is_gone(clones: list[Clone]) -> None:
    child, process = clones[0].child, clones[0].process
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.usage() is None, "a zombie"
    child.wait()
    assert process.usage() is None


ROLLUP = """\
558fca28b000-7fffec457000 ---p 00000000 00:00 0                          [rollup]
Rss:               90000 kB
Pss:               70000 kB
Pss_Anon:          10000 kB
Pss_File:          50000 kB
Pss_Shmem:          9000 kB
Private_Dirty:     10000 kB
SwapPss:             500 kB
"""


def test_what_is_counted() -> None:
    assert memory_kib(ROLLUP) == 10_000 + 9_000 + 500
    old = "\n".join(line for line in ROLLUP.splitlines() if "Pss_" not in line)
    assert memory_kib(old) == 70_000 + 500
