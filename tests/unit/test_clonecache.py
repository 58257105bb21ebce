"""The cache of saved machines: complete or not there, one maker at a time, damage noticed, limits kept."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kola.clonecache import Claim, CloneCache, Limits
from kola.errors import PlatformError

MIB = 1 << 20


def never(_elapsed: float) -> None:
    raise AssertionError("it waits for somebody")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, said: list[str]) -> CloneCache:
    return CloneCache(tmp_path / "clones", Limits(), said.append)


def fill(claim: Claim, content: bytes = b"memory") -> None:
    assert claim.draft is not None
    (claim.draft / "machine").mkdir()
    (claim.draft / "machine" / "state").write_bytes(content)
    (claim.draft / "client_key").write_text("secret")
    claim.commit({"host_key": "ssh-ed25519 AAAA"})


def make(cache: CloneCache, key: str, content: bytes = b"memory") -> None:
    with cache.claim(key, never) as claim:
        assert claim.entry is None
        fill(claim, content)


@contextlib.contextmanager
def found(cache: CloneCache, key: str) -> Iterator[Claim]:
    with cache.claim(key, never) as claim:
        assert claim.entry is not None
        yield claim


def test_what_is_committed_is_found_by_others(cache: CloneCache, said: list[str]) -> None:
    assert not cache.peek("k")
    make(cache, "k")
    other = CloneCache(cache.folder, Limits(), said.append)
    assert other.peek("k")
    with found(other, "k") as claim:
        assert claim.entry is not None
        assert (claim.entry.folder / "machine" / "state").read_bytes() == b"memory"
        assert claim.entry.facts == {"host_key": "ssh-ed25519 AAAA"}
    assert not said


def test_only_its_owner_can_read_it(cache: CloneCache) -> None:
    make(cache, "k")
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert (cache.folder / "k").stat().st_mode & 0o777 == 0o700


def test_a_draft_that_is_not_committed_leaves_nothing(cache: CloneCache) -> None:
    with cache.claim("k", never) as claim:
        assert claim.draft is not None
        (claim.draft / "half").write_text("x")
    assert not cache.peek("k")
    assert [path.name for path in cache.folder.iterdir()] == ["k.lock"]


@pytest.mark.parametrize("damage", ["content", "size", "missing", "manifest", "format"])
def test_damage_is_noticed_and_the_entry_made_anew(cache: CloneCache, said: list[str], damage: str) -> None:
    make(cache, "k")
    state, manifest = cache.folder / "k" / "machine" / "state", cache.folder / "k" / "manifest.json"
    if damage == "content":
        state.write_bytes(b"MEMORY")
    elif damage == "size":
        state.write_bytes(b"mem")
    elif damage == "missing":
        state.unlink()
    elif damage == "manifest":
        manifest.write_text("{")
    else:
        manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 0'))
    other = CloneCache(cache.folder, Limits(), said.append)
    with other.claim("k", never) as claim:
        assert claim.entry is None
        fill(claim, b"new memory")
    assert len(said) == 1
    assert "saved machine k is damaged" in said[0]
    with found(other, "k") as claim:
        assert claim.entry is not None
        assert (claim.entry.folder / "machine" / "state").read_bytes() == b"new memory"


def test_one_makes_it_and_the_others_wait(cache: CloneCache) -> None:
    made: list[str] = []
    waited = threading.Event()

    def worker(number: int) -> None:
        mine = CloneCache(cache.folder, Limits())
        with mine.claim("k", lambda _: waited.set()) as claim:
            if claim.entry is None:
                made.append(str(number))
                assert waited.wait(10), "the others do not wait"
                fill(claim)
            assert claim.entry is not None

    threads = [threading.Thread(target=worker, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(made) == 1


MAKER = """
import sys, time
from pathlib import Path
from kola.clonecache import CloneCache, Limits
with CloneCache(Path(sys.argv[1]), Limits()).claim("k", lambda _: None) as claim:
    (claim.draft / "half").write_text("x")
    print("making", flush=True)
    sys.stdin.read()
