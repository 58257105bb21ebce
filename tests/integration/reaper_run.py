"""A run for tests: ``-m tests.integration.reaper_run controller ORDER``.

It starts a reaper, workers and machines, then obeys standard input.

ORDER is JSON: the folders, ``workers`` (their names), ``grace``, ``options``. Every process has one machine,
``kola-RUNID-WORKER``. Commands to the controller, one a line: ``keep NAME TTL``, ``worker WORKER COMMAND...``,
``leak NAME`` (a machine that nobody ends), ``end``. A worker called ``fork...`` has a child that holds its connection,
one called ``stubborn...`` does not end with its controller.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kola.arch import host_arch
from kola.errors import KolaError
from kola.platform import Prepared, RunContext
from kola.reaper import attach, start_reaper
from kola.spec import MachineSpec
from tests.integration.process_platform import Options, ProcessPlatform

MODULE = "tests.integration.reaper_run"


def make_platform(order: dict[str, Any], worker: str) -> ProcessPlatform:
    folders = {name: Path(order[name]) for name in ("artifacts", "scratch", "cache")}
    context = RunContext(order["run_id"], order["owner"], worker, **folders)
    return ProcessPlatform(Options(**order["options"]), host_arch(), context)


def machine(platform: ProcessPlatform, name: str) -> Any:
    return platform.launch(MachineSpec(), b"{}", f"kola-{platform.context.run_id}-{name}", Prepared("", "none"))


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def worker(order: dict[str, Any], name: str, socket: str) -> None:
    platform = make_platform(order, name)
    with attach(Path(socket), name) as attachment, contextlib.ExitStack() as stack:
        mine = stack.enter_context(machine(platform, name))
        if name.startswith("fork") and not os.fork():
            signal.pause()
        say(pid=os.getpid())
        leaked = []
        for line in sys.stdin:
            command, *arguments = line.split()
            if command == "keep":
                attachment.keep([arguments[0]], float(arguments[1]))
                mine.kept |= mine.name == arguments[0]
            elif command == "leak":
                leaked.append(machine(platform, arguments[0]))
                leaked[-1].__enter__()
            say(done=command)
        if name.startswith("stubborn"):
            signal.pause()


class Controller:
    """The first process of the run and what it obeys."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.platform = make_platform(order, "main")
        self.reaper = start_reaper(
            "tests.integration.process_platform:ProcessPlatform",
            asdict(self.platform.options),
            host_arch().name,
            self.platform.context,
            grace=order["grace"],
        )
        self.workers: dict[str, subprocess.Popen[str]] = {}
        for name in order["workers"]:
            command = [sys.executable, "-m", MODULE, "worker", json.dumps(order), name, str(self.reaper.socket_path)]
            self.workers[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for process in self.workers.values():
            assert process.stdout is not None
            process.stdout.readline()

    def run(self) -> None:
        """Obey until ``end``, then end in good order."""
        with machine(self.platform, "main") as mine:
            say(
                reaper=self.reaper.process.pid,
                workers={name: process.pid for name, process in self.workers.items()},
            )
            leaked = []
            for line in sys.stdin:
                command, *arguments = line.split()
                if command == "end":
                    break
                if command == "keep":
                    self.reaper.keep([arguments[0]], float(arguments[1]))
                    mine.kept |= mine.name == arguments[0]
                elif command == "worker":
                    self.pass_on(*arguments)
                elif command == "leak":
                    leaked.append(machine(self.platform, arguments[0]))
                    leaked[-1].__enter__()
                say(done=command)
            for process in self.workers.values():
                process.communicate()
        self.close()
        os._exit(0)  # what was leaked must not be ended by finalizers here

    def pass_on(self, worker: str, *words: str) -> None:
        """Let a worker obey."""
        process = self.workers[worker]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(" ".join(words) + "\n")
        process.stdin.flush()
        process.stdout.readline()

    def close(self) -> None:
        """End the run, and say what came of it."""
        began = time.monotonic()
        try:
            removed = self.reaper.close()
        except KolaError as e:
            say(error=str(e), kind=type(e).__name__)
        else:
            say(removed=removed, seconds=time.monotonic() - began)
        assert self.reaper.close() == []


def main() -> None:
    role, order, *arguments = sys.argv[1:]
    if role == "worker":
        worker(json.loads(order), *arguments)
    else:
        Controller(json.loads(order)).run()


if __name__ == "__main__":
    main()
