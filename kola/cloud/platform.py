"""The base class of cloud drivers: image, launch, sweep, in the order and with the guarantees that all clouds share."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from kola.cloud import hours
from kola.cloud.disks import check_made_for
from kola.cloud.instance import CloudInstance
from kola.cloud.jump import Way
from kola.cloud.options import words
from kola.cloud.sizes import Size, choose, placements, read_table
from kola.cloud.states import Phase, States
from kola.cloud.sweep import find, sweep
from kola.cloud.tags import Tags, covered, label
from kola.cloud.userdata import fit
from kola.errors import ConfigError, KolaError, PlatformError, WaitTimeout
from kola.platform import Platform, Prepared, Scope
from kola.retry import Backoff, Caller, CapacityError, MissingError, Verdict
from kola.spec import Capability, MachineSpec
from kola.wait import Deadline, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from kola.arch import Arch
    from kola.cloud.options import CloudOptions
    from kola.cloud.sizes import InstanceType
    from kola.cloud.states import State
    from kola.cloud.sweep import Found, Kind
    from kola.images import Image
    from kola.platform import Instance, RunContext

PHASE_SECONDS = 600.0
"""How long a provider may take to give a machine power and an address, or to take them."""
STATE_SECONDS = 5.0
"""For how long what a provider says of the machines' states is good."""
_DAY = 86400.0
_HOUR = 3600.0


@dataclass(frozen=True)
class Order:
    """A machine to be made, in one place.

    Attributes:
        name: kola's.
        tags: that everything made for it has to carry from the beginning.
        token: the same for every attempt to make this one machine, different from every other's.
        image: as ``Prepared.image_ref``.
        kind: instance type.
        zone: to make it in.
        spec: what the test needs; disks beside the first one, size of that one.
        user_data: at most ``user_data_limit`` bytes; holds secrets.
    """

    name: str
    tags: Tags
    token: str
    image: str
    kind: InstanceType
    zone: str
    spec: MachineSpec
    user_data: bytes = field(repr=False)


