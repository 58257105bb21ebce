"""The host's services as guests reach them: HTTP with ranges and faults, HTTPS by Ignition, a registry by podman."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.conftest import InnerRun, needs_testos

pytestmark = needs_testos

SHARED = '''
import hashlib
import json
from urllib.parse import quote

import pytest

from kola import ignition
from kola.cincinnati import Release, Rollout
from kola.faults import Corrupted, Outage, Truncated

CONTENT = bytes(range(256)) * 400
SHARED = {"isolation": "shared", "needs": ["podman"]}


def sha256(machine, *arguments):
    return machine.run(f"curl -fsS {' '.join(arguments)} | sha256sum").stdout.split()[0]


def digest(content):
    return hashlib.sha256(content).hexdigest()


@pytest.mark.kola(**SHARED)
def test_http(machine, http_server):
    http_server.add("/file", CONTENT)
    url = http_server.url("/file")
    assert sha256(machine, url) == digest(CONTENT)
    assert sha256(machine, "-r", "1000-1999", url) == digest(CONTENT[1000:2000])
    assert http_server.requests("/file")[-1].headers["range"] == "bytes=1000-1999"
    with http_server.fault(Corrupted(1500)):
        assert sha256(machine, "-r", "1000-1499", url) == digest(CONTENT[1000:1500])
        assert sha256(machine, "-r", "1000-1999", url) != digest(CONTENT[1000:2000])
    with http_server.fault(Truncated(500)):
        assert machine.run(["curl", "-fsS", "-o", "/tmp/part", url], check=False).exit_code == 18  # partial file
    machine.run(["curl", "-fsS", "-C", "-", "-o", "/tmp/part", url])
    assert machine.run("sha256sum < /tmp/part").stdout.split()[0] == digest(CONTENT)
    assert http_server.requests("/file")[-1].headers["range"] == "bytes=500-"
    with http_server.fault(Outage()):
        assert machine.run(["curl", "-fsS", url], check=False).exit_code == 52  # empty reply
    with http_server.fault(Outage(503)):
        assert machine.run(["curl", "-fsS", url], check=False).exit_code == 22
    assert sha256(machine, url) == digest(CONTENT)


@pytest.mark.kola(**SHARED)
def test_registry(machine, registry):
    image = registry.reference("team/app:v1")
    machine.run(f"""
        mkdir -p /tmp/image && echo hello >/tmp/image/file
        printf 'FROM scratch\\\\nCOPY file /\\\\n' >/tmp/image/Containerfile
        podman build -t localhost/app /tmp/image && podman push --tls-verify=false localhost/app {image}
        podman rmi localhost/app && podman pull --tls-verify=false {image}
    """, timeout=300)
    (pushed,) = registry.tags("team/app").values()
    found = machine.run(["podman", "image", "inspect", "--format", "{{.Digest}}", image]).stdout.strip()
    assert found == pushed
    machine.run(["podman", "rmi", image])
    with registry.server.fault(Corrupted(), "/v2/*/blobs/*"):
        refused = machine.run(["podman", "pull", "--tls-verify=false", image], check=False, timeout=300)
    assert refused.exit_code != 0, "a corrupted image was accepted"


@pytest.mark.kola(**SHARED)
def test_updates_and_lock(machine, update_server, fleet_lock):
    update_server.publish([Release("1", "c1"), Release("2", "c2", rollout=Rollout())])
    url = f"{update_server.base_url}/v1/graph?basearch=x86_64&stream=stable"
    graph = json.loads(machine.run(["curl", "-fsS", "-H", "accept: application/json", url]).stdout)
    assert [node["payload"] for node in graph["nodes"]] == ["c1", "c2"]
    assert graph["edges"] == [[0, 1]]
    body = json.dumps({"client_params": {"id": "guest", "group": "default"}})
    ask = ["curl", "-fsS", "-H", "fleet-lock-protocol: true", "-d", body, f"{fleet_lock.base_url}/v1/pre-reboot"]
    with fleet_lock.held():
        assert machine.run(ask, check=False).exit_code == 22
    machine.run(ask)
    assert fleet_lock.holders() == ["guest"]


@pytest.mark.kola(isolation="first_boot")
def test_ignition_over_https(flight, https_server):
    https_server.add("/motd", b"hello")
    authority = {"source": f"data:,{quote(https_server.authority.pem)}"}
    config = {
        "ignition": {"version": "3.0.0", "security": {"tls": {"certificateAuthorities": [authority]}}},
        "storage": {"files": [{"path": "/etc/kola-motd", "contents": {"source": https_server.url("/motd")}}]},
    }
    machine = flight.launch(ignition.parse(json.dumps(config), "config"))
    assert machine.run("cat /etc/kola-motd").stdout == "hello"
    assert "Ignition" in https_server.requests("/motd")[0].headers["user-agent"]
'''


@pytest.mark.slow
def test_guests_and_the_services(kola_pytest: Callable[..., InnerRun]) -> None:
    run = kola_pytest("test_inner.py", files={"test_inner.py": SHARED})
    assert run.wait(1200) == 0, run.output
    assert {name: test["outcome"] for name, test in run.tests.items()} == {
        "test_http": "passed",
        "test_registry": "passed",
        "test_updates_and_lock": "passed",
        "test_ignition_over_https": "passed",
    }
