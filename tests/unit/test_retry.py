"""Tries again, waits, gives up: by what the driver makes of an error."""

import random

import pytest

from kola.errors import PlatformError
from kola.retry import Backoff, Caller, CapacityError, Fault, MissingError, Pace, Verdict


class SdkError(Exception):
    def __init__(self, fault: Fault, after: float = 0.0) -> None:
        super().__init__(fault.value)
        self.verdict = Verdict(fault, f"it said {fault.value}", after)


class Provider:
    """Fails so many times, each in a given way, then works."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def list_things(self, answer: str) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return answer


def caller(slept: list[float], **backoff: float) -> Caller:
    def classify(error: Exception) -> Verdict | None:
        return error.verdict if isinstance(error, SdkError) else None

    return Caller(classify, Backoff(**backoff), sleep=slept.append, rng=random.Random(1))  # noqa: S311


def test_what_passes_is_tried_again() -> None:
    slept: list[float] = []
    provider = Provider(*[SdkError(Fault.TRANSIENT)] * 6)
    assert caller(slept, first=1, most=8)(provider.list_things, "there") == "there"
    assert provider.calls == 7
    assert len(slept) == 6
    assert all(0 <= pause <= limit for pause, limit in zip(slept, (1, 2, 4, 8, 8, 8), strict=True))
    assert len(set(slept)) == 6  # jitter


def test_the_provider_says_how_long_it_wants_to_be_left_alone() -> None:
    slept: list[float] = []
    caller(slept, first=0.001)(Provider(SdkError(Fault.TRANSIENT, after=7)).list_things, "")
    assert 7 <= slept[0] < 7.001


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Fault.CAPACITY, CapacityError), (Fault.MISSING, MissingError), (Fault.FATAL, PlatformError)],
)
def test_what_does_not_pass_is_not_tried_again(fault: Fault, error: type[PlatformError]) -> None:
    provider = Provider(SdkError(fault))
    with pytest.raises(error, match=rf"^list_things: it said {fault.value}$") as raised:
        caller([])(provider.list_things, "")
    assert type(raised.value) is error
    assert provider.calls == 1


def test_what_was_just_made_may_be_unknown_for_a_while() -> None:
    provider = Provider(SdkError(Fault.MISSING), SdkError(Fault.MISSING))
    assert caller([]).fresh(provider.list_things, "there") == "there"


def test_no_attempt_is_begun_after_the_deadline() -> None:
    provider = Provider(*[SdkError(Fault.TRANSIENT)] * 5)
    with pytest.raises(PlatformError, match=r"^list_things: it said transient \(1 attempts in 0 s\)$"):
        caller([], first=1e6, most=1e6, seconds=50)(provider.list_things, "")
    assert provider.calls == 1


def test_a_wait_that_the_provider_names_may_be_longer_than_the_deadline() -> None:
    slept: list[float] = []
    provider = Provider(SdkError(Fault.TRANSIENT, after=300))
    assert caller(slept, seconds=180)(provider.list_things, "there") == "there"
    assert 300 <= slept[0] <= 301


def test_a_wait_that_is_too_long_is_not_begun() -> None:
    provider = Provider(SdkError(Fault.TRANSIENT, after=601))
    with pytest.raises(PlatformError, match=r"^list_things: it said transient \(1 attempts in 0 s\)$"):
        caller([])(provider.list_things, "")


def test_what_is_done_anew_as_a_whole_has_a_deadline_of_its_own() -> None:
    call = caller([], first=1e6, most=1e6, seconds=50)
    assert call.around(1e7)(Provider(SdkError(Fault.TRANSIENT)).list_things, "there") == "there"
    with pytest.raises(PlatformError, match="1 attempts"):
        call(Provider(SdkError(Fault.TRANSIENT)).list_things, "there")


def test_other_errors_are_the_programs_own() -> None:
    with pytest.raises(ZeroDivisionError):
        caller([])(Provider(ZeroDivisionError()).list_things, "")


@pytest.mark.parametrize("rate", [5, 50])
def test_many_that_are_turned_away_come_one_after_the_other(rate: int) -> None:
    """In simulated time, with always somebody who wants to call: the provider is asked little more than it answers."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    pace = Pace(sleep, lambda: now)
    tokens, last, answered, turned_away = float(rate), 0.0, 0, 0
    while now < 60:
        pace.take_turn()
        tokens, last = min(rate, tokens + (now - last) * rate), now
        if tokens >= 1:
            tokens -= 1
            answered += 1
            pace.answered()
        else:
            turned_away += 1
            pace.turned_away()
        sleep(0.001)
    assert answered > 0.95 * 60 * rate
    assert turned_away < 0.25 * answered


def test_a_caller_keeps_the_pace_that_it_has_found_until_it_may_go_faster() -> None:
    slept: list[float] = []
    call = caller(slept, first=1e-9)
    call(Provider().list_things, "")
    assert slept == []
    throttled = SdkError(Fault.TRANSIENT)
    throttled.verdict = Verdict(Fault.TRANSIENT, "too often", throttled=True)
    call(Provider(throttled).list_things, "")
    del slept[:]
    call(Provider().list_things, "")
    assert 0 < slept[0] < 0.1
    for _ in range(500):
        call(Provider().list_things, "")
    assert call._pace._gap == 0


@pytest.mark.parametrize(("told", "waits"), [(7.0, 7.0), (3600.0, 60.0)])
def test_what_one_is_told_to_wait_all_wait(told: float, waits: float) -> None:
    now, slept = 100.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    pace = Pace(sleep, lambda: now)
    pace.take_turn()
    pace.turned_away(told)
    pace.take_turn()
    pace.take_turn()
    assert slept == pytest.approx([waits, 0.02])


def test_every_request_of_a_call_waits_for_its_turn() -> None:
    """The first one has that of the call."""
    slept: list[float] = []
    call = caller([])
    call._pace = Pace(slept.append, lambda: 0.0)  # the clock stands still: whoever has to wait sleeps
    call._pace.turned_away()
    call._pace.take_turn()
    waited: list[int] = []

    def pages() -> None:
        for _ in range(3):
            call.request()
            waited.append(len(slept))

    call(pages)
    assert waited == [1, 2, 3]
    call.request()  # in no call
    assert len(slept) == 4
