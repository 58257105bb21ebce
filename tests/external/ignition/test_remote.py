"""Configs and files that Ignition fetches from servers: merged, replaced, verified, with headers, over TLS."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from kola import ignition
from kola.faults import Outage
from kola.flight import Reservation
from kola.httpd import HttpServer
from tests.external.ignition.config import LARGE, file, oneshot, sha512

pytestmark = pytest.mark.kola(isolation="first_boot", tags=["ignition", "network"], covers="provisioning")

TOKEN = {"name": "X-Kola-Token", "value": "open-sesame"}


def config(*paths: str, source: str, **members: Any) -> bytes:
    """Return a config that writes its own name into these files."""
    files = [file(path, f"{source}\n", overwrite=True) for path in paths]
    return json.dumps({"ignition": {"version": "3.1.0", **members}, "storage": {"files": files}}).encode()


def test_remote_configs(flight: Reservation, http_server: HttpServer, https_server: HttpServer) -> None:
    """Remote configs and files arrive: merge, replace, precedence, hashes, gzip, headers, retries, TLS with a CA."""
    assert https_server.authority is not None
    authority = https_server.authority.pem.encode()
    ca = {"source": ignition.data_url(authority), "verification": sha512(authority)}
    nested = config("/etc/kola/main-first-nested", "/etc/kola/nested", source="nested")
    http_server.add("/nested.ign", gzip.compress(nested))
    reference = {
        "source": http_server.url("/nested.ign"), "compression": "gzip", "verification": sha512(nested),
    }  # fmt: skip
    first = config(
        *("/etc/kola/main-first", "/etc/kola/main-first-nested", "/etc/kola/first-second"),
        source="first",
        config={"merge": [reference]},
    )
    http_server.add("/first.ign", first)
    third = config("/etc/kola/first-second", "/etc/kola/third", source="third")
    https_server.add("/third.ign", third)
    second = config(
        "/etc/kola/second",
        source="second",
        config={"replace": {"source": https_server.url("/third.ign"), "verification": sha512(third)}},
    )
    https_server.add("/second.ign", second)
    https_server.add("/large", LARGE)
    unavailable = http_server.fault(Outage(503), "/nested.ign", first=3)
    closed = https_server.fault(Outage(), "/third.ign", first=1)
    main = {
        "ignition": {
            "version": "3.1.0",
            "config": {
                "merge": [
                    {
                        "source": http_server.url("/first.ign"),
                        "verification": sha512(first),
                        "httpHeaders": [TOKEN, {"name": "User-Agent", "value": "kola"}],
                    },
                    {"source": https_server.url("/second.ign"), "verification": sha512(second)},
                ]
            },
            "security": {"tls": {"certificateAuthorities": [ca]}},
        },
        "storage": {
            "files": [
                file("/etc/kola/main", "main\n"),
                file("/etc/kola/main-first", "main\n"),
                file("/etc/kola/main-first-nested", "main\n"),
                file(
                    "/var/lib/kola/large",
                    contents={
                        "source": https_server.url("/large"),
                        "verification": sha512(LARGE),
                        "httpHeaders": [TOKEN],
                    },
                ),
            ]
        },
        "systemd": {"units": [{"name": "kola-remote.service", "enabled": True, "contents": oneshot("true")}]},
    }

    machine = flight.launch(ignition.parse(json.dumps(main)))

    expected = {
        "main": "main",  # what only the main config has
        "main-first": "first",  # a merged config wins over the one that names it
        "main-first-nested": "nested",  # and what that merges over both
        "nested": "nested",
        "first-second": "third",  # a later one wins over an earlier one
        "third": "third",
        "second": "",  # a config that is replaced counts for nothing
    }
    script = "cd /etc/kola; for name; do echo $name $(cat $name 2>/dev/null); done"
    lines = machine.run(["sh", "-c", script, "sh", *expected]).stdout.splitlines()
    found = dict(line.partition(" ")[::2] for line in lines)
    wrong = {name: (found.get(name), value) for name, value in expected.items() if found.get(name) != value}
    assert not wrong, f"merging: file: (found, expected): {wrong}"
    assert machine.read_bytes("/var/lib/kola/large") == LARGE, "the file from the server has other bytes"
    machine.wait_for_unit("kola-remote.service")
    tokens = [
        request.headers.get("x-kola-token")
        for request in (*http_server.requests("/first.ign"), *https_server.requests("/large"))
    ]
    assert set(tokens) == {TOKEN["value"]}, f"headers: {tokens}"
    others = [request.headers.get("x-kola-token") for request in http_server.requests("/nested.ign")]
    assert set(others) == {None}, "the headers of one resource were sent with another"
    assert unavailable.hits == 3, f"503: fetched again {unavailable.hits} times, not 3"
    assert closed.hits == 1, "a connection that was closed without an answer was not tried again"
