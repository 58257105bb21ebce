"""What a verdict says beside its reasons, boxes that are not ticked for nothing, and questions that have no answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from kola import cli
from kola.deployment import parse_deployment
from kola.gate.findings import NEXT, Code
from kola.httpd import HttpServer
from kola.results import Outcome
from tests.unit.gate.closing import forget, two_flaky, waive
from tests.unit.gate.test_part import policy
from tests.unit.gate.world import (
    AWS,
    BASIC,
    BUILD,
    EARLIER,
    JOBS,
    World,
    meta,
    with_deployment,
    with_image,
    with_test,
)


def boxes(world: World, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, bool]:
    """Return the boxes of the checklist, and whether each is ticked."""
    capsys.readouterr()
    world.exit_code("results", "--checklist", "-", *more)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("- [")]
    return {line[6:]: line[3] == "x" for line in lines}


def test_nothing_is_of_this_build_where_nobody_says_what_that_is(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    (box,) = [text for text in boxes(world, capsys) if text.startswith("All results are of this build")]
    assert boxes(world, capsys)[box]
    world.change(BASIC, lambda r: with_image(r, sha256="f" * 64))
    policy(world, "[streams.testing]\n", "[streams.testing]\nhistory_required = false\n")
    assert not boxes(world, capsys, "--builds", "")[box]
    world.exit_code("results", "--builds", "")
    assert "no meta.json was given: the images and deployments" in capsys.readouterr().out


def test_nothing_is_slower_where_nothing_was_compared(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    (box,) = [text for text in boxes(world, capsys) if text.startswith("Boots, tests and images are not slower")]
    assert boxes(world, capsys)[box]
    forget(world, *EARLIER[:2])
    assert not boxes(world, capsys)[box]


def test_what_only_warned_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.change(BASIC, lambda r: with_test(r, outcome=Outcome.WARNED, reason="SELinux is permissive"))
    assert world.exit_code() == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"  warned: {BASIC}::basic.py::test_a: SELinux is permissive" in lines[lines.index("informs:") :]
    assert lines[1].split()[:3] == [BASIC, "required", "passed"]


def test_a_required_cell_that_is_run_less_often_is_told_of(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    matrix = world.read("matrix.toml").replace("required = false", 'firmware = ["bios"]')
    assert matrix.count('cadence = "nightly"') == 2
    world.write("matrix.toml", 'cadence = "weekly"'.join(matrix.rsplit('cadence = "nightly"', 1)))
    assert world.exit_code() == 0
    said = f"required, but run less often than nightly, and not looked at: {AWS}"
    assert said in capsys.readouterr().out


def test_a_waiver_of_one_stream_is_none_of_the_others(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.change(BASIC, two_flaky)
    for pattern, code in (("flaky", 1), ("next.flaky", 1), ("testing.flaky", 0)):
        waive(world, ("flaky-budget", pattern))
        assert world.exit_code() == code, capsys.readouterr().out


def test_what_to_do_is_said_once_for_each_kind(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.change(BASIC, lambda r: replace(with_test(with_test(r, outcome=Outcome.FAILED), 1, outcome=Outcome.FAILED)))
    assert world.exit_code() == 1
    assert capsys.readouterr().out.count(NEXT[Code.FAILED]) == 1


def test_an_image_that_no_required_cell_boots_holds_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    images = meta(BUILD, "")["images"]
    for build in (*EARLIER, BUILD):
        size = 2**20 * (1000 if build == BUILD else 100)
        world.write_meta(build, images=images | {"metal": {"path": "m", "sha256": "7" * 64, "size": size}})
    world.write_meta(
        images=json.loads(world.read(f"builds/{BUILD}/x86_64/meta.json"))["images"] | {"new": images["qemu"]}
    )
    assert world.exit_code() == 0
    lines = capsys.readouterr().out.splitlines()
    informs = "\n".join(lines[lines.index("informs:") :])
    assert "image-size: testing.x86_64 metal: 1000.0 MiB" in informs
    assert "too-few: testing.x86_64 new: the size of the image is known of 0" in informs


def test_an_answer_of_yesterday_does_not_stay(world: World) -> None:
    answer = ("--verdict", str(world.folder / "v.json"), "--checklist", str(world.folder / "list.md"))
    assert world.exit_code("results", *answer) == 0
    world.write("waivers.toml", "waivers = 1")
    assert world.exit_code("results", *answer) == 4
    assert not (world.folder / "v.json").exists()
    assert not (world.folder / "list.md").exists()


def test_a_build_that_a_server_does_not_have(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    with HttpServer() as server:
        server.mount("/builds", world.folder / "builds")
        where = ("--builds", server.local_url("/builds"))
        assert world.exit_code("results", *where) == 0, capsys.readouterr().out
        (world.folder / "builds" / EARLIER[0] / "x86_64/meta.json").unlink()
        assert world.exit_code("results", *where) == 0, capsys.readouterr().out
        (world.folder / "builds" / BUILD / "x86_64/meta.json").unlink()
        assert world.exit_code("results", *where) == 1
        assert "metadata: x86_64: there is no meta.json of the build" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["gate.toml", "waivers.toml"])
def test_nested_too_deeply(world: World, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    world.write(name, f"a = {'[' * 100_000}")
    assert world.exit_code() == 4
    assert capsys.readouterr().err == f"ERROR: {world.folder / name}: nested too deeply\n"


def test_a_statement_that_is_nested_too_deeply(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    (world.job(BASIC) / "results.intoto.jsonl").write_text("[" * 200_000)
    assert world.exit_code() == 1
    assert f"signature: {BASIC}: results.intoto.jsonl: no DSSE envelope" in capsys.readouterr().out


def test_numbers_that_are_none(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    path = world.folder / "builds" / BUILD / "x86_64/meta.json"
    path.write_text(path.read_text().replace(str(700 * 2**20), f"1{'0' * 400}"))
    assert world.exit_code() == 4
    assert "images.qemu: size: expected a number of bytes" in capsys.readouterr().err
    world.write_meta()
    graph = world.read("graph.json").replace('age_index": "0"', f'age_index": "{"1" * 5000}"')
    world.write("graph.json", graph)
    assert world.exit_code("rollout") == 4
    assert "age_index: expected a number, found" in capsys.readouterr().err


def test_a_mistake_of_ours_is_no_verdict(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python's own exit code of an exception is that of *hold*."""
    monkeypatch.setattr("kola.commands.gate.decide", lambda _: 1 / 0)
    assert cli.main(world.ask()) == 3
    assert "a mistake in kola itself" in capsys.readouterr().err


