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
from typing import TYPE_CHECKING, Any, cast

import pytest

from kola.cincinnati import Release, Rollout, graph_of
from kola.command import CommandResult
from kola.errors import ConfigError
from kola.httpd import HttpServer
from kola.registry import Registry
from kola.releases import Release as Commit
from kola.releases import Releases
from kola.updates import UpdateServer
from tests.external import upgrade
from tests.external.selinux.contexts import exceptions, parse_sweep
from tests.external.upgrade.client import Answer, Identity, Offer, read_graph
from tests.external.upgrade.deployments import Deployment, parse_status
from tests.external.upgrade.images import push_archive, push_releases
from tests.external.upgrade.rpmostree import RpmOstree
from tests.external.upgrade.system import System
from tests.external.upgrade.ways import CommitsByOstree, CommitsByRpmOstree, ImagesByRpmOstree, Source
from tests.external.upgrade.zincati import CONFIG, Settings, Window, read_metric
from tests.unit.test_httpd import ask
from tests.unit.zincati import Zincati

if TYPE_CHECKING:
    from kola.machine import Machine
    from tests.external.upgrade.ways import Way

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


# -- deployments, and the commands that make them

REFSPEC = "fedora:fedora/x86_64/coreos/stable"
OFFICIAL = "ostree-image-signed:docker://quay.io/fedora/fedora-coreos:stable"
DIGESTS = [f"sha256:{n}{'d' * 63}" for n in range(4)]
PUSHED = {f"c{n}": f"10.0.2.2:4000/kola/os@{DIGESTS[n]}" for n in range(4)}
COMMITS = [Commit(f"c{n}", "fedora/x86_64/coreos/stable", f"42.{n}") for n in range(4)]


def entry(checksum: str, version: str, **more: Any) -> dict[str, Any]:
    """What rpm-ostree says of a deployment; what is not asked about here is left out."""
    return {
        "id": f"fedora-coreos-{checksum}.0",
        "osname": "fedora-coreos",
        "serial": 0,
        "checksum": checksum,
        "version": version,
        "timestamp": 1790000000,
        "booted": False,
        "staged": False,
        "pinned": False,
        "unlocked": "none",
        "requested-packages": [],
        "requested-local-packages": [],
        "packages": [],
        "base-commit-meta": {"version": version},
        **more,
    }


def of_commit(number: int, **more: Any) -> dict[str, Any]:
    return entry(f"c{number}", f"42.{number}", origin=REFSPEC, **more)


def of_image(number: int, reference: str = OFFICIAL, **more: Any) -> dict[str, Any]:
    image = {"container-image-reference": reference, "container-image-reference-digest": DIGESTS[number]}
    return entry(f"merged{number}", f"42.{number}", **image, **more)


class Guest:
    """A machine that says which deployments it has, whatever it is told to do."""

    slowness = 1.0

    def __init__(self, *entries: dict[str, Any], ostree: str = "") -> None:
        self.commands: list[list[str]] = []
        self._said = {"rpm-ostree": json.dumps({"deployments": entries, "transaction": None}), "ostree": ostree}

    def run(self, command: list[str], **_: Any) -> CommandResult:
        self.commands.append(command)
        return CommandResult(" ".join(command), self._said[command[0]], "", 0, 0.0)


def rpm_ostree(*entries: dict[str, Any]) -> RpmOstree:
    return RpmOstree(cast("Machine", Guest(*entries)))


def system(way: Way) -> System:
    return System(cast("Machine", Guest()), Releases(None, "", tuple(COMMITS)), way)


@pytest.fixture
def source(server: HttpServer) -> Source:
    return Source.repository(server)


def test_status() -> None:
    layered = {"requested-packages": ["vim"], "requested-local-packages": ["own-1-1.x86_64"], "base-checksum": "c1"}
    own = "ostree-unverified-registry:10.0.2.2:4000/kola/os:stable"
    staged = of_image(2, own, staged=True) | {"finalization-locked": True}
    oldest = {"checksum": "c0", "booted": False, "origin": REFSPEC, "container-image-reference": None}
    document = {"deployments": [staged, entry("layered", "42.1", booted=True, origin=REFSPEC, **layered), oldest]}
    first, booted, last = parse_status(json.dumps(document))
    assert first == Deployment("merged2", False, True, True, "42.2", "", own, DIGESTS[2], ())
    assert first.name == DIGESTS[2], "an image's own commit is made on the machine"
    assert (booted.name, booted.booted, booted.packages) == ("c1", True, ("vim", "own-1-1.x86_64"))
    assert last == Deployment("c0", False, origin=REFSPEC)


