"""Cells and jobs: what the matrix says, as data. Pure."""

from __future__ import annotations

import enum
import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kola.errors import ConfigError
from kola.text import some

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

PLATFORM_FIRMWARE = "default"
"""The word for the platform's own firmware: nothing is asked for."""
AUTO = "auto"


class Cadence(enum.StrEnum):
    """How often a cell is run at the least."""

    BUILD = "build"
    NIGHTLY = "nightly"
    WEEKLY = "weekly"

    def includes(self, other: Cadence) -> bool:
        """Tell whether a run of this cadence runs cells of the other: the nightly is a build, too, and so on."""
        order = list(Cadence)
        return order.index(other) <= order.index(self)


class Runner(enum.StrEnum):
    """What runs the tests of a cell."""

    PYTEST = "pytest"
    REHEARSE = "rehearse"
    """``kola rehearse``: pytest on a cloud that this host serves itself."""


@dataclass(frozen=True)
class Stream:
    """An image by its name in the matrix; as ``--image`` takes it."""

    name: str
    image: str


@dataclass(frozen=True)
class Platform:
    """A platform by its name in the matrix.

    Attributes:
        name: in the matrix.
        driver: what ``--platform`` gets, and ``results.json`` says.
        options: ``KEY=VALUE`` for ``-P``.
    """

    name: str
    driver: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """Tests of one name in the matrix.

    Attributes:
        name: in the matrix.
        paths: for pytest.
        external: projects with tests in kola's format, for ``-E``.
        arguments: more of pytest's.
    """

    name: str
    paths: tuple[str, ...] = ()
    external: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One stream, platform, architecture, suite and firmware: what has one verdict.

    Attributes:
        stream: what is tested.
        platform: where.
        arch: of the machines, in rpm's spelling.
        suite: by which tests.
        firmware: what machines boot by, or ``PLATFORM_FIRMWARE``.
        cadence: how often at the least.
        required: whether a release waits for it; otherwise it informs.
        shards: number of jobs.
        timeout_min: minutes that each of these may take.
        runner: what runs them.
        workers: for ``-n``.
        from_image: what its tests of updates boot, as ``--from-image`` takes it; empty: the stream's image.
    """

    stream: Stream
    platform: Platform
    arch: str
    suite: Suite
    firmware: str = PLATFORM_FIRMWARE
    cadence: Cadence = Cadence.NIGHTLY
    required: bool = True
    shards: int = 1
    timeout_min: int = 60
    runner: Runner = Runner.PYTEST
    workers: str = AUTO
    from_image: str = ""

    @property
    def name(self) -> str:
        """``STREAM.PLATFORM.ARCH.SUITE``, and ``.FIRMWARE`` unless that is the platform's own; unique in the matrix."""
        words = [self.stream.name, self.platform.name, self.arch, self.suite.name]
        return ".".join([*words, *([] if self.firmware == PLATFORM_FIRMWARE else [self.firmware])])

    @property
    def firmwares(self) -> frozenset[str]:
        """What records of it may name as firmware; a platform's own is the BIOS, none, or what its options say."""
        asked = [option.partition("=")[2] for option in self.platform.options if option.startswith("firmware=")]
        if self.firmware != PLATFORM_FIRMWARE:
            asked.append(self.firmware)
        return frozenset(asked[-1:] or ("", "bios"))

    @property
    def jobs(self) -> tuple[Job, ...]:
        """One for each shard."""
        return tuple(Job(self, number) for number in range(1, self.shards + 1))


