"""What a job is about: by this it is known whether its results still hold."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kola.arch import host_arch
from kola.commands.matrix import _Subjects
from kola.errors import ConfigError
from kola.images import Cloud
from kola.jobs.board import Board
from kola.matrix import Cell, Job, Platform, Runner, Stream, Suite
from kola.options import settings_of
from kola.platform import load_platform, parse_options

DATA = b"\0" * 510 + b"\x55\xaa"


@pytest.fixture
def subjects(tmp_path: Path) -> _Subjects:
    settings = settings_of({"kola_cache": str(tmp_path / "cache")}, tmp_path)
    return _Subjects(settings, Board(io.StringIO(), tmp_path / "log"), "m.toml")


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    (tmp_path / "image.raw").write_bytes(DATA)
    stream = Stream("os", str(tmp_path / "image.raw"))
    return Cell(stream, Platform("qemu", "qemu"), host_arch().name, Suite("basic", ("tests",)))


def test_images_are_known_by_their_digests(subjects: _Subjects, cell: Cell, tmp_path: Path) -> None:
    other = tmp_path / "other.raw"
    other.write_bytes(b"\1" + DATA[1:])
    job = Job(replace(cell, from_image=str(other)))
    subject = subjects.of(job)
    assert subject.image == hashlib.sha256(DATA).hexdigest()
    assert subject.from_image == hashlib.sha256(other.read_bytes()).hexdigest()
    assert subject.arguments == job.arguments
    assert subjects.of(Job(cell)).from_image == ""


def test_two_builds_of_the_same_disk_are_two(cell: Cell, tmp_path: Path) -> None:
    """What differs may be what they can be updated to; and the gate asks for the build, not for the disk."""
    settings = settings_of({"kola_cache": str(tmp_path / "cache")}, tmp_path)
    digest = hashlib.sha256(DATA).hexdigest()
    seen = []
    for build in ("1", "2"):
        described = {"name": "os", "arch": host_arch().name, "build_id": build, "file": "image.raw", "sha256": digest}
        (tmp_path / "image.json").write_text(json.dumps({"schema": 1, **described}))
        found = _Subjects(settings, Board(io.StringIO(), tmp_path / "log"), "m.toml")
        seen.append(found.of(Job(cell)).image)
    assert seen == [f"{digest} 1", f"{digest} 2"]


def test_an_image_that_a_cloud_has_is_known_by_its_name(subjects: _Subjects, cell: Cell) -> None:
    on_cloud = replace(cell, platform=Platform("aws", "aws"), stream=Stream("os", "cloud:ami-1"))
    assert subjects.of(Job(on_cloud)).image == "cloud:ami-1"


def test_a_rehearsed_cloud_boots_an_image_of_this_host(subjects: _Subjects, cell: Cell) -> None:
    rehearsed = replace(cell, platform=Platform("aws", "aws"), runner=Runner.REHEARSE)
    assert subjects.of(Job(rehearsed)).image == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"platform": Platform("x", "nowhere")}, r"m\.toml: \[platforms\.x\]: unknown platform 'nowhere'; known: aws"),
        ({"platform": Platform("q", "qemu", ("colour=red",))}, r"m\.toml: \[platforms\.q\]: -P colour: unknown option"),
        (
            {"suite": Suite("s", ("tests", "no/such"))},
            r"m\.toml: \[suites\.s\]: paths: no/such: no such file",
        ),
        ({"suite": Suite("s", (), ("tests",))}, r"m\.toml: \[suites\.s\]: external: .*/tests has no folder tests/kola"),
    ],
)
def test_what_the_matrix_says_wrongly_is_named(
    subjects: _Subjects, cell: Cell, changed: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        subjects.of(Job(replace(cell, **changed)))


def test_only_clouds_have_images_of_their_own() -> None:
    aws, qemu = load_platform("aws"), load_platform("qemu")
    assert Cloud.of(aws, parse_options(aws, ["region=eu-west-1"])) == Cloud("aws", "eu-west-1")
    assert Cloud.of(qemu, parse_options(qemu, [])) is None
