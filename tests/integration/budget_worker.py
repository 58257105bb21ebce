"""A process that uses a budget, for tests: ``budget_worker.py FOLDER TOTAL NAME ACTION ARGUMENT...``."""

import fcntl
import os
import random
import signal
import sys
from pathlib import Path

from kola.budget import Budget, Evictor, Token
from kola.process import ProcessId
from kola.wait import Deadline, wait_until

TIMEOUT = 30


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def pause(seconds: float) -> None:
    end = Deadline(seconds)
    wait_until(lambda: end.expired, seconds + 1, interval=0.01)


def hold(budget: Budget, mib: int, times: int, seconds: float) -> None:
    """Hold memory that often for that long; says each time."""
    for _ in range(times):
        with budget.acquire(mib, what="hold", timeout=TIMEOUT):
            say("held")
            pause(seconds)
    say("done")


def park(budget: Budget, mib: int) -> None:
    """Hold memory for an idle machine, which goes when it has to."""
    token = budget.acquire(mib, what="park", timeout=TIMEOUT)
    token.set_idle()

    def destroy(_: str) -> None:
        say("evicted")
        token.release()

    with Evictor(budget, destroy):
        say("parked")
        sys.stdin.read()


def die_inside(budget: Budget, mib: int) -> None:
    """Get killed while holding memory and the lock, with a new state half written."""

    def die(_: object) -> None:
        (budget.folder / "state.new").write_text('[{"id": "half')
        say("dying")
        os.kill(os.getpid(), signal.SIGKILL)

    budget.acquire(mib, what="doomed", timeout=TIMEOUT)
    budget.update(die)  # type: ignore[arg-type]


class Books:
    """An account of who holds what that owes nothing to the budget's own: a file for each holding.

    A file is made after memory was granted and removed before it is given back, so those that exist at one moment were
    all granted at that moment. Making one is serialised: none appears while another process counts.
    """

    def __init__(self, folder: Path, total: int) -> None:
        self.folder = folder
        self.total = total
        self.me = ProcessId.current()
        folder.mkdir(parents=True, exist_ok=True)

    def enter(self, name: str, amount: int) -> None:
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._file(name, amount).touch()
            held = sum(self._amount(file) for file in self.folder.glob("*,*"))
            if held > self.total:
                (self.folder / "violation").write_text(f"{held} > {self.total}")

    def leave(self, name: str, amount: int) -> None:
        self._file(name, amount).unlink()

    def _file(self, name: str, amount: int) -> Path:
        return self.folder / f"{name},{amount},{self.me.pid},{self.me.started}"

    @staticmethod
    def _amount(file: Path) -> int:
        _, amount, pid, started = file.name.split(",")
        return int(amount) if ProcessId(int(pid), started).alive() else 0


def stress(budget: Budget, seed: int, rounds: int) -> None:
    """Take and give memory at random, park some of it; keep books."""
    rng = random.Random(seed)  # noqa: S311 - not a secret
    books = Books(budget.folder.parent / "books", budget.total_mib)
    parked: dict[str, Token] = {}

    def destroy(token_id: str) -> None:
        token = parked.pop(token_id)
        books.leave(token.id, token.mib)
        token.release()

    with Evictor(budget, destroy):
        for _ in range(rounds):
            for token in tuple(parked.values()):
                if token.claim():
                    pause(rng.random() * 0.02)
                    token.set_idle()
            most = rng.randint(1, budget.total_mib)
            token = budget.acquire(rng.randint(1, most), most=most, what="stress", timeout=TIMEOUT)
            books.enter(token.id, token.mib)
            pause(rng.random() * 0.05)
            if rng.random() < 0.4:
                parked[token.id] = token
                token.set_idle()
            else:
                books.leave(token.id, token.mib)
                token.release()
    say("done")


def main() -> None:
    folder, total, name, action, *arguments = sys.argv[1:]
    budget = Budget(Path(folder), int(total), name)
    if action == "hold":
        hold(budget, int(arguments[0]), int(arguments[1]), float(arguments[2]))
    elif action == "park":
        park(budget, int(arguments[0]))
    elif action == "die-inside":
        die_inside(budget, int(arguments[0]))
    elif action == "stress":
        stress(budget, int(arguments[0]), int(arguments[1]))


if __name__ == "__main__":
    main()