"""


def test_a_killed_maker_is_followed_by_the_next(cache: CloneCache) -> None:
    command = [sys.executable, "-c", MAKER, str(cache.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "making\n"
        waited: list[float] = []
        killer = threading.Timer(0.5, os.kill, (maker.pid, signal.SIGKILL))
        killer.start()
        with cache.claim("k", waited.append) as claim:
            assert waited, "the lock did not hold"
            assert claim.draft is not None
            assert list(claim.draft.iterdir()) == []
            fill(claim)
    assert cache.peek("k")


def test_a_rejected_entry_goes_unless_it_is_new_already(cache: CloneCache) -> None:
    make(cache, "k")
    with found(cache, "k") as claim:
        claim.reject()
        assert claim.entry is None
        fill(claim, b"better")
    with found(cache, "k") as claim:
        old = claim.entry
    with found(cache, "k") as claim:
        claim.entry = None if old is None else type(old)(old.key, old.folder, "another time", old.facts)
        claim.reject()
        assert claim.entry is not None, "what somebody else made meanwhile was removed"


def test_several_restore_at_once(cache: CloneCache) -> None:
    make(cache, "k")
    with found(cache, "k"), found(CloneCache(cache.folder, Limits()), "k"):
        pass


def test_others_restore_as_soon_as_it_is_committed(cache: CloneCache) -> None:
    with cache.claim("k", never) as claim:
        fill(claim)
        with found(CloneCache(cache.folder, Limits()), "k"):
            pass
        assert CloneCache(cache.folder, Limits(age_days=-1)).collect() == [], "the maker still uses it"


def used(cache: CloneCache, key: str, days_ago: float) -> None:
    moment = time.time() - days_ago * 86400
    os.utime(cache.folder / key / "manifest.json", (moment, moment))


def test_what_was_not_used_for_long_goes(cache: CloneCache) -> None:
    for key, days in (("old", 20), ("new", 1)):
        make(cache, key)
        used(cache, key, days)
    assert [(r.key, r.why) for r in cache.collect(dry_run=True)] == [("old", "not used for 20 days")]
    assert cache.peek("old")
    assert [r.key for r in cache.collect()] == ["old"]
    assert not cache.peek("old")
    assert cache.peek("new")


def test_the_longest_unused_go_until_the_rest_is_small_enough(cache: CloneCache) -> None:
    for days, key in enumerate(("c", "b", "a")):
        make(cache, key, os.urandom(2 * MIB))
        used(cache, key, days)
    small = CloneCache(cache.folder, Limits(size_mib=5))
    assert [r.key for r in small.collect()] == ["a"]
    assert small.size_mib() <= 5


def test_using_an_entry_makes_it_young(cache: CloneCache) -> None:
    make(cache, "k")
    used(cache, "k", 20)
    with found(cache, "k"):
        pass
    assert cache.collect() == []


def test_what_is_in_use_stays(cache: CloneCache) -> None:
    make(cache, "k")
    with found(cache, "k"):
        none = CloneCache(cache.folder, Limits(size_mib=0, age_days=-1))
        assert none.collect(dry_run=True) == []
        assert none.collect() == []
    assert [r.key for r in none.collect()] == ["k"]


def test_interrupted_drafts_go(cache: CloneCache) -> None:
    make(cache, "k")
    cache.draft("dead").mkdir()
    with cache.claim("alive", never):
        for dry_run in (True, False):
            found = [(r.key, r.why) for r in cache.collect(dry_run=dry_run)]
            assert found == [("dead", "its making was interrupted")]
            assert cache.draft("dead").exists() is dry_run
        assert cache.draft("alive").exists()


def test_a_draft_is_no_entry_yet(cache: CloneCache) -> None:
    none = CloneCache(cache.folder, Limits(age_days=-1))
    with cache.claim("k", never) as claim:
        assert claim.draft is not None
        (claim.draft / "manifest.json").write_text("{}")
        assert cache.count() == 0
        assert none.collect() == []


def test_what_others_make_and_remove_disturbs_nobody_who_collects(cache: CloneCache) -> None:
    end = threading.Event()
    make(cache, "entry")
    with cache.claim("draft", never) as claim:
        assert claim.draft is not None
        folders = [cache.folder / "entry" / "more", claim.draft / "more"]

        def churn() -> None:
            while not end.is_set():
                for folder in folders:
                    folder.mkdir()
                    (folder / "state").write_text("x")
                    (folder / "disk").write_text("x")
                    shutil.rmtree(folder)

        others = threading.Thread(target=churn)
        others.start()
        try:
            for _ in range(500):
                assert cache.size_mib() == 0
                assert cache.collect(dry_run=True) == []
                assert cache.collect() == []
        finally:
            end.set()
            others.join()


@pytest.fixture
def full_disk(cache: CloneCache, monkeypatch: pytest.MonkeyPatch) -> CloneCache:
    """A cache on a disk of 10 MiB, with three entries of 3 MiB each, ``a`` the youngest."""
    for days, key in enumerate("abc"):
        make(cache, key, os.urandom(3 * MIB))
        used(cache, key, days)
    # How full this host's disk is is not the test's business; what follows from it is.
    monkeypatch.setattr(CloneCache, "free_mib", lambda self: 10 - self.size_mib())
    return cache


def test_without_space_the_longest_unused_go_as_far_as_it_takes(full_disk: CloneCache) -> None:
    full_disk.make_room(1)
    assert full_disk.count() == 3, "there was enough space"
    full_disk.make_room(4)
    assert full_disk.count() == 2
    full_disk.make_room(5)
    assert [full_disk.peek(key) for key in "abc"] == [True, False, False]


def test_nothing_goes_if_that_would_not_be_enough(full_disk: CloneCache) -> None:
    with pytest.raises(PlatformError, match=r"1 MiB free in .*a saved machine may need 11 MiB"):
        full_disk.make_room(11)
    assert full_disk.count() == 3
    with found(full_disk, "c"), pytest.raises(PlatformError, match="1 MiB free"):
        full_disk.make_room(8)
    assert full_disk.count() == 3, "what is in use would not have gone"
    full_disk.make_room(10)
    assert full_disk.count() == 0
