import threading
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest

from kola.budget import Budget, Evictor, available_memory_mib, default_budget_mib
from kola.errors import ConfigError, WaitTimeout
from kola.ledger import Entry
from kola.process import ProcessId
from kola.wait import wait_until


@pytest.fixture
def shared(tmp_path: Path) -> Budget:
    return Budget(tmp_path / "budget", 1000, "gw0")


def test_tokens_are_counted_and_released_once(shared: Budget) -> None:
    with shared.acquire(400, what="one", timeout=0) as one:
        two = shared.acquire(600, what="two", timeout=0)
        assert shared.usage().free_mib == 0
        two.release()
        three = shared.acquire(500, what="three", timeout=0)
        two.release()
        assert shared.usage().used_mib == 900, "releasing again takes nothing from others"
    assert [holder.what for holder in shared.usage().holders] == ["three"]
    one.release()
    three.release()
    assert shared.usage().entries == ()


def test_more_than_everything_is_refused_at_once(shared: Budget) -> None:
    with pytest.raises(ConfigError, match=r"^tests/a\.py::x needs 1001 MiB .* 1000 MiB \(--memory-budget\)$"):
        shared.acquire(1001, what="tests/a.py::x", timeout=60)
    with pytest.raises(ValueError, match="cannot acquire 0 MiB of at most 0 MiB"):
        shared.acquire(0, what="x", timeout=60)
    assert shared.usage().entries == ()


def test_what_is_charged_may_be_less_than_what_is_declared(shared: Budget) -> None:
    with pytest.raises(ConfigError, match="x needs 1001 MiB"):
        shared.acquire(1, most=1001, what="x", timeout=60)
    with pytest.raises(ValueError, match="cannot acquire 5 MiB of at most 4 MiB"):
        shared.acquire(5, most=4, what="x", timeout=60)
    small = [shared.acquire(200, most=600, what="small", timeout=0) for _ in range(3)]
    with pytest.raises(
        WaitTimeout, match=r"400 of 1000 MiB free \(400 of that reserved for growth\); held by: gw0 small"
    ):
        shared.acquire(200, most=600, what="one too many", timeout=0)
    small[0].resize(600)
    assert shared.usage().free_mib == 0, "one of them grew to all that it declared, and the memory was there"
    small[1].resize(700)
    assert shared.usage().free_mib == -500, "what is really used counts, also beyond the declaration"
    for token in small:
        token.release()
    small[1].resize(50)
    assert shared.usage().entries == ()


def test_a_charge_that_falls_lets_the_next_one_in(shared: Budget) -> None:
    token = shared.acquire(800, what="measured", timeout=0)
    with pytest.raises(WaitTimeout):
        shared.acquire(300, what="next", timeout=0)
    token.resize(400)
    with pytest.raises(WaitTimeout):
        shared.acquire(300, what="next", timeout=0)
    token.resize(400)
    shared.acquire(200, what="next", timeout=0).release()


def test_a_timeout_says_who_holds_what_and_gives_up_the_place(shared: Budget, tmp_path: Path) -> None:
    said: list[str] = []
    with Budget(tmp_path / "budget", 1000, "gw1").acquire(700, what="hog", timeout=0):
        with pytest.raises(WaitTimeout) as caught:
            shared.acquire(301, what="me", timeout=0.2, on_wait=said.append)
        assert shared.usage().waiters == ()
        shared.acquire(300, what="me", timeout=0).release()
    assert str(caught.value).startswith("timed out after 0 s waiting for 301 MiB of memory for me: 300 of 1000 MiB")
    assert "held by: gw1 hog 700 MiB" in str(caught.value)
    assert said == [
        "waiting for 301 MiB of memory (300 of 1000 MiB free; held by: gw1 hog 700 MiB; waiting: gw0 me 301 MiB)"
    ], "told once, not at every look"


