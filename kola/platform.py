"""The contract between kola and a platform driver, and how a driver is found by name."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import tomllib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from kola.arch import Arch
    from kola.errors import Loss
    from kola.imagefile import Progress
    from kola.images import Image
    from kola.spec import Capability, MachineSpec


@dataclass(frozen=True)
class Usage:
    """What a machine takes of this host.

    Attributes:
        memory_mib: memory that is gone as long as the machine runs, in MiB. What several machines share is divided
            among them, and what the kernel can drop and read again is left out: this adds up over machines.
        cpu_seconds: CPU time since the machine was started.
        waited_seconds: time in which it could have used a core but had to wait for one, over all its threads. Together
            with ``cpu_seconds`` what it would have used on a host of its own.
    """

    memory_mib: float
    cpu_seconds: float
    waited_seconds: float = 0.0


class Instance(Protocol):
    """One running machine as its platform sees it; kola adds SSH on top (``kola.machine.Machine``).

    Attributes:
        id: the provider's identifier.
        name: kola's name for it; begins with ``kola-RUNID-``.
        address: where SSH is reached from this host.
        port: SSH's port at that address.
        macs: MAC addresses of the extra NICs, in the spec's order.
        journal_path: a file on this host into which the whole journal flows as JSON lines, or None if the platform
            has no such channel.
    """

    id: str
    name: str
    address: str
    port: int
    macs: Sequence[str]
    journal_path: Path | None

    def console(self) -> str:
        """Return everything that the machine wrote to its serial console so far."""
        ...

    def ready_signals(self) -> int:
        """Return a number that grows whenever the machine says that SSH answers; 0 where it cannot say so."""
        ...

    def lost(self) -> Loss | None:
        """Say why the machine is of no more use (panic, Ignition failure, ended process...), or None. Cheap: polled."""
        ...

    def usage(self) -> Usage | None:
        """Return what the machine takes of this host now; None if it runs elsewhere, is gone, or it is not known."""
        ...

    def reset(self) -> None:
        """Cut the power and switch it on again (only with ``Capability.HARD_RESET``)."""
        ...

    def keep(self) -> None:
        """Leave the machine running when its context ends."""
        ...


@dataclass(frozen=True)
class RunContext:
    """What a driver has to know of the run that it serves.

    Attributes:
        run_id: tags everything created; short, ``[a-z0-9]+``.
        owner: who runs this.
        worker: name of this process within the run: ``main``, ``gw0``, ...
        artifacts: folder for what is kept of each machine (console, journal); the driver makes ``artifacts/NAME/``.
        scratch: folder for what must be gone after the run (overlays, sockets, configs with secrets); short path.
        cache: the user's kola cache folder.
    """

    run_id: str
    owner: str
    worker: str
    artifacts: Path
    scratch: Path
    cache: Path


@dataclass(frozen=True)
class Prepared:
    """What ``prepare`` found out once a run, for every process of it. Plain data only: it travels to xdist's workers.

    Attributes:
        image_ref: the image as the platform knows it: a path, an AMI...
        accelerator: ``kvm``, ``tcg``, ``cloud``...
        slowness: factor on every time limit.
        notes: lines for the header of the run.
        lacks: what the platform could do but not here and now: capability -> why.
    """

    image_ref: str
    accelerator: str
    slowness: float = 1.0
    notes: tuple[str, ...] = ()
    lacks: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Scope:
    """What a sweep may touch; None stands for any. Without a run or an age it is refused: that would be everything.

    Attributes:
        owner: only this owner's.
        run_id: only this run's.
        worker: only what this process of the run made.
        older_than: only what is older than so many seconds.
        keep: names of machines to leave alone, with every file that they need.
    """

    owner: str
    run_id: str | None = None
    worker: str | None = None
    older_than: float | None = None
    keep: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.run_id is None and self.older_than is None:
            raise ConfigError("sweep: say which run (run_id) or which age (older_than)")

    def covers(self, *, name: str, owner: str, run_id: str, worker: str, age: float) -> bool:
        """Tell whether something with these tags, of that age in seconds, may go."""
        return (
            owner == self.owner
            and name not in self.keep
            and self.run_id in {None, run_id}
            and self.worker in {None, worker}
            and (self.older_than is None or age > self.older_than)
        )


class Platform(ABC):
    """A driver. Constructed in every process of a run; ``prepare`` is called in the controller only.

    Attributes:
        name: as in ``--platform=NAME``.
        Options: a frozen dataclass whose fields, all with defaults, are the platform's ``-P`` options.
        capabilities: what machines here can do.
        ignition_platform: value of ``ignition.platform.id`` that guests see.
        host_address: under which address a guest reaches what listens on this host's 127.0.0.1, at the same port (with
            ``Capability.HOST_SERVICES`` only).
        remote: machines take nothing of this host, and an image may be one that the provider has (``cloud:ID``).
        sweep_seconds: how long the sweep at the end of a run may take.
    """

    name: ClassVar[str]
    Options: ClassVar[type[Any]]
    capabilities: ClassVar[frozenset[Capability]]
    ignition_platform: ClassVar[str]
    host_address: ClassVar[str] = ""
    remote: ClassVar[bool] = False
    sweep_seconds: ClassVar[float] = 120.0
    progress: Progress | None = None
    """Told of long steps of ``prepare``: ``(what, done, in all)``; set by who wants to know."""

    def __init__(self, options: Any, arch: Arch, context: RunContext) -> None:
        self.options = options
        self.arch = arch
        self.context = context

    @abstractmethod
    def prepare(self, image: Image | None) -> Prepared:
        """Check that the platform is usable and make an image available on it, in the controller.

        Called once for each image of a run: ``--image`` first, then ``--from-image`` if there is one.

        Raises:
            ConfigError: something that the user has to change.
            PlatformError: the provider does not work.
        """

    @abstractmethod
    def launch(
        self, spec: MachineSpec, ignition: bytes, name: str, prepared: Prepared
    ) -> AbstractContextManager[Instance]:
        """Start a machine; it exists (booting, not necessarily reachable) inside the context and is gone after it.

        Args:
            spec: what the machine must have.
            ignition: the serialised Ignition config; holds secrets.
            name: unique, begins with ``kola-RUNID-``.
            prepared: what ``prepare`` returned.

        Raises:
            PlatformError: the provider could not make it; nothing is left.
        """

    @abstractmethod
    def sweep(self, scope: Scope) -> list[str]:
        """Remove what runs left behind, found by tag; idempotent, safe beside living runs of others.

        Returns:
            The names of what was removed, sorted.

        Raises:
            PlatformError: something could not be removed; everything else was.
        """

    def summary(self) -> tuple[str, ...]:
        """Return lines for the end of a run: what its machines took of the provider, and cost."""
        return ()

    def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Let go of what this process has of the provider; called when its machines have ended or are kept.

        No file of this process in the scratch folder is made after that, and no machine. Again does nothing.
        """


