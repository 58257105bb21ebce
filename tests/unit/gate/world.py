"""A stream with a matrix, builds, results and their history, as files; every signature is real."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from kola.cincinnati import Release, Rollout, graph_of
from kola.cli import main
from kola.results import ImageRecord, MachineRecord, Outcome, RunRecord, Share, Target, TestRecord
from kola.statement import load_signer, sign_results

BUILD, PARENT = "42.3", "42.2"
STREAM = "testing"
IMAGE, COMMIT, PARENT_COMMIT = "a" * 64, "c" * 64, "b" * 64
EARLIER = ("41.9", "42.0", "42.1", PARENT)
MATRIX = """
[streams]
testing.image = "stream:testing"
next.image = "stream:next"
[platforms]
qemu = {}
aws = {}
[suites]
basic.paths = ["basic"]
storage.paths = ["storage"]
[[cells]]
streams = ["testing", "next"]
platforms = ["qemu"]
arches = ["x86_64"]
suites = ["basic"]
cadence = "build"
[[cells]]
streams = ["testing"]
platforms = ["qemu"]
arches = ["x86_64"]
suites = ["storage"]
cadence = "nightly"
shards = 2
[[cells]]
streams = ["testing"]
platforms = ["aws"]
arches = ["x86_64"]
suites = ["basic"]
cadence = "nightly"
required = false
"""
POLICY = """
[results]
matrix = "matrix.toml"
cadence = "nightly"
max_age_hours = 48
keys = ["key.pub"]
[tests]
waivers = "waivers.toml"
flaky_budget = 1
flaky_builds = 4
flaky_times = 3
[history]
builds = 4
[streams.testing]
promoted_from = "next"
"""
BASIC = "testing.qemu.x86_64.basic"
STORAGE = "testing.qemu.x86_64.storage"
AWS = "testing.aws.x86_64.basic"
JOBS = (BASIC, f"{STORAGE}.1of2", f"{STORAGE}.2of2", AWS)
Change = Callable[[RunRecord], RunRecord]


def record_of(job: str, build: str, started: float) -> RunRecord:
    """Return the good record of a job."""
    stream, platform, arch, suite, *_ = job.split(".")
    share = int(job[-4]) if "of" in job else 0
    names = [f"{suite}.py::test_{'abcdef'[number]}{share or ''}" for number in range(3)]
    machine = f"kola-{job}-1"
    image = ImageRecord(
        f"stream:{stream}", build_id=build, version=build, stream=stream, sha256=IMAGE,
        platform_id="ami-1" if platform == "aws" else "",
    )  # fmt: skip
    tests = [
        TestRecord(name, Outcome.PASSED, suite, phases={"call": 20.0}, duration=21.0, machines=[machine])
        for name in names
    ]
    machines = MachineRecord(
        machine, deployment=COMMIT, created=started, booting=started + 1, up=started + 21, gone=started + 90
    )
    return RunRecord(
        run_id=f"{job}-{build}",
        kola_version="1",
        started=started,
        targets=[Target(platform, arch, "kvm", image, deployments=[COMMIT])],
        tests={test.nodeid: test for test in tests},
        machines={machine: machines},
        suites=[suite],
        shard=Share(share, 2) if share else None,
        finished=started + 100,
        complete=True,
        exit_code=0,
        name=job,
    )


def with_test(record: RunRecord, number: int = 0, **changes: Any) -> RunRecord:
    """Return a record with another test of that number."""
    nodeid = sorted(record.tests)[number]
    return replace(record, tests={**record.tests, nodeid: replace(record.tests[nodeid], **changes)})


def with_image(record: RunRecord, **changes: Any) -> RunRecord:
    """Return a record of another image."""
    target = record.targets[0]
    return replace(record, targets=[replace(target, image=replace(target.image, **changes))])


def with_deployment(record: RunRecord, checksum: str) -> RunRecord:
    """Return a record whose machines had booted something else."""
    machines = {name: replace(machine, deployment=checksum) for name, machine in record.machines.items()}
    return replace(
        record,
        machines=machines,
        targets=[replace(record.targets[0], deployments=[checksum] if checksum else [])],
    )


def meta(build: str, commit: str, **changes: Any) -> dict[str, Any]:
    return {
        "buildid": build, "ref": f"fedora/x86_64/coreos/{STREAM}", "ostree-commit": commit,
        "images": {"qemu": {"path": "q.xz", "sha256": "9" * 64, "uncompressed-sha256": IMAGE, "size": 700 * 2**20}},
        "amis": [{"name": "eu-west-1", "hvm": "ami-1"}],
        "fedora-coreos.parent-version": PARENT, "fedora-coreos.parent-commit": PARENT_COMMIT, **changes,
    }  # fmt: skip


@dataclass
class World:
    """All of it in one folder. ``answer`` is what ``kola gate`` said last."""

    folder: Path
    now: float

    @property
    def results(self) -> Path:
        return self.folder / "history" / STREAM / BUILD

    def job(self, name: str, build: str = BUILD) -> Path:
        stream = name.partition(".")[0] if "." in name else STREAM
        return self.folder / "history" / stream / build / name

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def read(self, path: str) -> str:
        return (self.folder / path).read_text()

    def store(self, record: RunRecord, build: str = BUILD, job: str = "", signed_by: str = "key.pem") -> None:
        folder = self.job(job or record.name, build)
        folder.mkdir(parents=True, exist_ok=True)
        record.write(folder / "results.json")
        if signed_by:
            sign_results(folder, load_signer(str(self.folder / signed_by)))

    def started(self, build: str) -> float:
        return self.now - 3600.0 * (1 + [BUILD, *reversed(EARLIER)].index(build))

    def change(self, job: str, change: Change, build: str = BUILD) -> None:
        """Store the good record of a job with a change, signed."""
        self.store(change(record_of(job, build, self.started(build))), build, job)

    def write_meta(self, build: str = BUILD, commit: str = COMMIT, **changes: Any) -> None:
        self.write(f"builds/{build}/x86_64/meta.json", json.dumps(meta(build, commit, **changes)))

    def write_releases(self, *versions: str) -> None:
        commits = {"41.9": "1" * 64, "42.0": "2" * 64, "42.1": "3" * 64, BUILD: COMMIT, PARENT: PARENT_COMMIT}
        self.write(
            "releases.json",
            json.dumps({"releases": [
                {
                    "version": version, "metadata": "",
                    "commits": [{"architecture": "x86_64", "checksum": commits.get(version, "d" * 64)}],
                }
                for version in versions
            ]}),
        )  # fmt: skip

    def write_graph(self, *releases: Release) -> None:
        self.write("graph.json", graph_of(releases, oci=False).to_json().decode())

    def ask(self, phase: str = "results", *more: str) -> list[str]:
        """Ask ``kola gate``; returns its arguments."""
        given = ["--builds", str(self.folder / "builds"), "--releases", str(self.folder / "releases.json")]
        graph = ["--graph", f"x86_64={self.folder / 'graph.json'}"] if phase == "rollout" else []
        return [
            "gate", "--stream", STREAM, "--build", BUILD, "--results", str(self.results),
            "--policy", str(self.folder / "gate.toml"), "--phase", phase, *given, *graph,
            "--history", str(self.folder / "history"), *more,
        ]  # fmt: skip

    def exit_code(self, phase: str = "results", *more: str) -> int:
        return main(self.ask(phase, *more))


def good_releases() -> list[Release]:
    """Return the releases of a stream whose build is in the graph as it should be."""
    return [
        Release("41.9", "1" * 64, deadend=""),
        Release("42.0", "2" * 64, barrier=""),
        Release("42.1", "3" * 64),
        Release(PARENT, PARENT_COMMIT),
        Release(BUILD, COMMIT, rollout=Rollout()),
    ]


def make_world(folder: Path) -> World:
    """Make a world in which nothing stands against the release."""
    world = World(folder, time.time())
    world.write("matrix.toml", MATRIX)
    world.write("gate.toml", POLICY)
    world.write("waivers.toml", "")
    for name in ("key", "stranger"):
        private = Ed25519PrivateKey.generate()
        (folder / f"{name}.pem").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (folder / f"{name}.pub").write_bytes(
            private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
    for build in (*EARLIER, BUILD):
        for job in JOBS:
            world.store(record_of(job, build, world.started(build)), build)
        world.store(record_of("next.qemu.x86_64.basic", build, world.started(build)), build)
        world.write_meta(build)
    world.write_releases(*EARLIER)
    world.write_graph(*good_releases())
    return world