class CloudPlatform(Platform):
    """A driver for a cloud. What it has to supply is abstract here.

    ``call`` is the way to the provider: it tries again. What is called through it here is ``zones``, ``create``,
    ``terminate``, ``states``, ``read_console``, ``stop``, ``start``, ``put``, ``discard``, ``find_image``,
    ``retag_image`` and the functions of ``kinds``: they call the SDK directly and may be called again. The others,
    which take several steps, use ``call`` or ``call.fresh`` for each of these.

    Attributes:
        user_data_limit: of the provider, in bytes.
        types_table: TOML file of its instance types.
        interval: seconds between two looks at something that takes its time.
        backoff: how calls are tried again.
    """

    user_data_limit: ClassVar[int]
    types_table: ClassVar[Path]
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.CONSOLE, Capability.EXTRA_DISKS, Capability.HARD_RESET}
    )
    remote: ClassVar[bool] = True
    sweep_seconds: ClassVar[float] = 900.0
    interval: ClassVar[float] = STATE_SECONDS
    backoff: ClassVar[Backoff] = Backoff()

    def __init__(self, options: CloudOptions, arch: Arch, context: RunContext) -> None:
        super().__init__(options, arch, context)
        self.call = Caller(self.classify, self.backoff)
        self._states = States(lambda: self.call(self.states), self.interval)

    # -- what a driver supplies --------------------------------------------------------------------------------------

    @abstractmethod
    def classify(self, error: Exception) -> Verdict | None:
        """Tell what an error of the SDK means; None for one that is not the SDK's."""

    @abstractmethod
    def identify(self) -> str:
        """Find out whether credentials and permissions will do, before anything is made; say who that is, and where.

        Raises:
            ConfigError: something that the user has to change.
        """

    @abstractmethod
    def check_image(self, reference: str) -> None:
        """See that an image that the user named exists, for this architecture.

        Raises:
            ConfigError: it does not.
        """

    @abstractmethod
    def recipe(self, image: Image) -> str:
        """Return everything beside its content that decides what becomes of an image: format, firmware, options."""

    @abstractmethod
    def find_image(self, digest: str) -> str | None:
        """Return an image of this owner that is finished and carries this digest in its tags, or None."""

    @abstractmethod
    def publish(self, image: Image, name: str, tags: Tags) -> str:
        """Upload an image from this host and register it; everything made on the way carries the tags.

        Returns:
            The finished image. What else was needed on the way is gone.
        """

    @abstractmethod
    def retag_image(self, reference: str, tags: Tags) -> None:
        """Give an image, with what it consists of, other tags."""

    def set_up(self, tags: Tags) -> None:
        """Make what all machines of the run share (a security group...), or see that what the user named exists.

        Called in the controller; other processes find it by its tags.
        """

    @abstractmethod
    def zones(self, kind: InstanceType) -> Sequence[str]:
        """Return the zones that offer a type, in any order."""

    @abstractmethod
    def create(self, order: Order) -> str:
        """Make a machine, and whatever belongs to it alone, and return its id; called again with the same token."""

    @abstractmethod
    def terminate(self, machine: str) -> None:
        """Begin to delete a machine with all that was made for it alone."""

    @abstractmethod
    def states(self) -> Mapping[str, State]:
        """Return the states of all machines of this process (by run and worker), in as few calls as possible."""

    @abstractmethod
    def read_console(self, machine: str) -> str:
        """Return what the provider has of a machine's serial console; empty if nothing yet."""

    @abstractmethod
    def stop(self, machine: str) -> None:
        """Begin to cut a machine's power."""

    @abstractmethod
    def start(self, machine: str) -> None:
        """Begin to switch its power on again."""

    @abstractmethod
    def put(self, name: str, data: bytes, tags: Tags) -> str:
        """Store an object for a machine; return a URL under which it is fetched without credentials for an hour."""

    @abstractmethod
    def discard(self, name: str) -> None:
        """Delete the object again."""

    @abstractmethod
    def kinds(self) -> Sequence[Kind]:
        """Return every kind of resource that the driver may make, in the order in which they can be deleted."""

    # -- what kola asks for ------------------------------------------------------------------------------------------

    def prepare(self, image: Image | None) -> Prepared:
        """See who we are, and make the image available; see ``Platform.prepare``."""
        if image is None:
            raise ConfigError(f"platform {self.name} needs an image: --image=cloud:ID, or one of this host")
        check_made_for(image, self.ignition_platform)
        types = self._types(MachineSpec())
        notes = [
            f"{self.identify()}, owner {label(self.context.owner)}",
            f"instance types: {', '.join(kind.name for kind in types)}",
        ]
        self._check_sweep()
        if image.format == "cloud":
            reference = image.reference.partition(":")[2]
            self.check_image(reference)
        else:
            reference = self._shared_image(image)
        self.set_up(Tags.of(self.context, now=time.time(), ttl=self.options.ttl_hours * _HOUR))
        return Prepared(reference, "cloud", self.options.slowness, (*notes, f"image {reference}"))

    @contextlib.contextmanager
    def launch(self, spec: MachineSpec, ignition: bytes, name: str, prepared: Prepared) -> Iterator[Instance]:
        """Start a machine; see ``Platform.launch``. Waits until the provider says that it runs, and where.

        Raises:
            ConfigError: no instance type is large enough; the config is too large.
            PlatformError: the provider could not make it anywhere; nothing is left.
        """
        folder = self.context.artifacts / name
        folder.mkdir(parents=True, exist_ok=True)
        tags = Tags.of(self.context, now=time.time(), ttl=self.options.ttl_hours * _HOUR, name=name)
        with contextlib.ExitStack() as remains:
            with self._all_or_nothing(name):
                data = fit(ignition, self.user_data_limit, lambda packed: self._stored(packed, tags, remains))
                machine, kind, state = self._place(spec, data, tags, prepared)
            remains.callback(self._end, machine, name, kind)
            hours.note(self.context.artifacts, name, kind, time.time())
            way = remains.enter_context(Way(self.options.jump_host, self.options.ssh_port))
            instance = CloudInstance(machine, name, self._address(state), way, self)
            instance.transcript = folder / "console.txt"
            try:
                yield instance
            finally:
                if instance.kept:
                    remains.pop_all()
                else:
                    with contextlib.suppress(PlatformError):  # the last words, while there is someone to say them
                        instance.console()

    def sweep(self, scope: Scope) -> list[str]:
        """Remove what runs left behind, of every kind; see ``Platform.sweep``."""
        now = time.time()
        return sweep(self.kinds(), lambda tags: covered(tags, scope, now), self.call, interval=self.interval)

    def find(self, scope: Scope) -> dict[str, list[Found]]:
        """Return what a sweep would remove, by kind."""
        now = time.time()
        return find(self.kinds(), lambda tags: covered(tags, scope, now), self.call)

    def summary(self) -> tuple[str, ...]:
        """Say what the machines of the run took."""
        line = hours.describe(hours.bills(self.context.artifacts, time.time()))
        return (line,) if line else ()

    # -- what machines ask for (kola.cloud.instance.Provider) --------------------------------------------------------

    def state_of(self, machine: str) -> State:
        """Return a machine's state, a few seconds old."""
        return self._states.of(machine)

    def console_of(self, machine: str) -> str:
        """Return what the provider has of a machine's console."""
        return self.call.fresh(self.read_console, machine)

    def power_cycle(self, machine: str, name: str) -> str:
        """Cut a machine's power and switch it on again; return its address, which may be another one."""
        self.call(self.stop, machine)
        self._await(machine, name, Phase.STOPPED)
        self.call(self.start, machine)
        self._states.expect(machine)
        return self._address(self._await(machine, name, Phase.RUNNING))

    def _check_sweep(self) -> None:
        """See that everything that may be left can be found: what could not be swept is not made.

        Raises:
            ConfigError: it is not allowed.
        """
        try:
            self.find(Scope(self.context.owner, self.context.run_id))
        except PlatformError as e:
            raise ConfigError(
                f"platform {self.name}: {e}; a sweep could not find what is left, see docs/clouds.md"
            ) from e

    # -- images ------------------------------------------------------------------------------------------------------

    def _shared_image(self, image: Image) -> str:
        """Return the image of that content: one that is there already, or a new one."""
        digest = hashlib.sha256(f"{image.sha256}\n{self.recipe(image)}".encode()).hexdigest()[:32]
        keep = self.options.image_days * _DAY
        found = self.call(self.find_image, digest) if keep else None
        tags = Tags.of(self.context, now=time.time(), ttl=keep or self.options.ttl_hours * _HOUR)
        if found is None:
            found = self.publish(image, f"kola-{self.context.run_id}-{digest[:8]}", tags)
        if keep:  # finished, or in use once more: counts from now
            self.call.fresh(self.retag_image, found, tags.shared(digest, now=time.time(), ttl=keep))
        return found

    # -- machines ----------------------------------------------------------------------------------------------------

    def _types(self, spec: MachineSpec) -> list[InstanceType]:
        options = self.options
        table = read_table(Path(options.types_file) if options.types_file else self.types_table)
        size = Size(self.arch.name, spec.vcpus, spec.memory_mib, frozenset(words(options.features)))
        return choose(table, size, words(options.instance_types))

    def _zones(self, kind: InstanceType) -> Sequence[str]:
        wanted = words(self.options.zones)
        there = sorted(self.call(self.zones, kind))
        return [zone for zone in wanted if zone in there] if wanted else there

    def _place(self, spec: MachineSpec, data: bytes, tags: Tags, prepared: Prepared) -> tuple[str, InstanceType, State]:
        """Make a machine in the first place that has room for it, and wait until it runs."""
        refused = []
        nonce = secrets.token_hex(4)
        spread = int(hashlib.sha256(tags.name.encode()).hexdigest()[:4], 16)
        kinds = self._types(spec)
        for number, (kind, zone) in enumerate(placements(kinds, self._zones, spread)):
            token = f"{tags.name}-{nonce}-{number}"
            order = Order(tags.name, tags, token, prepared.image_ref, kind, zone, spec, data)
            try:
                machine = self.call.fresh(self.create, order)
            except CapacityError as e:
                refused.append(f"{kind.name} in {zone}: {e}")
                continue
            self._states.expect(machine)
            try:
                return machine, kind, self._await(machine, tags.name, Phase.RUNNING, dead={Phase.GONE, Phase.STOPPED})
            except CapacityError as e:
                refused.append(f"{kind.name} in {zone}: {e}")
                self._quietly(self.terminate, machine)
        if not refused:
            raise ConfigError(f"no zone offers {', '.join(kind.name for kind in kinds)}")
        raise PlatformError(f"machine {tags.name}: no room anywhere: {'; '.join(refused)}")

    def _await(self, machine: str, name: str, phase: Phase, dead: Collection[Phase] = (Phase.GONE,)) -> State:
        """Wait until a machine is in that phase, and has an address if it is to run; none comes back from the dead.

        Raises:
            CapacityError: it never came up for want of room.
            PlatformError: it is dead, or the time is up.
        """

        def there() -> list[State]:
            state = self.state_of(machine)
            if state.phase in dead:
                error = CapacityError if state.no_room else PlatformError
                raise error(f"machine {name} ({machine}) is {state.phase.value}: {state.reason or 'no reason given'}")
            ready = state.phase is phase and (phase is not Phase.RUNNING or self._address(state))
            return [state] if ready else []

        limit, interval = Deadline(PHASE_SECONDS * self.options.slowness), self.interval / 2
        what = f"machine {name} ({machine}) to be {phase.value}"
        try:
            return wait_until(there, limit, what=what, interval=interval)[0]
        except WaitTimeout as e:
            raise PlatformError(str(e)) from e

    def _address(self, state: State) -> str:
        return state.public if self.options.address == "public" else state.private

    def _stored(self, packed: bytes, tags: Tags, remains: contextlib.ExitStack) -> str:
        remains.callback(self._quietly, self.discard, tags.name)
        return self.call(self.put, tags.name, packed, tags)

    def _end(self, machine: str, name: str, kind: InstanceType) -> None:
        self._quietly(self.terminate, machine)
        hours.note(self.context.artifacts, name, kind, time.time())

    def _quietly(self, function: Callable[[str], object], argument: str) -> None:
        """Delete something; what is gone already is no error."""
        with contextlib.suppress(MissingError):
            self.call(function, argument)

    @contextlib.contextmanager
    def _all_or_nothing(self, name: str) -> Iterator[None]:
        """Delete everything that carries a machine's name if making it fails, wherever it stood then."""
        try:
            yield
        except BaseException as e:
            try:
                sweep(self.kinds(), lambda tags: self._belongs(tags, name), self.call, interval=self.interval)
            except KolaError as problem:  # the sweep at the end of the run tries again
                e.add_note(f"cleaning up: {problem}")
            raise

    def _belongs(self, tags: Tags, name: str) -> bool:
        mine = Tags.of(self.context, now=0, ttl=0, name=name)
        return (tags.run, tags.owner, tags.name) == (mine.run, mine.owner, mine.name)