class SnapshotPlatform(Platform):
    """A driver with ``Capability.SNAPSHOT``: a running machine can be saved and restored any number of times."""

    def savable(self, spec: MachineSpec) -> bool:  # noqa: ARG002 - drivers may look at it
        """Tell whether such a machine can be saved; one that cannot boots for every test."""
        return True

    @abstractmethod
    def save(self, instance: Instance, folder: Path) -> None:
        """Save a running machine, SSH connections closed, into an empty folder; it goes on afterwards.

        The folder is all that a restore needs beside the image, and may be moved. It holds the machine's memory, so
        secrets too.

        Raises:
            PlatformError: it cannot be saved, or could not be restored; the machine goes on.
        """

    @abstractmethod
    def restore(
        self, folder: Path, spec: MachineSpec, name: str, prepared: Prepared
    ) -> AbstractContextManager[Instance]:
        """Start a machine that goes on where the saved one was; like ``launch`` otherwise.

        It has a random number generator, an address and logs of its own (they begin with the saved machine's); boot
        id, machine id, MAC addresses and SSH host keys are the saved one's. Its clock is right once ``set_clock`` has
        returned.

        Raises:
            PlatformError: it cannot be restored; nothing is left.
        """

    @abstractmethod
    def set_clock(self, instance: Instance) -> None:
        """Set a machine's clock to this host's, to a fraction of a second. Best called when SSH answers.

        Raises:
            PlatformError: it does not.
        """

    @abstractmethod
    def fingerprint(self, spec: MachineSpec, prepared: Prepared) -> str:
        """Return a text that is equal exactly where a machine saved there can be restored here."""


def platform_names() -> list[str]:
    """Return the names of the drivers in the ``platforms`` package, sorted."""
    package = importlib.import_module("platforms")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def load_platform(name: str) -> type[Platform]:
    """Find a driver by name (``qemu``) or by ``package.module:Class``; its SDK is imported only now.

    Raises:
        ConfigError: no such platform, or its SDK is not installed.
    """
    module_name, _, class_name = name.partition(":")
    if not class_name:
        if name not in platform_names():
            raise ConfigError(
                f"unknown platform '{name}'; known: {', '.join(platform_names())}, or package.module:Class"
            )
        module_name = f"platforms.{name}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as e:
        if f"{module_name}.".startswith(f"{e.name}."):
            raise ConfigError(f"platform '{name}': no module '{module_name}'") from e
        extra = name.partition(":")[0]
        raise ConfigError(
            f"platform '{name}' needs the Python module '{e.name}': pip install 'pytest-kola[{extra}]'"
        ) from e
    found = getattr(module, class_name or "PLATFORM", None)
    if not (isinstance(found, type) and issubclass(found, Platform)):
        raise ConfigError(f"platform '{name}': {module_name}.{class_name or 'PLATFORM'} is not a kola Platform")
    return found


def parse_options(platform: type[Platform], pairs: Iterable[str]) -> Any:
    """Turn ``-P key=value`` (or ``-P FILE.toml``) into the platform's ``Options``.

    Later ones win. Values are converted to the type of the field's default.

    Raises:
        ConfigError: an unknown key (the valid ones are listed), a malformed pair or value.
    """
    known = {f.name.replace("_", "-"): f for f in dataclasses.fields(platform.Options)}
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        given = {key: text} if equals else _options_file(pair)
        for name, value in given.items():
            field = known.get(name.replace("_", "-"))
            if field is None:
                raise ConfigError(
                    f"-P {name}: unknown option of platform '{platform.name}'; valid: {', '.join(sorted(known))}"
                )
            values[field.name] = _convert(name, value, field.default)
    return platform.Options(**values)


def _options_file(pair: str) -> Mapping[str, Any]:
    path = Path(pair)
    if path.suffix != ".toml":
        raise ConfigError(f"-P {pair}: expected key=value or a .toml file")
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as e:
        raise ConfigError(f"-P {pair}: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise ConfigError(f"-P {pair}: byte {e.start} is not UTF-8") from e
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"-P {pair}: {e}") from e


_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


def _convert(name: str, value: object, default: object) -> object:
    if isinstance(default, bool):
        text = str(value).lower()
        if text not in _TRUE | _FALSE:
            raise ConfigError(f"-P {name}={value}: expected true or false")
        return text in _TRUE
    if isinstance(default, int | float):
        try:
            return type(default)(str(value))
        except ValueError:
            raise ConfigError(f"-P {name}={value}: expected a number") from None
    return str(value)
