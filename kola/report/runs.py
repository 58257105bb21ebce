"""Runs as the report sees them: shares of one thing put together, each with its build. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola import shards
from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kola.results import RunRecord, Target


_NUMBER = re.compile(r"\.\d+of\d+$")
_NIGHT = 12 * 3600.0
"""Seconds between the beginnings of two shares of one run at the most: what is lost is of no other night."""


@dataclass(frozen=True)
class Found:
    """A record and where it lies.

    Attributes:
        record: of one run, or one share.
        folder: of it; what its paths will begin with.
        given: whether the user asked about it; otherwise it is history.
    """

    record: RunRecord
    folder: str
    given: bool


@dataclass(frozen=True)
class Note:
    """What could not be read or put together; ``given`` as in ``Found``: then what is shown is not all there is."""

    text: str
    given: bool


@dataclass(frozen=True)
class Build:
    """What was tested, on all its platforms and architectures: one stream's version.

    Attributes:
        stream: of the image; a variant (``testos-docker``, whose images say ``testos``) is a stream of its own.
        version: of the image.
        build_id: of the image.
    """

    stream: str
    version: str
    build_id: str

    @property
    def label(self) -> str:
        """For a person."""
        return self.version or self.build_id or "unknown"


@dataclass(frozen=True)
class Run:
    """One run, or all shares of one.

    Attributes:
        record: its paths begin with the folders of ``Found``.
        given: as in ``Found``.
    """

    record: RunRecord
    given: bool

    @property
    def target(self) -> Target:
        """Its target; there is always one."""
        return self.record.targets[0]

    @property
    def build(self) -> Build:
        """What it was about; of an image that says nothing of itself, its digest."""
        image = self.target.image
        variant = image.name if image.name.startswith(f"{image.stream}-") else ""
        stream = variant or image.stream or image.name or image.reference
        return Build(stream, image.version, image.build_id or image.sha256[:16])


def combine(found: Iterable[Found]) -> tuple[list[Run], list[Note]]:
    """Put shares together; returns the runs in the order of their start, and what could not be.

    The same run twice (in a folder and in the history) counts once. Of shares that do not fit together each is a run of
    its own, and so incomplete.
    """
    runs, notes, seen = list[Run](), list[Note](), set[str]()
    groups: dict[object, list[Found]] = defaultdict(list)
    for one in sorted(found, key=lambda one: (one.record.started, one.record.run_id, not one.given)):
        record = one.record
        if record.run_id in seen:
            continue
        seen.add(record.run_id)
        if not record.targets:
            notes.append(Note(f"run {record.run_id} says nothing of its target", one.given))
        elif record.shard is None:
            runs.append(Run(shards.merge([record], [one.folder]), one.given))
        else:
            groups[_whole(record)].append(one)
    for shares in groups.values():
        for once in _nights(shares):
            merged, why = _merged(once)
            runs += merged
            notes += why
    return sorted(runs, key=lambda run: run.record.started), notes


def _whole(record: RunRecord) -> object:
    """Return what the shares of one run have in common, and those of another do not.

    Its name but for the number of the share, which ``kola matrix`` puts at its end; without names the suite, unless a
    share has tests of several: which these are differs from share to share.
    """
    target, shard = record.targets[0], record.shard
    suites = record.suites if len(record.suites) == 1 else []
    name = _NUMBER.sub("", record.name) or " ".join(suites)
    return target.name, target.image, target.from_image, record.kola_version, shard.total if shard else 1, name


def _nights(shares: Iterable[Found]) -> list[list[Found]]:
    """Tell runs of the same thing apart: a share that is there already, or is begun much later, begins the next one.

    Args:
        shares: sorted by their start.
    """
    nights: list[list[Found]] = []
    for one in shares:
        for night in reversed(nights):  # an older one may have lost its share: that of now is none of its own
            late = one.record.started - night[-1].record.started > _NIGHT
            if not late and all(_share(other) != _share(one) for other in night):
                night.append(one)
                break
        else:
            nights.append([one])
    return nights


def _share(one: Found) -> int:
    return one.record.shard.number if one.record.shard else 0


def _merged(shares: Sequence[Found]) -> tuple[list[Run], list[Note]]:
    given = any(one.given for one in shares)
    try:
        record = shards.merge([one.record for one in shares], [one.folder for one in shares])
    except ConfigError as e:
        return [Run(shards.merge([one.record], [one.folder]), one.given) for one in shares], [Note(str(e), given)]
    return [Run(record, given)], []