@dataclass(frozen=True)
class Job:
    """One shard, from 1 on, of a cell: one run of pytest."""

    cell: Cell
    shard: int = 1

    @property
    def name(self) -> str:
        """The cell's, and with several shards ``.1of3``; also that of its folder: ``OUTPUT/NAME/results.json``."""
        return self.cell.name if self.cell.shards == 1 else f"{self.cell.name}.{self.shard}of{self.cell.shards}"

    @property
    def arguments(self) -> tuple[str, ...]:
        """What pytest is told of what it has to test: the same on every host, in every output folder.

        Platform and image are not among them where ``kola rehearse`` says which these are.
        """
        cell = self.cell
        return (*self._target(), *self._what(), *cell.suite.arguments, *cell.suite.paths)

    def command(self, output: str, *, workers: str = "", more: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return what runs it, as words: ``pytest ...`` or ``kola rehearse ... -- ...``.

        Args:
            output: where its folder is made.
            workers: for ``-n``, instead of the cell's.
            more: further arguments of pytest.
        """
        cell = self.cell
        junit = (f"--junitxml={output}/{self.name}/junit.xml", "-o", f"junit_suite_name={self.name}")
        local = (f"--kola-output={output}", f"--run-name={self.name}", *junit, "-n", workers or cell.workers, *more)
        if cell.runner is Runner.PYTEST:
            return ("pytest", *self.arguments, *local)
        target = (f"--image={cell.stream.image}", f"--arch={cell.arch}")
        return ("kola", "rehearse", *target, cell.platform.driver, "--", *self.arguments, *local)

    def to_json(self, output: str) -> dict[str, Any]:
        """Return what a CI system has to know of it, as builtin types."""
        cell = self.cell
        return {
            "name": self.name,
            "cell": cell.name,
            "stream": cell.stream.name,
            "image": cell.stream.image,
            "platform": cell.platform.name,
            "arch": cell.arch,
            "suite": cell.suite.name,
            "firmware": cell.firmware,
            "cadence": cell.cadence.value,
            "required": cell.required,
            "runner": cell.runner.value,
            "shard": self.shard,
            "shards": cell.shards,
            "timeout_min": cell.timeout_min,
            "results": f"{output}/{self.name}/results.json",
            "command": shlex.join(self.command(output)),
        }

    def _target(self) -> list[str]:
        cell = self.cell
        words = [] if cell.runner is Runner.REHEARSE else [f"--platform={cell.platform.driver}"]
        words.append(f"--arch={cell.arch}")
        if cell.runner is Runner.PYTEST:
            words.append(f"--image={cell.stream.image}")
        return words + ([f"--from-image={cell.from_image}"] if cell.from_image else [])

    def _what(self) -> list[str]:
        cell = self.cell
        firmware = [] if cell.firmware == PLATFORM_FIRMWARE else [f"firmware={cell.firmware}"]
        words = [word for option in (*cell.platform.options, *firmware) for word in ("-P", option)]
        words += [word for path in cell.suite.external for word in ("-E", path)]
        words.append(f"--suite={cell.suite.name}")
        return words + ([] if cell.shards == 1 else [f"--sharding=hash:{self.shard}/{cell.shards}"])


@dataclass(frozen=True)
class Choice:
    """What is wanted of a matrix; empty: all.

    Attributes:
        cadence: of the run, which includes cells that are run more often (``Cadence.includes``).
        streams, platforms, arches, suites: names.
        jobs: names of jobs, or of cells.
        required: only what a release waits for.
    """

    cadence: Cadence | None = None
    streams: Collection[str] = ()
    platforms: Collection[str] = ()
    arches: Collection[str] = ()
    suites: Collection[str] = ()
    jobs: Collection[str] = ()
    required: bool = False


_KINDS: dict[str, Callable[[Cell], str]] = {
    "stream": lambda cell: cell.stream.name,
    "platform": lambda cell: cell.platform.name,
    "arch": lambda cell: cell.arch,
    "suite": lambda cell: cell.suite.name,
}


@dataclass(frozen=True)
class Matrix:
    """All cells, in the order of the file; ``source`` names it in messages."""

    cells: tuple[Cell, ...]
    source: str = field(default="matrix", compare=False)

    def jobs(self, choice: Choice = Choice()) -> tuple[Job, ...]:
        """Return the wanted jobs.

        Raises:
            ConfigError: a name that is none of the matrix, or nothing is left.
        """
        cells = self.select(choice)
        jobs = tuple(job for cell in cells for job in cell.jobs)
        if not choice.jobs:
            return jobs
        known = {name for job in jobs for name in (job.name, job.cell.name)}
        if unknown := [name for name in choice.jobs if name not in known]:
            names = some(sorted(job.name for job in jobs), 20)
            raise ConfigError(f"--job {unknown[0]}: no such job or cell in {self.source}; there: {names}")
        return tuple(job for job in jobs if {job.name, job.cell.name} & set(choice.jobs))

    def with_image(self, image: str, streams: Collection[str]) -> Matrix:
        """Return the same with another image for its stream.

        Raises:
            ConfigError: not one stream was named: an image is one's.
        """
        if len(streams) != 1:
            raise ConfigError(f"--image {image}: of which stream? give one --stream")
        (name,) = streams
        stream = Stream(name, image)
        return replace(
            self, cells=tuple(replace(cell, stream=stream) if cell.stream.name == name else cell for cell in self.cells)
        )

    def select(self, choice: Choice) -> tuple[Cell, ...]:
        """Return the wanted cells; ``Choice.jobs`` is not looked at.

        Raises:
            ConfigError: a name that is none of the matrix, or nothing is left.
        """
        wanted = {
            "stream": choice.streams, "platform": choice.platforms, "arch": choice.arches, "suite": choice.suites,
        }  # fmt: skip
        for kind, names in wanted.items():
            there = sorted({_KINDS[kind](cell) for cell in self.cells})
            if unknown := [name for name in names if name not in there]:
                raise ConfigError(f"--{kind} {unknown[0]}: not in {self.source}; there: {', '.join(there)}")
        found = tuple(
            cell
            for cell in self.cells
            if all(not names or _KINDS[kind](cell) in names for kind, names in wanted.items())
            and (choice.cadence is None or choice.cadence.includes(cell.cadence))
            and (cell.required or not choice.required)
        )
        if not found:
            asked = [f"{kind} {', '.join(names)}" for kind, names in wanted.items() if names]
            asked += [f"cadence {choice.cadence}"] if choice.cadence is not None else []
            asked += ["required"] if choice.required else []
            raise ConfigError(f"{self.source}: no cell is all of what was asked for: {'; '.join(asked)}")
        return found
