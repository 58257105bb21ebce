"""From what a test needs to the instance types that have it, with their prices, and the places to try. Pure.

The table of a driver is a TOML file beside it; the user may give another one (``-P types-file=FILE``)::

    ["t3.small"]
    arch = "x86_64"
    vcpus = 2
    memory-mib = 2048
    usd-per-hour = 0.0208
    features = ["uefi"]
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kola.arch import get_arch
from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

_KEYS: dict[str, tuple[type, ...]] = {
    "arch": (str,),
    "vcpus": (int,),
    "memory-mib": (int,),
    "usd-per-hour": (int, float),
    "features": (list,),
}
_EXPECTED = {str: "a string", list: "a list of strings", int: "a number above 0"}


@dataclass(frozen=True)
class InstanceType:
    """One kind of machine that a provider offers.

    Attributes:
        name: the provider's.
        arch: rpm spelling.
        vcpus: number of virtual CPUs.
        memory_mib: RAM in MiB.
        usd_per_hour: what an hour costs, in US dollars; None if unknown.
        features: what it can do beyond that: ``nested``, ``confidential``...
    """

    name: str
    arch: str
    vcpus: int
    memory_mib: int
    usd_per_hour: float | None = None
    features: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Size:
    """What is needed: at least so much."""

    arch: str
    vcpus: int
    memory_mib: int
    features: frozenset[str] = frozenset()

    def fits(self, kind: InstanceType) -> bool:
        """Tell whether a type has all that."""
        return (
            kind.arch == self.arch
            and kind.vcpus >= self.vcpus
            and kind.memory_mib >= self.memory_mib
            and self.features <= kind.features
        )


def read_table(path: Path) -> tuple[InstanceType, ...]:
    """Read a table of instance types.

    Raises:
        ConfigError: it cannot be read; names file and key.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: {e}") from e
    return tuple(_row(path, name, row) for name, row in tables.items())


def _row(path: Path, name: str, row: Any) -> InstanceType:
    where = f"{path}: {name}"
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: expected a table with {', '.join(_KEYS)}")
    if unknown := sorted(row.keys() - _KEYS.keys()):
        raise ConfigError(f"{where}: {unknown[0]}: unknown key; known: {', '.join(_KEYS)}")
    for key, kinds in _KEYS.items():
        value = row.get(key)
        if value is None and key in {"usd-per-hour", "features"}:
            continue
        if not isinstance(value, kinds) or isinstance(value, bool) or (isinstance(value, int | float) and value <= 0):
            raise ConfigError(f"{where}: {key}: expected {_EXPECTED[kinds[0]]}, found {value!r}")
    try:
        arch = get_arch(row["arch"]).name
    except ConfigError as e:
        raise ConfigError(f"{where}: arch: {e}") from e
    price = row.get("usd-per-hour")
    return InstanceType(
        name, arch, row["vcpus"], row["memory-mib"], None if price is None else float(price),
        frozenset(map(str, row.get("features", ()))),
    )  # fmt: skip


def choose(table: Sequence[InstanceType], size: Size, named: Sequence[str] = (), most: int = 4) -> list[InstanceType]:
    """Return the types to try, in order.

    Args:
        table: of the driver or the user.
        size: what is needed.
        named: the user's own choice, in order; such a type need not be in the table, nor fit.
        most: how many of the table's are tried, the cheapest first.

    Raises:
        ConfigError: none in the table has all that.
    """
    known = {kind.name: kind for kind in table}
    if named:
        return [known.get(name, InstanceType(name, size.arch, size.vcpus, size.memory_mib)) for name in named]
    fitting = sorted(
        (kind for kind in table if size.fits(kind)),
        key=lambda kind: (kind.usd_per_hour is None, kind.usd_per_hour or 0.0, kind.name),
    )
    if not fitting:
        features = f" with {', '.join(sorted(size.features))}" if size.features else ""
        raise ConfigError(
            f"no instance type for {size.vcpus} vCPUs, {size.memory_mib} MiB, {size.arch}{features}; known: "
            f"{', '.join(sorted(known))}; name one with -P instance-types=TYPE,TYPE"
        )
    return fitting[:most]


def placements(
    types: Iterable[InstanceType], zones: Callable[[InstanceType], Sequence[str]], first: int = 0
) -> Iterator[tuple[InstanceType, str]]:
    """Yield types and zones to try: the first type in every zone that has it, then the next.

    Args:
        types: to try, in order.
        zones: of a type; asked only when it is its turn.
        first: which zone to begin with: machines of a run are spread.
    """
    for kind in types:
        there = zones(kind)
        for number in range(len(there)):
            yield kind, there[(first + number) % len(there)]
