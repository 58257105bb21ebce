"""What every platform promises (``kola/platform.py``), as tests; a subclass a platform, collected where it is.

A run has several processes, each with a driver of its own: ``main`` prepares, ``gw0`` launches, ``reaper`` sweeps.
"""

from __future__ import annotations

import secrets
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import ClassVar, Protocol

import pytest

from kola.errors import ConfigError, PlatformError
from kola.images import Image
from kola.platform import Instance, Platform, Prepared, Scope
from kola.spec import MachineSpec
from kola.wait import wait_until

IGNITION = b'{"ignition":{"version":"3.0.0"}}'


class World(Protocol):
    """A platform with nothing on it.

    Attributes:
        run: id of the run.
        owner: whose it is; has a character that not every provider takes in a tag.
        image: that its machines boot.
        spec: of its machines.
    """

    @property
    def run(self) -> str: ...

    @property
    def owner(self) -> str: ...

    @property
    def image(self) -> Image: ...

    @property
    def spec(self) -> MachineSpec: ...

    def driver(self, run: str = ..., owner: str = ..., worker: str = ...) -> Platform:
        """Return the driver of one process of a run."""
        ...

    def left(self) -> list[str]:
        """Return everything that exists on the platform, or on this host for it, and was made by a driver; sorted."""
        ...

    def boots(self, instance: Instance) -> float:
        """Return a number that is greater after another start of the machine."""
        ...

    def kill(self, instance: Instance) -> None:
        """Let a machine end without a word."""
        ...

    def failing(self) -> AbstractContextManager[Platform]:
        """Yield the driver of a process whose launches fail late, when much of a machine has been made."""
        ...


