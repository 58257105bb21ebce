"""The lock manager, asked by exactly the requests that Zincati sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kola.errors import ConfigError, WaitTimeout
from kola.faults import Outage
from kola.fleetlock import Call, FleetLock
from kola.httpd import HttpServer
from tests.unit.test_httpd import ask
from tests.unit.zincati import RejectedError, Zincati


@pytest.fixture
def lock() -> Iterator[FleetLock]:
    with HttpServer("10.0.2.2") as server:
        yield FleetLock(server)


def agent(lock: FleetLock, name: str, group: str = "default") -> Zincati:
    return Zincati(lock.server, "c1", node_uuid=name, group=group)


def granted(machine: Zincati) -> bool:
    try:
        machine.pre_reboot()
    except RejectedError as e:
        if (e.status, e.kind) == (409, "failed_lock_semaphore_full"):
            return False
        raise
    return True


def test_one_after_the_other(lock: FleetLock) -> None:
    one, two = agent(lock, "one"), agent(lock, "two")
    one.steady_state()  # as every agent begins
    assert granted(one)
    assert granted(one)  # again, after an interruption
    assert not granted(two)
    two.steady_state()  # frees its own slot only
    assert lock.holders() == ["one"]
    one.steady_state()
    assert granted(two)
    assert lock.holders() == ["two"]
    assert lock.calls("pre-reboot") == [
        Call("pre-reboot", "one", "default", granted=True),
        Call("pre-reboot", "one", "default", granted=True),
        Call("pre-reboot", "two", "default", granted=False),
        Call("pre-reboot", "two", "default", granted=True),
    ]
    assert [call.client for call in lock.calls("steady-state")] == ["one", "two", "one"]


def test_each_group_has_its_slots(lock: FleetLock) -> None:
    lock.slots = 2
    assert [granted(agent(lock, name)) for name in ("a", "b", "c")] == [True, True, False]
    assert granted(agent(lock, "c", "infra.01"))
    assert lock.holders() == ["a", "b"]
    assert lock.holders("infra.01") == ["c"]
    assert lock.holders("none") == []


def test_never_more_than_the_slots_however_many_ask_at_once(lock: FleetLock) -> None:
    lock.slots = 3
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: granted(agent(lock, f"m{n}")), range(64)))
    assert sum(answers) == 3
    assert len(lock.holders()) == 3


def test_a_slot_that_another_machine_holds(lock: FleetLock) -> None:
    with lock.held():
        assert not granted(agent(lock, "one"))
        with pytest.raises(ConfigError, match="all 1 slots of 'default' are taken"), lock.held("third"):
            pass
    assert granted(agent(lock, "one"))


def test_a_refusal_of_the_tests_own(lock: FleetLock) -> None:
    assert granted(agent(lock, "one"))
    with lock.refusing("maintenance", "closed until tomorrow", 503):
        for ask_it in (agent(lock, "one").steady_state, agent(lock, "two").pre_reboot):
            with pytest.raises(RejectedError, match="503 maintenance: closed until tomorrow"):
                ask_it()
    assert lock.holders() == ["one"]
    assert not granted(agent(lock, "two"))


def test_an_outage(lock: FleetLock) -> None:
    with (
        lock.server.fault(Outage(500), "/v1/pre-reboot", first=1),
        pytest.raises(RejectedError, match="generic_http_500"),
    ):
        agent(lock, "one").pre_reboot()
    assert lock.calls() == []
    assert granted(agent(lock, "one"))


def test_waiting_for_a_call(lock: FleetLock) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lock.wait_for_call, "pre-reboot", count=2, timeout=20)
        granted(agent(lock, "one"))
        granted(agent(lock, "two"))
        assert waiting.result() == Call("pre-reboot", "two", "default", granted=False)
    with pytest.raises(WaitTimeout, match="call 1 of steady-state"):
        lock.wait_for_call("steady-state", timeout=0.2)


GOOD: Any = {"client_params": {"id": "one", "group": "default"}}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "expected client_params"),
        ("{", "expected client_params"),
        ("[]", "expected client_params"),
        (json.dumps({"client_params": {"id": "one"}}), "KeyError: 'group'"),
        (json.dumps({"client_params": {"node_uuid": "one", "group": "g"}}), "KeyError: 'id'"),
        (json.dumps({"client_params": {"id": "", "group": "g"}}), "id: expected a text"),
        (json.dumps({"client_params": {"id": 7, "group": "g"}}), "id: expected a text"),
        (json.dumps({"client_params": {"id": "one", "group": ""}}), "group: expected"),
        (json.dumps({"client_params": {"id": "one", "group": "a b"}}), "group: expected"),
        (json.dumps({"client_params": {"id": "one", "group": "intr\u00e1net"}}), "group: expected"),
    ],
)
def test_a_body_that_is_wrong(lock: FleetLock, body: str, text: str) -> None:
    response, content = ask(lock.server, "/v1/pre-reboot", "POST", body.encode(), fleet_lock_protocol="true")
    answer = json.loads(content)
    assert (response.status, answer["kind"]) == (400, "invalid_client_params")
    assert text in answer["value"]
    assert lock.calls() == []


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/v1/pre-reboot", {}, 400),
        ("POST", "/v1/pre-reboot", {"fleet_lock_protocol": "false"}, 400),
        ("GET", "/v1/pre-reboot", {"fleet_lock_protocol": "true"}, 405),
        ("POST", "/v1/pre-reboot/x", {"fleet_lock_protocol": "true"}, 404),
        ("POST", "/v1/other", {"fleet_lock_protocol": "true"}, 404),
        ("POST", "/v1/pre-reboot", {"fleet_lock_protocol": "true"}, 200),
    ],
)
def test_what_else_makes_a_request(
    lock: FleetLock, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert ask(lock.server, path, method, json.dumps(GOOD).encode(), **headers)[0].status == status
    assert lock.holders() == (["one"] if status == 200 else [])