IMAGES = meta(BUILD, "")["images"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"images": IMAGES | {"oci-manifest": {"path": "m", "sha256": "5" * 64, "size": 1}}}, ""),
        ({"base-oscontainer": {"image": "x", "digest": f"sha256:{'5' * 64}"}}, ""),
        ({}, f"had booted sha256:{'5' * 64}, a container image, and meta.json names none"),
        (
            {"images": IMAGES | {"oci-manifest": {"path": "m", "sha256": "6" * 64, "size": 1}}},
            f"had booted sha256:{'5' * 64}, but the build is sha256:{'6' * 64}",
        ),
    ],
    ids=["as it was built", "as it was pushed", "nobody says", "another one"],
)
def test_a_disk_that_was_made_of_a_container_image(
    world: World, capsys: pytest.CaptureFixture[str], said: dict[str, Any], reason: str
) -> None:
    """Its machines boot a commit that is in no meta.json; the digest of the image's manifest is."""
    for build in (*EARLIER, BUILD):
        world.write_meta(build, **said)
    for job in JOBS:
        world.change(job, lambda r: with_deployment(r, f"sha256:{'5' * 64}"))
    world.write("gate.toml", world.read("gate.toml") + "history_required = false\n")
    code, output = world.exit_code(), capsys.readouterr().out
    assert code == (1 if reason else 0), output
    assert reason in output


@pytest.mark.parametrize(
    ("shown", "deployment"),
    [
        (f"/sysroot/ostree/deploy/os/deploy/{'a' * 64}.0\n", "a" * 64),
        (f"/sysroot/ostree/deploy/os/deploy/{'a' * 64}.1\n'sha256:{'b' * 64}'\n", f"sha256:{'b' * 64}"),
        (f"/sysroot/ostree/deploy/os/deploy/{'a' * 64}.0\nerror: No such metadata key\n", "a" * 64),
        ("", ""),
    ],
)
def test_what_a_machine_says_of_its_deployment(shown: str, deployment: str) -> None:
    assert parse_deployment(shown) == deployment
