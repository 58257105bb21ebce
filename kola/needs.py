"""From ``@pytest.mark.kola(...)`` to what a test needs; pure, the only reader of the marker's arguments."""

from __future__ import annotations

import contextlib
import enum
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from kola import butane, ignition
from kola.arch import ARCHES
from kola.bugs import BUG_CLASSES
from kola.configs import read_config
from kola.errors import ConfigError
from kola.spec import SPEC_FIELDS, Bind, Disk, MachineSpec, Nic, parse_bind, parse_disk

Device = TypeVar("Device", Disk, Nic, Bind)
_NOTATIONS: dict[type, Callable[[str], Disk | Bind]] = {Disk: parse_disk, Bind: parse_bind}
UPDATES = "updates"
"""What an image has, and a test of updates needs: it brings the releases that it can be updated to."""

MACHINE_OVERHEAD_MIB = 192
"""What QEMU needs beside the guest's own memory (code, TCG's translation buffer, device buffers)."""


class Isolation(enum.StrEnum):
    """How a test's machine is set apart from other tests'."""

    SHARED = "shared"
    """One machine serves all shared tests of a worker that need the same."""
    FRESH = "fresh"
    """A machine that no test has used before."""
    FIRST_BOOT = "first_boot"
    """A machine that really boots for the first time for this test: never a clone."""