def test_who_is_not_first_in_line_leaves_the_lock_to_others(shared: Budget, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Entry("first", ProcessId.current(), "gw1", "first", 400)
    lock, locked = shared._locked, []

    def counted() -> AbstractContextManager[None]:
        locked.append("once")
        return lock()

    with shared.acquire(700, what="hog", timeout=0):
        shared.update(lambda ledger: ledger.add(first))
        monkeypatch.setattr(shared, "_locked", counted)
        with pytest.raises(WaitTimeout):
            shared.acquire(100, what="me", timeout=0.3)
    assert locked == ["once", "once", "once"], "to get into the line, to leave it, and by the hog; not to look"


def test_an_interrupt_while_waiting_leaves_no_ticket(shared: Budget) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with shared.acquire(700, what="hog", timeout=0):
        with pytest.raises(KeyboardInterrupt):
            shared.acquire(700, what="me", timeout=60, on_wait=interrupt)
        assert [entry.what for entry in shared.usage().entries] == ["hog"]


def test_release_after_the_scratch_folder_is_gone(shared: Budget) -> None:
    token = shared.acquire(1, what="x", timeout=0)
    for file in shared.folder.iterdir():
        file.unlink()
    shared.folder.rmdir()
    token.resize(2)
    token.release()
    assert not shared.folder.exists()


def test_idle_tokens_can_be_claimed_again(shared: Budget) -> None:
    token = shared.acquire(700, what="shared machine", timeout=0)
    assert not token.claim(), "it is in use"
    token.set_idle()
    assert shared.wanted() == []
    assert token.claim()
    token.set_idle()
    token.release()
    assert not token.claim()


def test_the_waiting_thread_evicts_its_own_idle_machines(shared: Budget) -> None:
    tokens = {token.id: token for token in (shared.acquire(300, what=name, timeout=0) for name in "abc")}
    for token in tokens.values():
        token.set_idle()
    evicted: list[str] = []

    def evict(token_id: str) -> None:
        evicted.append(token_id)
        tokens[token_id].release()

    with shared.acquire(600, what="big", timeout=5, evict=evict):
        assert evicted == list(tokens)[:2], "the oldest, and only as many as needed"
        assert tokens[list(tokens)[2]].claim()


def test_evictor_serves_a_waiter_of_another_worker(shared: Budget, tmp_path: Path) -> None:
    other = Budget(tmp_path / "budget", 1000, "gw1")
    token = shared.acquire(700, what="shared machine", timeout=0)
    threads: list[str] = []

    def evict(token_id: str) -> None:
        assert token_id == token.id
        assert not token.claim(), "it is doomed, nobody may use it any more"
        threads.append(threading.current_thread().name)
        token.release()

    with Evictor(shared, evict), Evictor(other, lambda _: pytest.fail("not its machine")):
        with pytest.raises(WaitTimeout):
            other.acquire(700, what="too early", timeout=0.3)  # busy: must not be evicted
        token.set_idle()
        other.acquire(300, what="fits", timeout=1).release()
        assert threads == []
        other.acquire(700, what="waiter", timeout=5).release()
    assert threads == ["kola-evictor"]


def test_a_claim_that_loses_against_a_waiter_dooms_the_machine_for_good(shared: Budget, tmp_path: Path) -> None:
    other = Budget(tmp_path / "budget", 1000, "gw1")
    token = shared.acquire(700, what="shared machine", timeout=0)
    token.set_idle()
    claims: list[bool] = []
    with pytest.raises(WaitTimeout):
        other.acquire(700, what="impatient", timeout=0, on_wait=lambda _: claims.append(token.claim()))
    assert claims == [False]
    assert shared.take_wanted() == [token.id], "although nobody waits any more"
    assert shared.take_wanted() == [], "nobody destroys it twice"
    assert not token.claim()


def test_an_eviction_that_fails_keeps_the_memory_and_is_reported(
    shared: Budget, caplog: pytest.LogCaptureFixture
) -> None:
    def evict(_: str) -> None:
        raise OSError("the machine does not die")

    token = shared.acquire(700, what="shared machine", timeout=0)
    token.set_idle()

    def provoke() -> None:
        with Evictor(shared, evict):
            with pytest.raises(WaitTimeout):
                shared.acquire(700, what="waiter", timeout=0.5)
            wait_until(lambda: caplog.records, 5)

    with pytest.raises(OSError, match="does not die"):
        provoke()
    assert shared.usage().used_mib == 700
    assert "an idle machine could not be evicted" in caplog.text


def test_this_host_has_memory() -> None:
    available = available_memory_mib()
    assert 0 < available <= psutil.virtual_memory().total // 2**20
    assert default_budget_mib() == pytest.approx(0.8 * available, rel=0.05)
