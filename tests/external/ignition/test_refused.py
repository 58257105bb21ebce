"""What Ignition must not accept: the machine stops in emergency mode, and says why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kola import ignition
from kola.errors import Loss, MachineLost
from kola.faults import Corrupted
from kola.flight import Reservation
from kola.httpd import HttpServer
from tests.external.ignition.config import file, sha512

WHY = "the boot is meant to end so"

pytestmark = pytest.mark.kola(
    isolation="first_boot",
    tags=["ignition"],
    covers="provisioning",
    skip_checks={"ignition-failed": WHY, "emergency-shell": WHY},
)


def refusal(flight: Reservation, config: dict[str, Any]) -> Loss:
    """Boot a machine that must not come up, and return why it did not."""
    with pytest.raises(MachineLost) as lost:
        flight.launch(ignition.parse(json.dumps(config)))
    loss = lost.value.loss
    assert loss.kind == "ignition", f"the machine was lost for another reason: {lost.value}"
    return loss


def test_changed_remote_config(flight: Reservation, http_server: HttpServer) -> None:
    """A remote config whose bytes are not those of its hash is not applied: the machine stops, with both hashes."""
    remote = json.dumps({"ignition": {"version": "3.0.0"}, "storage": {"files": [file("/etc/kola", "x")]}}).encode()
    http_server.add("/remote.ign", remote)
    http_server.fault(Corrupted(), "/remote.ign")
    reference = {"source": http_server.url("/remote.ign"), "verification": sha512(remote)}
    loss = refusal(flight, {"ignition": {"version": "3.0.0", "config": {"merge": [reference]}}})
    assert "hash verification failed" in loss.summary, f"another reason: {loss.summary}"
    assert sha512(remote)["hash"].removeprefix("sha512-")[:32] in loss.summary, f"the hash is not named: {loss.summary}"
    assert http_server.requests("/remote.ign"), "the server was never asked"


def test_server_with_unknown_authority(flight: Reservation, https_server: HttpServer) -> None:
    """A server whose certificate nobody vouches for gets no request, and the machine stops when its time is up."""
    remote = b'{"ignition": {"version": "3.0.0"}}'
    https_server.add("/remote.ign", remote)
    reference = {"source": https_server.url("/remote.ign"), "verification": sha512(remote)}
    config = {"ignition": {"version": "3.0.0", "timeouts": {"httpTotal": 10}, "config": {"merge": [reference]}}}
    loss = refusal(flight, config)
    assert "unable to fetch resource in time" in loss.summary, f"another reason: {loss.summary}"
    assert not https_server.requests(), "the server was trusted without its authority"


@pytest.mark.parametrize(
    ("embedded", "reason"),
    [
        pytest.param(b'{"ignition": {"version": "3.0.0"},', "config is not valid", id="not-json"),
        pytest.param(b'{"ignition": {"version": "3.99.0"}}', "unsupported config version", id="unknown-version"),
    ],
)
def test_invalid_config(flight: Reservation, embedded: bytes, reason: str) -> None:
    """A config that is no config, or of a version from the future, stops the machine, with that reason."""
    merge = [{"source": ignition.data_url(embedded)}]
    loss = refusal(flight, {"ignition": {"version": "3.0.0", "config": {"merge": merge}}})
    assert reason in loss.summary, f"another reason: {loss.summary}"


def test_file_that_is_there_already(flight: Reservation) -> None:
    """A file that the image has is not overwritten unasked: the machine stops and names it."""
    loss = refusal(flight, {"ignition": {"version": "3.0.0"}, "storage": {"files": [file("/etc/passwd", "x")]}})
    told = "\n".join((loss.summary, *loss.detail))
    assert "/etc/passwd" in told, f"the file is not named: {told}"
    assert "overwrite" in told, f"another reason: {told}"