@dataclass(frozen=True)
class Needs:
    """What one test needs.

    Attributes:
        isolation: see ``Isolation``.
        machines: how many machines, all of the same spec and config.
        spec: of each machine.
        ignition: merged over by what kola adds; None is an empty config.
        platforms: only these (``qemu``), or with a leading ``!`` not these; empty is all.
        architectures: in the same way.
        tags: free words.
        needs: what the image must have (``podman``, ``selinux``...).
        description: what the test proves; the docstring's first line if not given.
        covers: the class of bug that it would find, of ``kola.bugs``; empty if not said.
        host_ports: ports of this host that no other test may use meanwhile.
        skip_checks: rule id of ``kola.checks`` -> why this test does not care.
        timeout: seconds on a fast machine; scaled by accelerator and architecture.
        from_image: whether its machines boot the image of ``--from-image``; not of its marker.
    """

    isolation: Isolation = Isolation.FRESH
    machines: int = 1
    spec: MachineSpec = field(default_factory=MachineSpec)
    ignition: ignition.Config | None = None
    platforms: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    description: str = ""
    covers: str = ""
    host_ports: tuple[int, ...] = ()
    skip_checks: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 600.0
    from_image: bool = False

    def machine_key(self) -> str:
        """Equal for two tests exactly when one machine can serve both."""
        config = ignition.serialise(self.ignition).decode() if self.ignition else ""
        parts = json.dumps([asdict(self.spec), config, *(["from"] if self.from_image else [])], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()[:16]


def machine_mib(needs: Needs) -> int:
    """Return what each machine of a test may use at most."""
    return needs.spec.memory_mib + MACHINE_OVERHEAD_MIB


def memory_mib(needs: Needs) -> int:
    """Return what a test may use of the budget at most."""
    return needs.machines * machine_mib(needs)


HARDWARE = ("tpm",)
"""What ``needs=`` asks of the machine instead of the image, and the machine then gets."""
MARKER_KEYS = (
    "isolation", "machines", *(key for key in SPEC_FIELDS if key not in HARDWARE),
    "ignition", "butane", "platforms", "architectures", "tags", "needs",
    "description", "covers", "host_ports", "skip_checks", "timeout",
)  # fmt: skip


def parse_needs(kwargs: Mapping[str, Any], *, folder: Path, rules: frozenset[str]) -> Needs:
    """Turn the marker's keyword arguments into ``Needs``.

    Args:
        kwargs: of all kola markers of the test, the closest one winning key by key.
        folder: of the test file; a path to an Ignition config is relative to it.
        rules: the ids that ``skip_checks`` may name.

    Raises:
        ConfigError: an unknown key or a bad value; says which and what is allowed.
    """
    for key in kwargs:
        if key not in MARKER_KEYS:
            raise ConfigError(f"unknown key '{key}'; allowed: {', '.join(MARKER_KEYS)}")
    try:
        isolation = Isolation(kwargs.get("isolation", Isolation.FRESH))
    except ValueError:
        raise ConfigError(
            f"isolation={kwargs['isolation']!r}: allowed: {', '.join(i.value for i in Isolation)}"
        ) from None
    machines = _integer("machines", kwargs.get("machines", 1))
    if machines < 1:
        raise ConfigError(f"machines={machines}: at least 1")
    if machines > 1 and isolation is Isolation.SHARED:
        raise ConfigError("machines= needs isolation='fresh' or 'first_boot'; only a single machine can be shared")
    for name in _words("architectures", kwargs.get("architectures", ())):
        if name.removeprefix("!") not in ARCHES:
            raise ConfigError(f"architectures: unknown '{name}'; known: {', '.join(ARCHES)}")
    covers = _text("covers", kwargs.get("covers", ""))
    if covers and covers not in BUG_CLASSES:
        raise ConfigError(f"covers={covers!r}: no class of bugs; allowed: {', '.join(BUG_CLASSES)}")
    needs = _words("needs", kwargs.get("needs", ()))
    config = _config(kwargs, folder)
    tpm = "tpm" in needs or (config is not None and ignition.needs_tpm(config))
    return Needs(
        isolation=isolation,
        machines=machines,
        spec=replace(_spec(kwargs, machines), tpm=tpm),
        ignition=config,
        platforms=_words("platforms", kwargs.get("platforms", ())),
        architectures=_words("architectures", kwargs.get("architectures", ())),
        tags=_words("tags", kwargs.get("tags", ())),
        needs=tuple(word for word in needs if word not in HARDWARE),
        description=_text("description", kwargs.get("description", "")),
        covers=covers,
        host_ports=_ports(kwargs.get("host_ports", ())),
        skip_checks=_skip_checks(kwargs.get("skip_checks", {}), rules),
        timeout=_seconds("timeout", kwargs.get("timeout", Needs.timeout)),
    )


def matches(selector: Sequence[str], name: str) -> bool:
    """Tell whether ``("a", "b")`` or ``("!a",)`` selects ``name``; an empty selector selects everything."""
    included = [word for word in selector if not word.startswith("!")]
    return f"!{name}" not in selector and (not included or name in included)


def _integer(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{key}={value!r}: expected a whole number")
    return value


def _seconds(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ConfigError(f"{key}={value!r}: expected a positive number of seconds")
    return float(value)


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{key}={value!r}: expected a string")
    return value


def _words(key: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(v, str) for v in value):
        raise ConfigError(f"{key}={value!r}: expected a list of strings")
    return tuple(value)


def _ports(value: object) -> tuple[int, ...]:
    ports = tuple(_integer("host_ports", port) for port in _list("host_ports", value))
    for port in ports:
        if not 0 < port < 1 << 16:
            raise ConfigError(f"host_ports: {port} is no port")
    return ports


def _skip_checks(value: object, rules: frozenset[str]) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"skip_checks={value!r}: expected {{'rule-id': 'reason'}}")
    for rule, reason in value.items():
        if rule not in rules:
            raise ConfigError(f"skip_checks: unknown rule '{rule}'; known: {', '.join(sorted(rules))}")
        if not isinstance(reason, str) or not reason.strip():
            raise ConfigError(f"skip_checks: rule '{rule}' needs a reason")
    return dict(value)


def _spec(kwargs: Mapping[str, Any], machines: int) -> MachineSpec:
    values: dict[str, Any] = {}
    for key in SPEC_FIELDS:
        if key not in kwargs or key in HARDWARE:
            continue
        value = kwargs[key]
        if key in {"memory_mib", "vcpus", "numa_nodes", "disk_gib"}:
            values[key] = _integer(key, value)
        elif key == "firmware":
            values[key] = _text(key, value)
        elif key in {"kernel_args", "first_boot_kernel_args"}:
            values[key] = _words(key, value)
        elif key == "root_disk":
            values[key] = _device(key, Disk, "{'channel': 'nvme'}", value)
        elif key == "binds":
            example = "{'host': '/srv', 'guest': '/var/mnt/srv'}"
            values[key] = tuple(_device(key, Bind, example, entry) for entry in _list(key, value))
        elif key == "disks":
            example = "{'size_gib': 5, 'serial': 'data'}"
            values[key] = tuple(_device(key, Disk, example, entry) for entry in _list(key, value))
        else:
            values[key] = tuple(_device(key, Nic, "{'mac': '', 'network': ''}", entry) for entry in _list(key, value))
    spec = MachineSpec(**values)
    if machines > 1 and any(nic.mac and nic.network for nic in spec.nics):
        raise ConfigError("nics: several machines with the same mac= on one network; leave it out, each gets its own")
    return spec


def _list(key: str, value: object) -> Sequence[object]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"{key}={value!r}: expected a list")
    return value


def _device(key: str, kind: type[Device], example: str, entry: object) -> Device:
    if isinstance(entry, kind):
        return entry
    if isinstance(entry, str) and kind in _NOTATIONS:
        return cast("Device", _NOTATIONS[kind](entry))
    if isinstance(entry, Mapping):
        with contextlib.suppress(TypeError, AttributeError):
            return kind(**entry)
    raise ConfigError(f"{key}: {entry!r}: expected kola.spec.{kind.__name__} or {example}")


def _config(kwargs: Mapping[str, Any], folder: Path) -> ignition.Config | None:
    source = kwargs.get("butane")
    if source is None:
        return _ignition(kwargs.get("ignition"), folder)
    if kwargs.get("ignition") is not None:
        raise ConfigError("ignition= and butane=: only one of them can be given")
    if isinstance(source, str) and "\n" in source:
        return butane.translate(source, "butane=", files=folder)
    if not isinstance(source, Path | str):
        raise ConfigError(f"butane={source!r}: expected YAML, or the path of a .bu file")
    path = folder / source
    try:
        return read_config(path, is_butane=True)
    except OSError as e:
        raise ConfigError(f"butane='{source}': {e.strerror}: {path}") from e


def _ignition(value: object, folder: Path) -> ignition.Config | None:
    if value is None:
        return None
    if isinstance(value, ignition.Config):
        return value
    if isinstance(value, Mapping):
        try:
            return ignition.parse(json.dumps(value), "ignition=")
        except (TypeError, ValueError) as e:
            raise ConfigError(f"ignition=: not JSON: {e}") from e
    if isinstance(value, Path) or (isinstance(value, str) and not value.lstrip().startswith("{")):
        path = folder / value
        try:
            return read_config(path, is_butane=False)
        except OSError as e:
            raise ConfigError(f"ignition='{value}': {e.strerror}: {path}") from e
    if isinstance(value, str):
        return ignition.parse(value, "ignition=")
    raise ConfigError(f"ignition={value!r}: expected a dict, JSON, or the path of a .ign file")
