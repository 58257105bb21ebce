"""What Zincati sends and what it can read, byte by byte, written down from its source: coreos/zincati, src/cincinnati,
src/identity, src/fleet_lock and src/rpm_ostree.
"""

from __future__ import annotations

import json
import random
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from kola.httpd import HttpServer


class RejectedError(Exception):
    """An answer that is no success: its status, and kind and value where it has them."""

    def __init__(self, status: int, kind: str, value: str) -> None:
        super().__init__(f"{status} {kind}: {value}")
        self.status, self.kind, self.value = status, kind, value


@dataclass(frozen=True, order=True)
class Offered:
    """A release that Zincati made of a node; ordered by age, then version, then payload."""

    age_index: int
    version: str
    payload: str


@dataclass(frozen=True)
class Zincati:
    """A machine's agent."""

    server: HttpServer
    payload: str
    oci: bool = False
    version: str = "42.20250901.3.0"
    wariness: float | None = None
    stream: str = "stable"
    node_uuid: str = "e0f3745b108f471cbd4883c6fbed8cdd"
    group: str = "default"

    # -- the graph

    def params(self) -> dict[str, str]:
        found = {
            "basearch": "x86_64", "os_checksum": self.payload, "os_version": self.version, "group": self.group,
            "node_uuid": self.node_uuid, "platform": "qemu", "stream": self.stream,
        }  # fmt: skip
        if self.oci:
            found["oci"] = "true"
        if self.wariness is not None:
            found["rollout_wariness"] = f"{self.wariness:.6f}"
        return found

    def fetch_graph(self) -> tuple[list[dict[str, Any]], list[tuple[int, int]]]:
        pairs = list(self.params().items())
        random.shuffle(pairs)  # they come out of a hash map
        query = "&".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in pairs)
        status, headers, body = self.send("GET", f"/v1/graph?{query}", {"accept": "application/json"})
        if not 200 <= status <= 299:
            raise rejection(status, body)
        assert headers["content-type"].startswith("application/json")
        return decode_graph(body)

    def next_update(self) -> Offered | None:
        """Walk the graph from the booted release to the newest one that an edge leads to; never to an older one."""
        nodes, edges = self.fetch_graph()
        scheme = "oci" if self.oci else "checksum"
        booted = (n for n, node in enumerate(nodes) if node["payload"] == self.payload and scheme_of(node) == scheme)
        place = next(booted, None)
        if place is None:
            return None
        offers = [release(nodes[end], scheme) for start, end in edges if start == place]
        newest = max(offers, default=None)
        return newest if newest is not None and newest > release(nodes[place], scheme) else None

    def deadend(self) -> str | None:
        nodes, _ = self.fetch_graph()
        (node,) = (node for node in nodes if node["payload"] == self.payload)
        if node["metadata"].get("org.fedoraproject.coreos.updates.deadend") != "true":
            return None
        return str(node["metadata"].get("org.fedoraproject.coreos.updates.deadend_reason", ""))

    # -- the lock

    def pre_reboot(self) -> None:
        self.lock("/v1/pre-reboot")

    def steady_state(self) -> None:
        self.lock("/v1/steady-state")

    def lock(self, path: str) -> None:
        params = {"client_params": {"id": self.node_uuid, "group": self.group}}
        body = json.dumps(params, indent=2).encode()  # no content type is sent
        status, _, answer = self.send("POST", path, {"fleet-lock-protocol": "true"}, body)
        if not 200 <= status <= 299:
            raise rejection(status, answer)

    # -- the wire

    def send(
        self, method: str, target: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        lines += [f"host: {self.server.address}:{self.server.port}"]
        lines += [f"content-length: {len(body)}"] if body else []
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=20) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        head, _, content = answer.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        named = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        assert len(content) == int(named["content-length"])
        return int(first.split()[1]), named, content


def rejection(status: int, body: bytes) -> RejectedError:
    """Read ``{"kind", "value"}``, both texts and required; anything else is an error without a name."""
    try:
        found = json.loads(body)
        kind, value = found["kind"], found["value"]
        assert isinstance(kind, str)
        assert isinstance(value, str)
    except (ValueError, TypeError, KeyError, AssertionError):
        return RejectedError(status, f"generic_http_{status}", "(unknown/generic server error)")
    return RejectedError(status, kind, value)


def decode_graph(body: bytes) -> tuple[list[dict[str, Any]], list[tuple[int, int]]]:
    """Read a graph as strictly as serde does: all fields are there, metadata are texts, edges pairs of numbers."""
    graph = json.loads(body)
    assert type(graph["nodes"]) is list
    for node in graph["nodes"]:
        assert type(node["version"]) is str
        assert type(node["payload"]) is str
        assert type(node["metadata"]) is dict
        assert all(type(value) is str for value in node["metadata"].values())
    edges = []
    for start, end in graph["edges"]:
        assert type(start) is type(end) is int
        assert 0 <= start < len(graph["nodes"])
        assert 0 <= end < len(graph["nodes"])
        edges.append((start, end))
    return graph["nodes"], edges


def scheme_of(node: dict[str, Any]) -> str:
    return str(node["metadata"].get("org.fedoraproject.coreos.scheme", ""))


def release(node: dict[str, Any], scheme: str) -> Offered:
    """Make a release of a node, as for every target of an edge: version and payload are not empty, the age is there."""
    assert node["version"]
    assert node["payload"]
    assert scheme_of(node) == scheme
    age = node["metadata"]["org.fedoraproject.coreos.releases.age_index"]
    assert age.isdigit()
    return Offered(int(age), node["version"], node["payload"])
