"""A process that boots nothing but takes slots for it: ``slots_worker.py FOLDER COUNT WEIGHT TIMES SECONDS``."""

import sys
from pathlib import Path

from kola.process import ProcessId
from kola.slots import Slots
from tests.integration.budget_worker import Books, pause, say


def main() -> None:
    folder, count, weight, times, seconds = sys.argv[1:]
    slots = Slots(Path(folder), int(count), timeout=30)
    books = Books(Path(folder).parent / "books", int(count))
    for n in range(int(times)):
        with slots.take("boot", int(weight)) as hold:
            name = f"{n}-{ProcessId.current().pid}"
            books.enter(name, len(hold))
            say("took")
            pause(float(seconds))
            books.leave(name, len(hold))
    say("done")


if __name__ == "__main__":
    main()
