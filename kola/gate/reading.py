"""Reads what a verdict needs: the folders with results, earlier builds, metadata. The gate's only I/O."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from kola import matrix
from kola.cincinnati import SCHEME, parse_graph
from kola.download import NotThere, fetch_text
from kola.errors import ConfigError
from kola.gate.build import parse_build, parse_releases
from kola.gate.cells import Expected, examine
from kola.gate.evidence import JobFiles, collect
from kola.gate.history import History, Past
from kola.gate.policy import Policy, parse_policy
from kola.gate.waivers import Waiver, parse_waivers
from kola.results import read
from kola.statement import FILE, RESULTS, Keys, load_keys

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence

    from kola.cincinnati import Graph
    from kola.gate.build import Build, StreamRelease
    from kola.gate.evidence import Evidence
    from kola.matrix import Cell, Matrix

_AGES_HOURS = 10**6
"""Of an earlier build it does not matter how long ago it was tested."""
STREAM = "{stream}"
"""Stands in a place for the name of the stream."""


def read_policy(path: Path) -> tuple[Policy, Matrix]:
    """Read the policy and the matrix that it names.

    Raises:
        ConfigError: one cannot be read, or something in it is wrong.
    """
    policy = parse_policy(_text(path), str(path))
    cells = matrix.read(path.parent / policy.matrix)
    known = {cell.stream.name for cell in cells.cells}
    named = {f"[streams.{name}]": name for name in (*policy.promoted_from, *policy.young, *policy.image_streams)}
    named |= {f"[streams.{name}]: promoted_from": source for name, source in policy.promoted_from.items()}
    for where, stream in sorted(named.items()):
        if stream not in known:
            allowed = ", ".join(sorted(known))
            raise ConfigError(f"{path}: {where}: {stream} is in no cell of {cells.source}; there: {allowed}")
    chosen = {
        "platforms": (policy.platforms, {cell.platform.name for cell in cells.cells}),
        "suites": (policy.suites, {cell.suite.name for cell in cells.cells}),
    }
    for key, (names, there) in chosen.items():
        if unknown := [name for name in names if name not in there]:
            allowed = ", ".join(sorted(there))
            raise ConfigError(
                f"{path}: [results]: {key}: {unknown[0]} is in no cell of {cells.source}; there: {allowed}"
            )
    return policy, cells


def read_waivers(path: Path, policy: Policy, today: dt.date) -> tuple[Waiver, ...]:
    """Read the waivers that a policy names.

    Raises:
        ConfigError: as ``read_policy``.
    """
    if not policy.waivers:
        return ()
    file = path.parent / policy.waivers
    return parse_waivers(_text(file), str(file), today=today, most_days=policy.waiver_days)


def read_keys(path: Path, policy: Policy, more: Iterable[Path]) -> Keys:
    """Read the keys that a policy names, and more of them.

    Raises:
        ConfigError: one is none, or there are too few.
    """
    files = [*(path.parent / key for key in policy.keys), *more]
    if not files:
        raise ConfigError(f"{path}: [results]: keys: there are none, and no --key: no results could be believed")
    found = load_keys(files)
    if policy.signatures > (most := len(found.keys)):
        raise ConfigError(
            f"{path}: [results]: signatures: {policy.signatures}; allowed with the keys given: 1 to {most}"
        )
    return replace(found, threshold=policy.signatures)


def read_evidence(folder: Path, keys: Keys) -> dict[str, Evidence]:
    """Read the results in the folders of a folder.

    Raises:
        ConfigError: it is no folder, or cannot be read.
    """
    try:
        jobs = sorted(path for path in folder.iterdir() if _is_job(path))
        return collect([JobFiles(job.name, _bytes(job / RESULTS), _bytes(job / FILE)) for job in jobs], keys)
    except OSError as e:
        raise ConfigError(f"{e.filename or folder}: {e.strerror}") from e


def read_builds(location: str, build_id: str, arches: Iterable[str]) -> dict[str, Build]:
    """Read a build's meta.json for each architecture that has one.

    Args:
        location: folder or URL with a folder for each build, as coreos-assembler makes it; no place: none are read.
        build_id: of the build.
        arches: that are of interest.

    Raises:
        ConfigError: one is not in that format.
    """
    found = {}
    for arch in arches if location else ():
        source = f"{location.rstrip('/')}/{build_id}/{arch}/meta.json"
        if (text := _bytes(Path(source)) if not _is_url(source) else _fetched(source)) is not None:
            found[arch] = parse_build(text, source, arch)
    return found


def read_meta(files: Iterable[Path]) -> tuple[str, dict[str, Build]]:
    """Read a build's meta.json, one for each architecture, wherever they are.

    Returns:
        The id of the build, and what it is by architecture.

    Raises:
        ConfigError: one cannot be read, is not in that format, or they are not of one build.
    """
    found: dict[str, Build] = {}
    for file in files:
        build = parse_build(read_location(str(file)), str(file))
        other = next(iter(found.values()), build)
        if build.build_id != other.build_id:
            raise ConfigError(f"--meta {file}: is of build {build.build_id}, another one is of {other.build_id}")
        if build.arch in found:
            raise ConfigError(f"--meta {file}: there is another one for {build.arch}")
        found[build.arch] = build
    return next(iter(found.values())).build_id, found


def read_releases(location: str) -> tuple[StreamRelease, ...]:
    """Read the index of a stream's releases, oldest first; no place: none.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    return parse_releases(read_location(location), location) if location else ()


