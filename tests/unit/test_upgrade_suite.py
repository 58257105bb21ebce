"""The pure parts of the upgrade suite, which must be right before they can find what is wrong on a machine."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kola.cincinnati import Release, Rollout, graph_of
from kola.errors import ConfigError
from kola.httpd import HttpServer
from kola.registry import Registry
from kola.releases import Release as Commit
from kola.updates import UpdateServer
from tests.external import upgrade
from tests.external.selinux.contexts import exceptions, parse_sweep
from tests.external.upgrade.client import Answer, Identity, Offer, read_graph
from tests.external.upgrade.images import push_archive, push_releases
from tests.external.upgrade.rpmostree import Deployment, parse_status
from tests.external.upgrade.zincati import CONFIG, Settings, Window, read_metric
from tests.unit.test_httpd import ask
from tests.unit.zincati import Zincati

LABELS = Path(upgrade.__file__).with_name("exceptions.toml")
IMAGES = [f"quay.io/fedora/fedora-coreos@sha256:{n}{'0' * 63}" for n in range(4)]
RELEASES = [
    Release("1", "c1", IMAGES[1]),
    Release("2", "c2", IMAGES[2], barrier="keys"),
    Release("3", "c3", IMAGES[3], rollout=Rollout(), deadend="why"),
]
# Of Zincati's src/config/fragments.rs and its documentation; [] is a list of such tables.
DOCUMENTED = {
    "agent": {"timing": {"steady_interval_secs": int}},
    "cincinnati": {"base_url": str},
    "identity": {"group": str, "node_uuid": str, "rollout_wariness": float},
    "updates": {
        "allow_downgrade": bool,
        "enabled": bool,
        "strategy": str,
        "fleet_lock": {"base_url": str},
        "periodic": {"time_zone": str, "window": [{"days": list, "start_time": str, "length_minutes": int}]},
    },
}


def identity(payload: str, version: str = "1", wariness: float | None = None) -> Identity:
    node_uuid = "e0f3745b108f471cbd4883c6fbed8cdd"
    return Identity("x86_64", "stable", "qemu", node_uuid, version, payload, wariness=wariness)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer("10.0.2.2") as server:
        yield server


# -- the client


@pytest.mark.parametrize("payload", ["c1", "c2", "c3", *IMAGES[1:]])
@pytest.mark.parametrize("wariness", [None, 0.25])
def test_the_client_asks_and_chooses_as_zincati_does(server: HttpServer, payload: str, wariness: float | None) -> None:
    UpdateServer(server).publish(RELEASES)
    oci = "@" in payload
    agent, ours = Zincati(server, payload, oci=oci, version="1", wariness=wariness), identity(payload, "1", wariness)
    assert ours.parameters() == agent.params()
    answer = read_graph(graph_of(RELEASES, oci=oci).to_json().decode(), ours)
    theirs = agent.next_update()
    found = (answer.update.age, answer.update.version, answer.update.payload) if answer.update else None
    assert found == ((theirs.age_index, theirs.version, theirs.payload) if theirs else None)
    assert answer.deadend == agent.deadend()


def test_a_release_that_is_not_in_the_graph() -> None:
    graph = graph_of(RELEASES, oci=False).to_json().decode()
    for payload in ("c9", IMAGES[1]):
        assert read_graph(graph, identity(payload)) == Answer(known=False, update=None, deadend=None)


def test_never_back_to_an_older_release() -> None:
    graph = json.loads(graph_of(RELEASES, oci=False).to_json())
    back = json.dumps(graph | {"edges": [[1, 0]]})
    assert read_graph(back, identity("c2")).update is None
    newest = json.dumps(graph | {"edges": [[0, 2], [0, 1]]})
    assert read_graph(newest, identity("c1")).update == Offer(2, "3", "c3")


# -- Zincati's configuration


def undocumented(found: Any, allowed: Any, path: str = "") -> list[str]:
    if isinstance(allowed, dict):
        unknown = [f"{path}{key}" for key in found if key not in allowed]
        known = [key for key in found if key in allowed]
        return unknown + [word for key in known for word in undocumented(found[key], allowed[key], f"{path}{key}.")]
    if isinstance(allowed, list):
        return [word for one in found for word in undocumented(one, allowed[0], path)]
    return [] if type(found) is allowed else [f"{path} is {found!r}"]


def test_every_setting_is_a_documented_one() -> None:
    window = Window(datetime(2026, 11, 28, 23, 30, tzinfo=UTC), 60)
    settings = Settings("http://a", True, "periodic", "http://b", [window, window], 0.5, "workers")
    config = tomllib.loads(settings.to_toml())
    assert not undocumented(config, DOCUMENTED)
    assert config["updates"]["periodic"]["window"][0] == {"days": ["Sat"], "start_time": "23:30", "length_minutes": 60}
    assert config["identity"] == {"rollout_wariness": 0.5, "group": "workers"}
    assert config["updates"]["fleet_lock"] == {"base_url": "http://b"}
    assert undocumented({"updates": {"enable": True}, "identity": {"group": 1}}, DOCUMENTED)


def test_what_is_not_said_is_not_written() -> None:
    config = tomllib.loads(Settings("http://a", enabled=None).to_toml())
    assert config["updates"] == {"strategy": "immediate"}
    assert "identity" not in config


def test_the_configuration_comes_after_those_that_switch_zincati_off() -> None:
    others = ("90-disable-auto-updates.toml", "90-disable-on-non-production-stream.toml", "95-disable-on-dev.toml")
    assert all(Path(CONFIG).name > other for other in others)


def test_a_window_around_midnight_begins_the_day_before() -> None:
    config = tomllib.loads(Window.around(datetime(2026, 11, 23, 0, 20, tzinfo=UTC)).to_toml())
    (window,) = config["updates"]["periodic"]["window"]
    assert window == {"days": ["Sun"], "start_time": "23:20", "length_minutes": 120}


def test_metrics() -> None:
    text = "# TYPE zincati_a gauge\nzincati_a_b 2\nzincati_a 1\n"
    assert read_metric(text, "zincati_a") == 1
    with pytest.raises(AssertionError, match="no metric zincati_c"):
        read_metric(text, "zincati_c")


# -- labels that an update may leave behind


def test_labels_of_the_policy_before() -> None:
    line = "Would relabel {} from system_u:object_r:{}:s0 to system_u:object_r:{}:s0"
    known = line.format("/var/lib/systemd/random-seed", "init_var_lib_t", "random_seed_t")
    other_type = line.format("/var/lib/systemd/random-seed", "random_seed_t", "var_t")
    other_path = line.format("/var/lib/systemd/random-seed2", "init_var_lib_t", "random_seed_t")
    found = parse_sweep(f"{known}\n{other_type}\n{other_path}", LABELS)
    assert [item.path for item in found] == ["/var/lib/systemd/random-seed", "/var/lib/systemd/random-seed2"]
    assert parse_sweep(known), "it is no exception where nothing was updated"
    reasons = [entry["reason"] for entry in exceptions("label", LABELS)]
    assert all(re.search(r"fedora-coreos-(tracker|config) \d+$", reason) for reason in reasons)


# -- rpm-ostree


def test_status() -> None:
    layered = {"requested-packages": ["vim"], "requested-local-packages": ["own-1-1.x86_64"], "base-checksum": "c1"}
    image = {"container-image-reference": "ostree-image-signed:docker://a/b:stable"}
    text = json.dumps(
        {
            "deployments": [
                {"checksum": "c2", "version": "2", "booted": False, "staged": True, "finalization-locked": True},
                {"checksum": "layered", "version": "1", "booted": True, **layered},
                {"checksum": "c0", "booted": False, "container-image-reference-digest": "sha256:0", **image},
            ],
            "transaction": None,
        }
    )
    staged, booted, old = parse_status(text)
    assert staged == Deployment("c2", "2", False, True, True, "", "", ())
    assert (booted.checksum, booted.booted, booted.packages) == ("c1", True, ("vim", "own-1-1.x86_64"))
    assert (old.image, old.digest) == ("ostree-image-signed:docker://a/b:stable", "sha256:0")
    assert booted.is_release(Commit("c1", "os/stable"))
    assert old.is_release(Commit("c1", "os/stable"), "sha256:0")
    assert not old.is_release(Commit("c0", "os/stable"), "sha256:1")


# -- images


def archive(path: Path, *, without: str = "", prefix: str = "") -> str:
    """An OCI archive of one image of one layer; returns its digest."""
    files: dict[str, bytes] = {}

    def blob(content: bytes) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        files[f"blobs/sha256/{digest}"] = content
        return {"digest": f"sha256:{digest}", "size": len(content), "mediaType": "application/octet-stream"}

    layer, config = blob(b"layer" * 1000), blob(b"{}")
    described = {"schemaVersion": 2, "config": config, "layers": [layer]}
    entry = blob(json.dumps(described).encode()) | {"mediaType": "application/vnd.oci.image.manifest.v1+json"}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    gone = {"layer": str(layer["digest"]).replace(":", "/"), "index": "index.json"}.get(without, "-")
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            if not name.endswith(gone):
                member = tarfile.TarInfo(f"{prefix}{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return str(entry["digest"])


@pytest.mark.parametrize("prefix", ["", "./"])
def test_an_archive_is_pushed_and_can_be_pulled(server: HttpServer, tmp_path: Path, prefix: str) -> None:
    digest, registry = archive(tmp_path / "a.ociarchive", prefix=prefix), Registry(server, tmp_path / "registry")
    pushed = push_releases([Commit("c1", "os/stable", "42.1")], [tmp_path / "a.ociarchive"], registry)
    assert pushed == {"c1": f"10.0.2.2:{server.port}/kola/os@{digest}"}
    assert registry.tags("kola/os") == {"42.1": digest}
    response, content = ask(server, f"/v2/kola/os/manifests/{digest}")
    assert response.headers["Content-Type"] == "application/vnd.oci.image.manifest.v1+json"
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
    layer = json.loads(content)["layers"][0]["digest"]
    assert ask(server, f"/v2/kola/os/blobs/{layer}")[1] == b"layer" * 1000
    again = push_archive(tmp_path / "a.ociarchive", registry, "kola/os", "again")
    assert registry.tags("kola/os")["again"] == again == digest


@pytest.mark.parametrize("without", ["layer", "index", "all"])
def test_what_is_no_archive_is_one_clear_error(server: HttpServer, tmp_path: Path, without: str) -> None:
    path = tmp_path / "a.ociarchive"
    archive(path, without=without)
    if without == "all":
        path.write_bytes(b"no tar")
    with pytest.raises(ConfigError, match=r"a\.ociarchive: no OCI archive of one image"):
        push_archive(path, Registry(server, tmp_path / "registry"), "kola/os", "v1")
