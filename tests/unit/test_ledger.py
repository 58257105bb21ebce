from kola.ledger import Entry, Ledger, State
from kola.process import ProcessId

ME = ProcessId(1, "boot:1")
OTHER = ProcessId(2, "boot:2")


def entry(name: str, mib: int, state: State, owner: ProcessId = ME, *, most: int = 0) -> Entry:
    return Entry(name, owner, "gw0", name, mib, state, most)


def ledger(*entries: Entry, total: int = 10) -> Ledger:
    return Ledger(total, entries)


def ids(entries: tuple[Entry, ...]) -> str:
    return "".join(entry.id for entry in entries)


def test_only_the_first_in_line_is_admitted_even_if_a_later_one_would_fit() -> None:
    line = ledger(entry("h", 6, State.BUSY), entry("big", 5, State.WAITING), entry("small", 1, State.WAITING))
    assert line.admit("big") == line
    assert line.admit("small") == line, "a small one must not overtake"
    served = line.drop("h").admit("big")
    assert [holder.id for holder in served.holders] == ["big"]
    assert served.free_mib == 5
    assert [holder.id for holder in served.admit("small").holders] == ["big", "small"]


def test_exactly_the_rest_fits() -> None:
    line = ledger(entry("h", 6, State.BUSY), entry("w", 4, State.WAITING))
    assert line.admit("w").free_mib == 0


def test_dead_processes_lose_tokens_and_places() -> None:
    line = ledger(
        entry("h", 6, State.BUSY, OTHER),
        entry("w", 10, State.WAITING, OTHER),
        entry("mine", 5, State.WAITING),
    )
    assert ids(line.living(lambda owner: owner != OTHER).admit("mine").holders) == "mine"


def test_nothing_is_wanted_without_need() -> None:
    idle = entry("i", 4, State.IDLE)
    assert ledger(idle).wanted() == ()
    assert ledger(idle, entry("w", 6, State.WAITING)).wanted() == (), "it fits beside the idle one"
    hopeless = ledger(idle, entry("b", 6, State.BUSY), entry("w", 5, State.WAITING))
    assert hopeless.wanted() == (), "it has to wait for the busy one in any case"
    second = ledger(idle, entry("b", 6, State.BUSY), entry("w", 5, State.WAITING), entry("v", 1, State.WAITING))
    assert second.wanted() == (), "only the first in line has a claim"


def test_the_oldest_idle_ones_are_wanted_and_no_more_than_needed() -> None:
    idle = [entry(name, 3, State.IDLE) for name in "abc"]
    assert ids(ledger(*idle, entry("w", 4, State.WAITING)).wanted()) == "a"
    assert ids(ledger(*idle, entry("w", 5, State.WAITING)).wanted()) == "ab"
    assert ids(ledger(*idle, entry("w", 10, State.WAITING)).wanted()) == "abc"
    doomed = [entry("a", 3, State.DOOMED), *idle[1:]]
    assert ids(ledger(*doomed, entry("w", 4, State.WAITING)).wanted()) == "", "what is about to go counts"
    assert ids(ledger(*doomed, entry("w", 5, State.WAITING)).wanted()) == "b"
    sizes = [entry("a", 1, State.IDLE), entry("b", 9, State.IDLE), entry("w", 9, State.WAITING)]
    assert ids(ledger(*sizes).wanted()) == "b", "a alone would not do, and beside b it is not needed"


def test_one_may_grow_to_all_that_it_declared() -> None:
    holders = [entry("a", 1, State.BUSY, most=4), entry("b", 2, State.IDLE, most=8)]
    line = ledger(*holders, entry("w", 2, State.WAITING, most=3))
    assert line.reserve_mib == 6, "the largest growth, not all growth"
    assert line.admit("w") == line, "1 + 2 + 2 and 6 of growth are more than 10"
    less = ledger(*holders, entry("w", 1, State.WAITING, most=3))
    assert less.admit("w").used_mib == 4
    alone = ledger(entry("w", 1, State.WAITING, most=10))
    assert alone.admit("w").reserve_mib == 9
    assert ledger(holders[0], *alone.entries).admit("w").used_mib == 1, "its own growth counts before it is admitted"


