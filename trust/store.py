"""The output folder: one record a fault, written when its run is over, and the very first result of each for ever."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from kola.errors import ConfigError
from kola.filelock import FileLock
from trust.observation import Observation, parse
from trust.planning import Key

if TYPE_CHECKING:
    from pathlib import Path

RECORD, RUN = "record.json", "run"
LOCK, SUBJECT = ".lock", "subject.json"


@dataclass(frozen=True)
class Record:
    """What was seen, and what it holds for."""

    key: Key
    seen: Observation

    @property
    def is_result(self) -> bool:
        """Whether it says anything about the suites."""
        return not self.seen.problem

    def holds(self, key: Key) -> bool:
        """Whether it need not be run again."""
        return self.is_result and self.key == key


class Store:
    """What is in an output folder.

    Args:
        path: of the folder; made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def fault(self, name: str) -> Path:
        """The folder of a fault: its record, its run, its logs."""
        return self.path / "faults" / name

    def clean(self, suite: str, number: int) -> Path:
        """The folder of a clean run, counted from 1, of a suite; of the smoke set if that is empty."""
        return self.path / "clean" / (suite or "smoke") / str(number)

    def record(self, folder: Path) -> Record | None:
        """The latest record in a folder.

        Raises:
            ConfigError: it is none.
        """
        return _read(folder / RECORD)

    def first(self, name: str) -> Record | None:
        """The first result that there was for a fault.

        Raises:
            ConfigError: as ``record``.
        """
        return _read(self._first(name))

    def keep(self, folder: Path, record: Record) -> None:
        """Write a record as a whole, or not at all; of a fault's first result a second copy, which stays."""
        if folder.parent == self.path / "faults" and record.is_result and not self._first(folder.name).exists():
            _write(self._first(folder.name), record)
        _write(folder / RECORD, record)

    def cleans(self, suite: str) -> list[tuple[int, Record]]:
        """The clean runs that are there of a suite, or of the smoke set, by number.

        Raises:
            ConfigError: as ``record``.
        """
        folder = self.clean(suite, 1).parent
        numbers = sorted(int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit())
        found = ((number, self.record(self.clean(suite, number))) for number in numbers)
        return [(number, record) for number, record in found if record is not None]

    def claim(self, image: str, platform: str) -> None:
        """Note what the results here are of; the folder has room for one image and platform.

        Raises:
            ConfigError: they are of others.
        """
        subject, path = {"image": image, "platform": platform}, self.path / SUBJECT
        try:
            known = json.loads(path.read_bytes())
        except FileNotFoundError:
            self.path.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(subject) + "\n")
            return
        except (OSError, ValueError) as e:
            raise ConfigError(f"{path}: {e}") from e
        if known != subject:
            given = f"--image={image} --platform={platform}"
            raise ConfigError(f"--output {self.path}: has results of {known}; for {given} give another folder")

    def lock(self) -> FileLock:
        """Hold the folder: one ``ci/trust`` works in it at a time.

        Raises:
            ConfigError: it cannot be made, or somebody else holds it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / LOCK)
        except OSError as e:
            raise ConfigError(f"--output {self.path}: {e.strerror}") from e
        if not lock.try_take():
            lock.leave()
            raise ConfigError(f"--output {self.path}: another ci/trust, or what is left of one, works there")
        return lock

    def _first(self, name: str) -> Path:
        return self.path / "first" / f"{name}.json"


def _read(path: Path) -> Record | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from e
    try:
        data = json.loads(content)
        key = Key(**data["key"])
        seen = json.dumps(data["seen"])
    except (ValueError, TypeError, KeyError) as e:
        raise ConfigError(f"{path}: not the record of a fault: {e}") from e
    return Record(key, parse(seen, str(path)))


def _write(path: Path, record: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps({"key": asdict(record.key), "seen": record.seen.to_json()}, indent=1) + "\n")
    draft.replace(path)
