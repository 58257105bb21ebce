"""Whose a machine is: written into the domain, into QEMU's environment and beside its files.

The environment of a process can be read by its own user and nobody can forge another user's, so a sweep finds what a
killed run left without any daemon or record of the run.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME = "tags.json"
_PREFIX = "KOLA_MACHINE_"


@dataclass(frozen=True)
class Tags:
    """Whose a machine is.

    Attributes:
        name: of the machine.
        run_id: of the run that made it.
        owner: who ran that.
        worker: which process of the run.
        created: seconds since the epoch.
        folder: with its overlay and everything else that must go with it.
        artifacts: folder with what is kept of it.
        log: libvirt's log file of it.
    """

    name: str
    run_id: str
    owner: str
    worker: str
    created: float
    folder: Path
    artifacts: Path
    log: Path

    def as_attributes(self) -> dict[str, str]:
        """Return them as plain strings."""
        return {key: str(value) for key, value in asdict(self).items()}

    def as_environment(self) -> dict[str, str]:
        """Return them as environment variables."""
        return {_PREFIX + key.upper(): value for key, value in self.as_attributes().items()}

    def write(self) -> None:
        """Write them into the machine's folder."""
        (self.folder / FILE_NAME).write_text(json.dumps(self.as_attributes()))

    @classmethod
    def from_attributes(cls, found: Mapping[str, str]) -> Tags | None:
        """Read them back; None if that is not a whole set."""
        try:
            return cls(
                name=found["name"], run_id=found["run_id"], owner=found["owner"], worker=found["worker"],
                created=float(found["created"]), folder=Path(found["folder"]), artifacts=Path(found["artifacts"]),
                log=Path(found["log"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError):
            return None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Tags | None:
        """Read them back from a process's environment; None if it has no whole set."""
        return cls.from_attributes(
            {key.removeprefix(_PREFIX).lower(): value for key, value in environment.items() if key.startswith(_PREFIX)}
        )

    @classmethod
    def from_folder(cls, folder: Path) -> Tags | None:
        """Read them back from a machine's folder; None if it has none that are whole and about this very folder."""
        try:
            tags = cls.from_attributes(json.loads((folder / FILE_NAME).read_text()))
        except (OSError, ValueError, AttributeError):
            return None
        return tags if tags is not None and tags.folder == folder else None
