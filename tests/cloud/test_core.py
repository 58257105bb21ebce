"""What all cloud drivers have in common, as far as it is pure."""

import base64
import gzip
import json
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kola.cloud import hours
from kola.cloud.instance import joined
from kola.cloud.sizes import InstanceType, Size, choose, placements, read_table
from kola.cloud.states import Phase, State, States
from kola.cloud.sweep import Found, Kind, sweep
from kola.cloud.tags import Tags, covered, label
from kola.cloud.userdata import fit
from kola.errors import ConfigError, PlatformError
from kola.platform import Scope
from kola.retry import Caller, MissingError
from kola.wait import wait_until

TAGS = Tags("r1", "me", "gw0", "kola-r1-gw0-1", 1000, 60)


# -- tags --------------------------------------------------------------------------------------------------------------


def test_a_label_is_what_every_provider_takes_and_tells_owners_apart() -> None:
    assert label("release-team_1") == "release-team_1"
    owners = ["a.b", "a-b", "A.b", "a@b", "x" * 63, "x" * 64, "x" * 65, "Ä"]
    labels = {label(owner) for owner in owners}
    assert len(labels) == len(owners)
    assert all(len(each) <= 63 and set(each) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for each in labels)


def test_tags_come_back_as_labels_and_as_text() -> None:
    shared = TAGS.shared("d" * 32, now=5000, ttl=9)
    for tags in (TAGS, shared):
        assert Tags.from_labels(tags.as_labels()) == tags
        assert Tags.from_text(f"made by kola: {tags.as_text()}") == tags
        assert Tags.from_labels({key.upper(): value for key, value in tags.as_labels().items()}) == tags
    for key in ("kola-run", "kola-owner", "kola-worker", "kola-created", "kola-ttl"):
        labels = TAGS.as_labels()
        del labels[key]
        assert Tags.from_labels(labels) is None
    assert Tags.from_labels({**TAGS.as_labels(), "kola-created": "now"}) is None
    assert Tags.from_labels({"Name": "theirs"}) is None


@pytest.mark.parametrize(
    ("tags", "scope", "expected"),
    [
        (TAGS, Scope("me", "r1"), True),
        (TAGS, Scope("me", "r2"), False),
        (TAGS, Scope("you", "r1"), False),
        (TAGS, Scope("me", "r1", worker="gw1"), False),
        (TAGS, Scope("me", "r1", keep=frozenset({TAGS.name})), False),
        (TAGS, Scope("me", "r1", keep=frozenset({"another"})), True),
        (TAGS, Scope("me", older_than=99), True),
        (TAGS, Scope("me", older_than=101), False),
        (Tags("r1", "me", "main", "", 1000, 60), Scope("me", "r1"), True),
        (Tags("r1", "me", "main", "", 1000, 60), Scope("me", "r1", keep=frozenset({"another"})), False),
        (TAGS.shared("dd", now=1000, ttl=60), Scope("me", "r1"), False),
        (TAGS.shared("dd", now=1000, ttl=60), Scope("me", older_than=99), True),
        (TAGS.shared("dd", now=1000, ttl=60), Scope("me", older_than=101), False),
        (TAGS.shared("dd", now=1000, ttl=101), Scope("me", older_than=99), False),
        (TAGS.shared("dd", now=1000, ttl=101), Scope("me", "r1", older_than=99), True),
        (TAGS.shared("dd", now=1000, ttl=101), Scope("me", "r2", older_than=99), False),
        (Tags("r1", label("A.b"), "gw0", "", 1000, 60), Scope("A.b", "r1"), True),
        (Tags("r1", label("A.b"), "gw0", "", 1000, 60), Scope("a-b", "r1"), False),
    ],
)
def test_what_a_sweep_covers(tags: Tags, scope: Scope, expected: bool) -> None:  # noqa: FBT001
    assert covered(tags, scope, now=1100) is expected


# -- sweep -------------------------------------------------------------------------------------------------------------


class Shelf:
    """Resources of one kind in memory."""

    def __init__(self, log: list[str], name: str, ids: Iterable[str], broken: str = "", lost: str = "") -> None:
        self.log, self.name, self.ids, self.broken, self.lost = log, name, list(ids), broken, lost
        self.looks = 0

    def find(self) -> Iterable[Found]:
        return [Found(one, TAGS) for one in self.ids]

    def delete(self, one: str) -> None:
        self.log.append(f"{self.name} {one}")
        if one == self.broken:
            raise PlatformError("in use")
        self.ids.remove(one)
        if one == self.lost:
            raise MissingError("gone")

    def remaining(self, _ids: object) -> list[str]:
        self.looks += 1
        self.log.append(f"look {self.looks}")
        return ["i1"] if self.looks < 3 else []

    def kind(self, *, slow: bool = False) -> Kind:
        return Kind(self.name, self.find, self.delete, self.remaining if slow else None)