def test_by_ostree(source: Source) -> None:
    new, old = "a" * 64, "b" * 64
    status = f"  os {new}.0 (staged)\n    Version: 2\n* os {old}.0\n    origin refspec: r\n  os {new}.1 (rollback)\n"
    guest = cast("Machine", Guest(ostree=status))
    way = CommitsByOstree(guest, source)
    assert way.deployments() == [Deployment(new, False, True), Deployment(old, True), Deployment(new, False)]
    assert way.stage_command(COMMITS[1]) == ["testos-upgrade", "c1"]
    assert way.rollback_command() == ["ostree", "admin", "set-default", "2"]
    with pytest.raises(AssertionError, match=r"no deployment to roll back to, only b{17} \(booted\)"):
        CommitsByOstree(cast("Machine", Guest(ostree=f"* os {old}.0\n")), source).rollback_command()


def test_by_commits(source: Source) -> None:
    way = CommitsByRpmOstree(rpm_ostree(of_commit(1, booted=True)), source, "fedora")
    deploy = ["rpm-ostree", "deploy", "--skip-branch-check", "revision=c2"]
    assert way.stage_command(COMMITS[2]) == deploy, "a rebase to what it follows already is refused"
    other = Commit("c3", "fedora/x86_64/coreos/testing")
    assert way.stage_command(other) == ["rpm-ostree", "rebase", "fedora:fedora/x86_64/coreos/testing", "c3"]
    staged = rpm_ostree(of_commit(2, staged=True) | {"origin": "fedora:other"}, of_commit(1, booted=True))
    rebase = ["rpm-ostree", "rebase", REFSPEC, "c2"]
    assert CommitsByRpmOstree(staged, source, "fedora").stage_command(COMMITS[2]) == rebase, "the first one counts"
    assert system(way).booted() == system(way).name(COMMITS[1]) == "c1"


def test_by_images(source: Source) -> None:
    way = ImagesByRpmOstree(rpm_ostree(of_image(2, staged=True), of_image(1, booted=True)), source, PUSHED)
    assert way.stage_command(COMMITS[2]) == ["rpm-ostree", "rebase", f"ostree-unverified-registry:{PUSHED['c2']}"]
    assert way.rollback_command() == ["rpm-ostree", "rollback"]
    assert way.kernel_arguments() == set()
    machine = system(way)
    assert machine.booted() == machine.name(COMMITS[1]) == DIGESTS[1]
    machine.expect_staged(COMMITS[2])
    with pytest.raises(AssertionError, match=r"42\.3 is not staged, but \['sha256:2d*'\]"):
        machine.expect_staged(COMMITS[3])
    with pytest.raises(AssertionError, match=r"not 42\.1 alone is there: 42\.2 \(staged\), 42\.1 \(booted\)"):
        machine.expect_only(COMMITS[1])


def test_an_update_is_locked_by_its_own_command(source: Source) -> None:
    staged = of_image(2, staged=True)
    for document, problem in ((staged, "42.2 (staged) is not locked"), (of_image(2), "nothing was staged")):
        client = rpm_ostree(document, of_image(1, booted=True))
        with pytest.raises(AssertionError, match=re.escape(problem)):
            client.stage_locked(ImagesByRpmOstree(client, source, PUSHED).stage_command(COMMITS[2]))
    guest = Guest(staged | {"finalization-locked": True}, of_image(1, booted=True))
    locked = RpmOstree(cast("Machine", guest)).stage_locked(["rpm-ostree", "deploy", DIGESTS[2]])
    assert (locked.name, guest.commands[0][1:]) == (DIGESTS[2], ["deploy", DIGESTS[2], "--lock-finalization"])


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
