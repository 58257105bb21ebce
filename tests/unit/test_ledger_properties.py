"""What must hold of the ledger whatever happens: random histories, each told by its seed."""

import random
from dataclasses import dataclass, field

import pytest

from kola.ledger import Entry, Ledger, State
from kola.process import ProcessId

ME = ProcessId(1, "boot:1")
TOTAL = 24
PATIENCE = 60
"""Rounds: more than all holders together need to end their tests, twice."""


def needed(entries: tuple[Entry, ...]) -> int:
    return sum(e.mib for e in entries) + max((e.growth_mib for e in entries), default=0)


@dataclass
class World:
    """Workers that come, use, grow, rest, claim and go; each round is one test's shortest time."""

    rng: random.Random
    stubborn: bool
    """Nobody ever gives a machine back by itself, and each is claimed as soon as it is idle."""
    ledger: Ledger = field(default_factory=lambda: Ledger(TOTAL))
    made: int = 0
    work: dict[str, int] = field(default_factory=dict)  # token -> rounds that its test still takes
    waits: dict[str, int] = field(default_factory=dict)  # head of the line -> rounds since

    def arrive(self, *, big: bool = False) -> None:
        self.made += 1
        most = self.rng.randint(TOTAL // 2, TOTAL) if big else self.rng.randint(1, TOTAL // 2)
        mib = self.rng.randint(1, most)
        self.ledger = self.ledger.add(Entry(f"t{self.made}", ME, "gw0", "x", mib, most=most))

    def admit(self) -> None:
        for waiter in self.ledger.waiters:
            before = self.ledger
            self.ledger = before.admit(waiter.id)
            if self.ledger == before:
                continue
            assert before.waiters[0].id == waiter.id, "in turn"
            holders = self.ledger.holders
            for grower in holders:
                rest = sum(e.mib for e in holders if e != grower)
                assert rest + max(grower.mib, grower.most) <= TOTAL, "one that grows finds the memory there"
            self.work[waiter.id] = self.rng.randint(1, 5)
            self.waits.pop(waiter.id, None)

    def go_on(self) -> None:
        for entry in self.ledger.holders:
            if entry.state is State.DOOMED:
                self.ledger = self.ledger.drop(entry.id)
            elif entry.state is State.BUSY:
                self.use(entry)
            elif self.stubborn or self.rng.random() < 0.7:
                self.claim(entry)

    def use(self, entry: Entry) -> None:
        self.work[entry.id] -= 1
        if entry.growth_mib and self.rng.random() < 0.3:
            self.ledger = self.ledger.resize(entry.id, entry.mib + self.rng.randint(1, entry.growth_mib))
        if self.work[entry.id] > 0:
            return
        if self.stubborn or self.rng.random() < 0.7:
            self.ledger = self.ledger.resize(entry.id, self.rng.randint(1, entry.most)).rest(entry.id)
        else:
            self.ledger = self.ledger.drop(entry.id)

    def claim(self, entry: Entry) -> None:
        self.ledger = self.ledger.claim(entry.id)
        self.work[entry.id] = self.rng.randint(1, 5)

    def evict(self) -> None:
        for entry in self.ledger.wanted():
            self.ledger = self.ledger.doom(entry.id)

    def count_waiting(self) -> None:
        if self.ledger.waiters:
            head = self.ledger.waiters[0].id
            self.waits[head] = self.waits.get(head, 0) + 1
            assert self.waits[head] < PATIENCE, f"starves: {self.ledger}"


@pytest.mark.parametrize("seed", range(150))
def test_one_may_always_grow_and_nobody_waits_for_ever(seed: int) -> None:
    world = World(random.Random(seed), stubborn=seed % 3 > 0)  # noqa: S311 - not a secret
    evictor = seed % 2 == 0  # without one, claims alone have to see to it
    for _ in range(300):
        if len(world.ledger.waiters) < 3:
            world.arrive(big=world.rng.random() < 0.3)
        world.admit()
        world.count_waiting()
        world.go_on()
        if evictor or world.rng.random() < 0.1:
            world.evict()
    assert world.made > 30


@pytest.mark.parametrize("seed", range(200))
def test_those_wanted_are_idle_enough_and_none_too_many(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - not a secret
    states = [State.BUSY, State.IDLE, State.IDLE, State.DOOMED]
    holders = tuple(
        Entry(f"h{n}", ME, "gw0", "x", rng.randint(1, 9), rng.choice(states), rng.randint(0, 12))
        for n in range(rng.randint(0, 6))
    )
    waiter = Entry("w", ME, "gw0", "w", rng.randint(1, 12), most=rng.randint(1, TOTAL))
    wanted = Ledger(TOTAL, (*holders, waiter)).wanted()
    assert all(entry.state is State.IDLE for entry in wanted)
    stays = tuple(entry for entry in holders if entry.state is not State.DOOMED)
    left = tuple(entry for entry in stays if entry not in wanted)
    busy = tuple(entry for entry in stays if entry.state is State.BUSY)
    if needed((*busy, waiter)) <= TOTAL:
        assert needed((*left, waiter)) <= TOTAL, "it can be served once they are gone"
        for entry in wanted:
            assert needed((*left, entry, waiter)) > TOTAL, f"{entry} goes for nothing"
    if needed((*stays, waiter)) <= TOTAL:
        assert wanted == ()