class PlatformContract:
    """Tests of one driver; the fixture ``world`` is the platform."""

    KILLED: ClassVar[str] = "exit"
    """Kind of the loss that ``World.kill`` leads to: whether the machine's power goes, or what runs it."""

    def prepared(self, world: World) -> Prepared:
        """Prepare as the controller does."""
        return world.driver(worker="main").prepare(world.image)

    def name(self, world: World) -> str:
        """Return the name of a machine; no name is given twice."""
        return f"kola-{world.run}-gw0-{secrets.token_hex(4)}"

    def launch(self, world: World, prepared: Prepared) -> AbstractContextManager[Instance]:
        """Launch as a worker does."""
        return world.driver().launch(world.spec, IGNITION, self.name(world), prepared)

    def kept(self, world: World) -> Instance:
        """Return a machine that goes on when its test is over."""
        with self.launch(world, self.prepared(world)) as instance:
            instance.keep()
        return instance

    def sweep(self, world: World) -> list[str]:
        """Sweep as the end of the run does."""
        return world.driver(worker="reaper").sweep(Scope(world.owner, world.run))

    # -- machines ----------------------------------------------------------------------------------------------------

    def test_a_machine_exists_inside_its_context_only(self, world: World) -> None:
        prepared = self.prepared(world)
        assert prepared.image_ref
        assert prepared.accelerator
        assert prepared.slowness >= 1
        before = world.left()
        with self.launch(world, prepared) as instance:
            assert instance.name.startswith(f"kola-{world.run}-gw0-")
            assert instance.id
            assert instance.address
            assert 0 < instance.port < 1 << 16
            assert instance.lost() is None
            assert len(world.left()) > len(before)
        wait_until(lambda: world.left() == before, 10, what="the end of the machine", interval=0.05)
        self.sweep(world)
        assert world.left() == []

    def test_two_machines_are_two(self, world: World) -> None:
        prepared = self.prepared(world)
        with self.launch(world, prepared) as one, self.launch(world, prepared) as two:
            assert one.id != two.id
            assert (one.address, one.port) != (two.address, two.port)
            world.kill(one)
            wait_until(one.lost, 30, what="the loss of one", interval=0.02)
            assert two.lost() is None

    def test_an_error_in_a_test_ends_its_machine_too(self, world: World) -> None:
        prepared = self.prepared(world)
        before = world.left()
        with pytest.raises(ZeroDivisionError), self.launch(world, prepared):
            raise ZeroDivisionError
        wait_until(lambda: world.left() == before, 10, what="the end of the machine", interval=0.05)

    def test_the_console_is_whole_from_the_beginning(self, world: World) -> None:
        with self.launch(world, self.prepared(world)) as instance:
            wait_until(lambda: world.boots(instance), 60, what="the boot", interval=0.02)
            first = instance.console()
            assert isinstance(first, str)
            instance.reset()
            assert instance.console().startswith(first)

    def test_the_power_is_cut_and_switched_on(self, world: World) -> None:
        with self.launch(world, self.prepared(world)) as instance:
            before = wait_until(lambda: world.boots(instance), 60, what="the boot", interval=0.02)
            instance.reset()
            wait_until(lambda: world.boots(instance) > before, 60, what="another boot", interval=0.02)
            assert instance.lost() is None
            assert instance.address

    def test_a_machine_that_dies_says_why(self, world: World) -> None:
        with self.launch(world, self.prepared(world)) as instance:
            assert instance.lost() is None
            world.kill(instance)
            loss = wait_until(instance.lost, 30, what="the loss", interval=0.02)
            assert loss is not None
            assert loss.kind == self.KILLED
            assert loss.summary
            assert instance.lost() == loss

    def test_what_a_machine_takes_of_this_host(self, world: World) -> None:
        driver = world.driver()
        with self.launch(world, self.prepared(world)) as instance:
            usage = instance.usage()
            assert (usage is None) is driver.remote
            assert usage is None or usage.memory_mib > 0

    # -- sweeps ------------------------------------------------------------------------------------------------------

    def test_a_kept_machine_stays_until_a_sweep_which_takes_everything_once(self, world: World) -> None:
        instance = self.kept(world)
        assert world.left() != []
        removed = self.sweep(world)
        assert any(instance.id in line or instance.name in line for line in removed)
        assert removed == sorted(removed)
        assert world.left() == []
        assert self.sweep(world) == []

    def test_a_sweep_leaves_others_alone(self, world: World) -> None:
        """What is another owner's, run's or worker's, younger, or to be kept."""
        name = self.kept(world).name
        before = world.left()
        mine = Scope(world.owner, world.run)
        for scope in (
            replace(mine, owner=world.owner.replace(".", "-")),
            Scope("someone", older_than=0),
            replace(mine, run_id=f"{world.run}2"),
            Scope(world.owner, older_than=3600),
            replace(mine, worker="gw1"),
            replace(mine, keep=frozenset({name})),
        ):
            assert world.driver(worker="reaper").sweep(scope) == [], scope
            assert world.left() == before
        assert world.driver(worker="reaper").sweep(replace(mine, worker="gw0")) != []
        self.sweep(world)
        assert world.left() == []

    def test_a_sweep_of_another_run_takes_nothing_of_this_one(self, world: World) -> None:
        """Two runs of one owner side by side; one of them ends."""
        prepared = self.prepared(world)
        with self.launch(world, prepared) as instance:
            world.driver(run=f"{world.run}2", worker="reaper").sweep(Scope(world.owner, f"{world.run}2"))
            assert instance.lost() is None

    def test_a_sweep_by_age(self, world: World) -> None:
        self.kept(world)
        assert world.driver(run=f"{world.run}9", worker="reaper").sweep(Scope(world.owner, older_than=-1)) != []
        assert world.left() == []

    def test_a_sweep_needs_a_run_or_an_age(self) -> None:
        with pytest.raises(ConfigError, match=r"say which run \(run_id\) or which age \(older_than\)"):
            Scope("someone")

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    def test_a_launch_that_fails_leaves_nothing(self, world: World) -> None:
        prepared = self.prepared(world)
        before = world.left()
        with (
            world.failing() as driver,
            pytest.raises(PlatformError),
            driver.launch(world.spec, IGNITION, self.name(world), prepared),
        ):
            pass
        assert world.left() == before

    def test_without_an_image(self, world: World) -> None:
        with pytest.raises(ConfigError, match="needs an image"):
            world.driver(worker="main").prepare(None)

    def test_a_driver_is_closed_more_than_once(self, world: World) -> None:
        driver = world.driver(worker="gw1")
        driver.close()
        driver.close()