def read_graphs(given: Iterable[str]) -> dict[str, Graph]:
    """Read update graphs.

    Args:
        given: ``ARCH=FILE`` or ``ARCH=URL`` each; there may be one of commits and one of images.

    Raises:
        ConfigError: one is not of that form, cannot be read, or is none.
    """
    graphs = {}
    for pair in given:
        arch, equals, location = pair.partition("=")
        if not (arch and equals and location):
            raise ConfigError(f"--graph {pair}: expected ARCH=FILE or ARCH=URL")
        graph = parse_graph(read_location(location), location)
        scheme = graph.nodes[0].metadata.get(SCHEME, "checksum") if graph.nodes else "checksum"
        name = f"{arch} {scheme}"
        if name in graphs:
            raise ConfigError(f"--graph {pair}: there is another graph for {name}")
        graphs[name] = graph
    return graphs


@dataclass(frozen=True)
class Where:
    """A stream, and how its earlier builds are read.

    Attributes:
        stream: its name.
        cells: of that stream.
        policy: how many builds are looked at.
        keys: whose signatures count: results without one are no history.
        builds: as ``location`` of ``read_builds``.
        releases: of the stream: the last one is the promoted build, and measures are compared with these alone; none:
            every build counts as released.
    """

    stream: str
    cells: Sequence[Cell]
    policy: Policy
    keys: Keys
    builds: str = ""
    releases: Sequence[StreamRelease] = ()


def read_history(folder: Path, build_id: str, where: Where) -> History:
    """Read earlier builds of a stream.

    Args:
        folder: with a folder for each stream, in that one for each build, in that one for each job.
        build_id: that is judged: it is not part of its own history; empty: of another stream.
        where: which stream, and how.

    Raises:
        ConfigError: there is no such folder, or one cannot be read; that of the stream need not be there.
    """
    stream = where.stream
    if not folder.is_dir():
        raise ConfigError(f"--history {folder}: no such folder")
    here = folder / stream
    versions = [release.version for release in where.releases if release.version != build_id]
    cells = frozenset(cell.name for cell in where.cells)
    nothing = History(stream, released=versions[-1] if versions else "", cells=cells, metadata=bool(where.builds))
    try:
        builds = [path for path in sorted(here.iterdir()) if path.is_dir()]
        started = {path.name: when for path in builds if (when := _started(path)) is not None}
    except FileNotFoundError:
        return nothing
    except OSError as e:
        raise ConfigError(f"{e.filename or here}: {e.strerror}") from e
    judged = started.pop(build_id, None)
    earlier = sorted((name for name in started if judged is None or started[name] < judged), key=started.__getitem__)
    pasts = _Pasts(here, started, where)
    newest = pasts.newest(reversed(earlier))
    if not versions:
        return replace(nothing, builds=newest, baseline=newest, promoted=newest[0] if newest else None)
    baseline = pasts.newest(name for name in reversed(earlier) if name in versions)
    last = pasts.of(versions[-1]) if versions[-1] in earlier else None
    return replace(nothing, builds=newest, baseline=baseline, promoted=last)


class _Pasts:
    """The earlier builds of a stream, each read once."""

    def __init__(self, folder: Path, started: Mapping[str, float], where: Where) -> None:
        self._folder, self._started, self._where = folder, started, where
        self._known: dict[str, Past] = {}

    def of(self, name: str) -> Past:
        if name not in self._known:
            self._known[name] = _past(self._folder / name, self._started[name], self._where)
        return self._known[name]

    def newest(self, names: Iterable[str]) -> tuple[Past, ...]:
        """Return the first of them that have results which count, as many as the policy looks at."""
        return tuple(islice((past for past in map(self.of, names) if past.cells), self._where.policy.history_builds))


def _past(folder: Path, started: float, where: Where) -> Past:
    evidence = read_evidence(folder, where.keys)
    patient = replace(where.policy, max_age_hours=_AGES_HOURS)
    builds = read_builds(where.builds, folder.name, dict.fromkeys(cell.arch for cell in where.cells))
    stream = where.policy.image_streams.get(where.stream, where.stream)
    expected = Expected(stream, folder.name, time.time(), builds)
    reports = [examine(cell, evidence, expected, patient) for cell in where.cells]
    whole = {report.cell.name: report.genuine for report in reports if report.record is not None}
    return Past(folder.name, started, whole, builds)


def _started(folder: Path) -> float | None:
    """Return when the first run of a build began that can be read; None if there is none."""
    for job in sorted(path for path in folder.iterdir() if _is_job(path)):
        try:
            return read(job / RESULTS).started
        except ConfigError:
            continue
    return None


def _is_job(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".")


def place_of(location: str | None, stream: str, own: str) -> str:
    """Return where something of a stream is; of another stream than ``own`` only if the place names the stream."""
    if location is None or (stream != own and STREAM not in location):
        return ""
    return location.replace(STREAM, stream)


def read_location(location: str) -> bytes:
    """Return what is in a file, or at a URL.

    Raises:
        ConfigError: it cannot be read.
    """
    if _is_url(location):
        return fetch_text(location)
    found = _bytes(Path(location))
    if found is None:
        raise ConfigError(f"{location}: No such file")
    return found


def _fetched(url: str) -> bytes | None:
    """Return what is at a URL, None if there is nothing."""
    try:
        return fetch_text(url)
    except NotThere:
        return None


def _is_url(location: str) -> bool:
    return location.startswith(("https://", "http://"))


def _bytes(path: Path) -> bytes | None:
    """Return the content of a file, None if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from e


def _text(path: Path) -> str:
    try:
        return read_location(str(path)).decode()
    except UnicodeDecodeError as e:
        raise ConfigError(f"{path}: byte {e.start} is not UTF-8") from e