def test_a_charge_follows_what_is_used() -> None:
    line = ledger(entry("a", 4, State.BUSY, most=4), entry("w", 7, State.WAITING))
    assert line.resize("a", 3).admit("w").used_mib == 3, "3 + 1 to grow + 7 are too much"
    assert ledger(entry("a", 4, State.BUSY), entry("w", 7, State.WAITING)).resize("a", 3).admit("w").used_mib == 10
    assert line.resize("a", 12).free_mib == -2
    assert line.resize("w", 1) == line, "who waits is not measured"
    assert line.resize("gone", 1) == line


def test_what_is_wanted_counts_the_growth_that_goes_with_it() -> None:
    idle = [entry("a", 1, State.IDLE), entry("b", 1, State.IDLE, most=9)]
    assert ids(ledger(*idle, entry("w", 5, State.WAITING)).wanted()) == "b", "not its charge is in the way"
    assert ids(ledger(*idle, entry("w", 5, State.WAITING, most=10)).wanted()) == "ab"


def test_machines_that_are_idle_in_turn_cannot_keep_a_big_one_waiting() -> None:
    three = ledger(entry("a", 4, State.IDLE), entry("b", 4, State.BUSY), entry("c", 4, State.BUSY), total=12)
    line = three.add(entry("w", 8, State.WAITING))
    assert ids(line.wanted()) == "a", "although it is not enough now"
    assert line.claim("a").holders[0].state is State.DOOMED
    assert ids(line.drop("a").rest("c").wanted()) == "c"


def test_idle_since_is_told_by_the_order() -> None:
    line = (
        ledger(entry("a", 4, State.BUSY), entry("b", 4, State.BUSY))
        .rest("b")
        .rest("a")
        .add(entry("w", 5, State.WAITING))
    )
    assert ids(line.wanted()) == "b"
    assert line.rest("a") == line, "resting again makes it no younger"
    assert line.rest("gone") == line


def test_claim_takes_an_idle_one_unless_it_is_wanted() -> None:
    free = ledger(entry("a", 4, State.IDLE))
    assert free.claim("a").holders[0].state is State.BUSY
    wanted = free.add(entry("w", 7, State.WAITING))
    assert wanted.claim("a").holders[0].state is State.DOOMED, "who waits comes first, or it would wait for ever"
    assert wanted.doom("a").claim("a").holders[0].state is State.DOOMED
    assert wanted.claim("gone") == wanted


def test_doom_spares_what_is_busy_or_not_wanted() -> None:
    line = ledger(entry("a", 4, State.BUSY), entry("b", 4, State.IDLE))
    assert line.doom("a") == line
    assert line.doom("b") == line
    waiting = line.add(entry("w", 3, State.WAITING))
    assert waiting.doom("a") == waiting
    found = waiting.doom("b").find("b")
    assert found is not None
    assert found.state is State.DOOMED


def test_plain_data_round_trip_and_description() -> None:
    line = ledger(entry("a", 4, State.IDLE, OTHER), entry("w", 7, State.WAITING))
    assert Ledger.from_plain(10, line.to_plain()) == line
    assert str(line) == "6 of 10 MiB free; held by: gw0 a 4 MiB (idle); waiting: gw0 w 7 MiB"
    assert str(ledger()) == "10 of 10 MiB free"
    growing = ledger(entry("a", 4, State.IDLE, most=6), entry("b", 1, State.BUSY, most=2))
    assert str(growing) == (
        "5 of 10 MiB free (2 of that reserved for growth); held by: gw0 a 4 MiB (up to 6, idle), gw0 b 1 MiB (up to 2)"
    )