def test_a_sweep_deletes_in_order_and_awaits_what_stands_in_the_way() -> None:
    log: list[str] = []
    machines, groups = Shelf(log, "instance", ["i1", "i2"]), Shelf(log, "group", ["g1"])
    kinds = [machines.kind(slow=True), groups.kind()]
    assert sweep(kinds, lambda _: True, Caller(lambda _: None), interval=0) == [
        "group g1",
        "instance i1",
        "instance i2",
    ]
    assert log == ["instance i1", "instance i2", "look 1", "look 2", "look 3", "group g1"]
    assert sweep(kinds, lambda _: True, Caller(lambda _: None), interval=0) == []


def test_a_sweep_goes_on_after_a_problem_and_tells_it() -> None:
    log: list[str] = []
    machines = Shelf(log, "instance", ["i1", "i2"], broken="i1", lost="i2")
    groups = Shelf(log, "group", ["g1"])
    with pytest.raises(PlatformError, match=r"^sweep: instance i1: in use$"):
        sweep([machines.kind(), groups.kind()], lambda _: True, Caller(lambda _: None))
    assert (machines.ids, groups.ids) == (["i1"], [])


def test_a_sweep_leaves_alone_what_is_not_covered() -> None:
    shelf = Shelf([], "instance", ["i1"])
    assert sweep([shelf.kind()], lambda tags: tags.run == "other", Caller(lambda _: None)) == []
    assert shelf.ids == ["i1"]


# -- sizes -------------------------------------------------------------------------------------------------------------

TABLE = (
    InstanceType("big", "x86_64", 8, 32768, 0.4),
    InstanceType("small", "x86_64", 2, 2048, 0.02),
    InstanceType("medium", "x86_64", 2, 4096, 0.04, frozenset({"nested"})),
    InstanceType("arm", "aarch64", 2, 4096, 0.01),
    InstanceType("unpriced", "x86_64", 2, 4096),
)


@pytest.mark.parametrize(
    ("size", "names"),
    [
        (Size("x86_64", 2, 1536), ["small", "medium", "big", "unpriced"]),
        (Size("x86_64", 2, 2049), ["medium", "big", "unpriced"]),
        (Size("x86_64", 3, 1), ["big"]),
        (Size("x86_64", 1, 1, frozenset({"nested"})), ["medium"]),
        (Size("aarch64", 2, 4096), ["arm"]),
    ],
)
def test_types_that_fit_the_cheapest_first(size: Size, names: list[str]) -> None:
    assert [kind.name for kind in choose(TABLE, size)] == names


def test_types_that_the_user_names_are_taken_as_they_are() -> None:
    assert [kind.name for kind in choose(TABLE, Size("x86_64", 64, 1), ["arm", "new"])] == ["arm", "new"]


def test_no_type_fits() -> None:
    with pytest.raises(ConfigError, match=r"no instance type for 64 vCPUs, 1 MiB, x86_64 with confidential; known: "):
        choose(TABLE, Size("x86_64", 64, 1, frozenset({"confidential"})))


def test_every_zone_of_a_type_before_the_next_type() -> None:
    zones = {"small": ["a", "b", "c"], "big": ["b"], "medium": []}
    found = placements([TABLE[1], TABLE[2], TABLE[0]], lambda kind: zones[kind.name], first=4)
    assert [(kind.name, zone) for kind, zone in found] == [("small", "b"), ("small", "c"), ("small", "a"), ("big", "b")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = 1", "x: expected a table with"),
        ("[x]\narch='x86_64'\nvcpus=0\nmemory-mib=1", "x: vcpus: expected a number above 0, found 0"),
        ("[x]\narch='x86_64'\nvcpus=1", "x: memory-mib: expected a number above 0, found None"),
        ("[x]\narch='vax'\nvcpus=1\nmemory-mib=1", "x: arch: "),
        ("[x]\ncolour=1", "x: colour: unknown key; known: arch, vcpus, memory-mib, usd-per-hour, features"),
        ("[x", "table.toml: "),
    ],
)
def test_a_bad_table(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "table.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"table\.toml") as raised:
        read_table(path)
    assert problem in str(raised.value)


# -- user data ---------------------------------------------------------------------------------------------------------

CONFIG = json.dumps({"ignition": {"version": "3.4.0"}, "storage": {"files": ["a" * 5000]}}).encode()


def unpacked(user_data: bytes) -> bytes:
    replace = json.loads(user_data)["ignition"]["config"]["replace"]
    assert replace["compression"] == "gzip"
    return gzip.decompress(base64.b64decode(replace["source"].removeprefix("data:;base64,")))


def test_user_data_is_packed_only_when_it_must_be_and_stored_only_when_that_is_not_enough() -> None:
    stored: list[bytes] = []

    def put(data: bytes) -> str:
        stored.append(data)
        return "https://store/object"

    assert fit(CONFIG, len(CONFIG), put) == CONFIG
    packed = fit(CONFIG, len(CONFIG) - 1, put)
    assert len(packed) < 400
    assert unpacked(packed) == CONFIG
    assert stored == []
    small = json.loads(fit(CONFIG, 10, put))
    assert small["ignition"]["config"]["replace"]["source"] == "https://store/object"
    assert small["ignition"]["config"]["replace"]["verification"]["hash"].startswith("sha512-")
    assert gzip.decompress(stored[0]) == CONFIG
    with pytest.raises(ConfigError, match=r"the Ignition config has \d+ bytes, packed \d+; allowed: 10"):
        fit(CONFIG, 10, None)


# -- console, states, hours --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "abc", "abc"),
        ("abc", "abcdef", "abcdef"),
        ("abc", "", "abc"),
        ("abc", "abc", "abc"),
        ("0123" + "x" * 300 + "end", "x" * 100 + "end", "0123" + "x" * 300 + "end"),
        ("".join(map(str, range(400))), "".join(map(str, range(200, 500))), "".join(map(str, range(500)))),
        ("first", "quite another", "firstquite another"),
    ],
)
def test_a_console_of_which_the_provider_keeps_the_end(old: str, new: str, expected: str) -> None:
    assert joined(old, new) == expected


def test_one_call_for_the_states_of_all_machines() -> None:
    calls: list[int] = []

    def read() -> dict[str, State]:
        calls.append(1)
        return {"i1": State(Phase.RUNNING, "192.0.2.1")}

    states = States(read, interval=3600)
    for _ in range(100):
        assert states.of("i1").public == "192.0.2.1"
    assert len(calls) == 1
    assert states.of("i2").phase is Phase.GONE  # nobody made it
    states.expect("i2")
    assert states.of("i2").phase is Phase.PENDING  # a list may lag behind
    assert len(calls) == 2


def test_who_waited_for_an_answer_takes_it_even_if_the_provider_is_slow() -> None:
    """Eight ask while a call is on its way, and none of its answers lasts: one call more answers them all."""
    calls: list[int] = []
    asking, answer = threading.Semaphore(0), threading.Event()

    def read() -> dict[str, State]:
        calls.append(1)
        assert answer.wait(30)
        return {"i1": State(Phase.RUNNING)}

    states = States(read, interval=0)

    def ask() -> Phase:
        asking.release()
        return states.of("i1").phase

    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(ask)
        wait_until(lambda: calls, 30, interval=0.01)
        others = [pool.submit(ask) for _ in range(8)]
        for _ in range(9):
            assert asking.acquire(timeout=30)
        answer.set()
        assert {one.result(30) for one in (first, *others)} == {Phase.RUNNING}
    assert len(calls) <= 4, "all asked by themselves"  # two, and a few for who was late


def test_instance_hours_are_counted_and_priced(tmp_path: Path) -> None:
    small, unknown = TABLE[1], TABLE[4]
    for name, kind, began, ended in [("a", small, 0, 3600), ("b", small, 0, 1800), ("c", unknown, 0, None)]:
        hours.note(tmp_path, name, kind, began)
        if ended is not None:
            hours.note(tmp_path, name, kind, ended)
    found = hours.bills(tmp_path, now=7200)
    assert hours.describe(found) == (
        "3.50 instance-hours (2 x small 1.50 h, 1 x unpriced 2.00 h); about 0.03 USD by the table of prices "
        "(not all types are in it)"
    )
    assert hours.describe(hours.bills(tmp_path / "none", now=1)) == ""
