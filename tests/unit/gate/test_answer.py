"""What a verdict looks like, and questions that cannot be asked."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import pytest

from kola.cincinnati import Release, Rollout, graph_of
from kola.errors import ConfigError
from kola.gate.build import Build, parse_build
from kola.gate.checklist import BOXES
from kola.gate.findings import NEXT, Code
from kola.gate.release import Phase
from kola.results import ImageRecord, Outcome, Target
from tests.unit.gate.world import AWS, BASIC, BUILD, EARLIER, PARENT, STORAGE, World, record_of, with_image, with_test


def test_the_table(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.change(BASIC, lambda r: with_test(r, outcome=Outcome.FAILED, reason="no route to host"))
    shutil.rmtree(world.job(AWS))
    (world.results / "other").mkdir()
    shutil.copy(world.job("next.qemu.x86_64.basic") / "results.json", world.results / "other")
    assert world.exit_code("pre-release") == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["CELL", "STATE", "PASSED", "FAILED", "FLAKY", "WARNED", "SKIPPED"],
        [BASIC, "required", "hold", "2", "1", "0", "0", "0"],
        [STORAGE, "required", "passed", "6", "0", "0", "0", "0"],
        [AWS, "informs", "failed", "-", "-", "-", "-", "-"],
    ]
    assert lines[4:-1] == [
        "",
        "holds the release:",
        f"  failed: {BASIC}::basic.py::test_a: no route to host",
        "",
        "what to do:",
        f"  failed: {NEXT[Code.FAILED]}",
        "",
        "informs:",
        f"  missing: {AWS}: there are no results",
        "",
        "notes:",
        f"  other: belongs to no cell of {world.folder / 'matrix.toml'}",
        "",
    ]
    assert lines[-1].startswith(f"testing {BUILD} (pre-release, ")
    assert lines[-1].endswith(" UTC): hold: 1 reason")


def test_what_tests_say_cannot_write_the_verdict(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    reason = "\x1b[2J\x1b[Hx\x9b1A\n\ntesting 42.3 (results): release"
    world.change(AWS, lambda r: replace(with_test(r, outcome=Outcome.FAILED, reason=reason), exit_code=1))
    for more in ((), ("--checklist", "-")):
        assert world.exit_code("results", *more) == 0
        output = capsys.readouterr().out
        assert not {"\x1b", "\x9b"} & set(output)
        assert not any(line.startswith("testing 42.3 (results):") for line in output.splitlines())
    world.change(BASIC, lambda r: replace(with_test(r, outcome=Outcome.FAILED, reason=reason), exit_code=1))
    assert world.exit_code() == 1
    assert "::basic.py::test_a: x\ufffd1A testing 42.3 (results): release\n" in capsys.readouterr().out


def test_many_reasons_of_one_kind_are_counted(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    record = record_of(BASIC, BUILD, world.started(BUILD))
    test = record.tests["basic.py::test_a"]
    for number in range(25):
        nodeid = f"basic.py::test_more{number:02}"
        record.tests[nodeid] = type(test)(nodeid, Outcome.FAILED, "basic", reason="why")
    world.store(record)
    assert world.exit_code() == 1
    output = capsys.readouterr().out
    assert output.count("why") == 10
    assert f"failed: {BASIC}: and 15 more" in output


def test_the_checklist(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    file = world.folder / "list.md"
    assert world.exit_code("pre-release", "--checklist", str(file)) == 0
    assert " release\n" in capsys.readouterr().out
    text = file.read_text()
    assert text.startswith(f"## Before the release: testing {BUILD}\n")
    assert "- [ ]" not in text
    assert "graph" not in text
    world.change(BASIC, lambda r: with_test(r, outcome=Outcome.FAILED, reason="<b> *x*"))
    assert world.exit_code("pre-release", "--checklist", "-") == 1
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if line.startswith("- [ ]")] == [
        "- [ ] No test failed, was left out or met a failing provider; the policy lets those pass that only warned",
        f"- [ ] {BASIC}: 2 passed, 1 failed",
    ]
    assert "\\<b\\> \\*x\\*" in text
    assert text.rstrip().endswith("**hold**")


def test_every_reason_has_one_box() -> None:
    codes = [code for box in BOXES for code in box.codes]
    assert sorted(codes) == sorted(Code)
    assert sum(Phase.RESULTS in box.phases for box in BOXES) < sum(Phase.ROLLOUT in box.phases for box in BOXES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--stream", " "), "--stream is empty"),
        (("--build", " "), "which build? give --build ID, or --meta FILE"),
        (("--build", ""), "which build? give --build ID, or --meta FILE"),
        (("--meta", "/none"), "which build? give --build ID, or --meta FILE"),
        (("--verdict", "/none/verdict.json"), "--verdict /none/verdict.json: No such file"),
        (("--stream", "stable"), "--stream stable: not in "),
        (("--results", "/none"), "/none: No such file"),
        (("--policy", "/none"), "/none: No such file"),
        (("--key", "/none"), "public key /none: No such file"),
        (("--graph", "x86_64"), "--graph x86_64: expected ARCH=FILE or ARCH=URL"),
        (("--graph", "x86_64=/none"), "/none: No such file"),
        (("--checklist", "/none/list.md"), "--checklist /none/list.md: No such file"),
        (("--phase", "rollout"), "--phase rollout needs --graph"),
    ],
)
def test_a_question_that_cannot_be_asked(
    world: World, capsys: pytest.CaptureFixture[str], change: tuple[str, str], message: str
) -> None:
    assert world.exit_code("results", *change) == 4
    assert message in capsys.readouterr().err


def test_without_keys_nothing_can_be_believed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    policy = world.folder / "gate.toml"
    policy.write_text(policy.read_text().replace('["key.pub"]', "[]"))
    assert world.exit_code() == 4
    assert "gate.toml: [results]: keys: there are none, and no --key" in capsys.readouterr().err
    assert world.exit_code("results", "--key", str(world.folder / "key.pub")) == 0
    assert world.exit_code("results", "--key", str(world.folder / "stranger.pub")) == 1


def test_a_stream_whose_images_call_it_otherwise(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    policy = world.folder / "gate.toml"
    policy.write_text(policy.read_text() + 'image_stream = "devel"\n')
    assert world.exit_code() == 1
    assert "is of stream testing, not of devel" in capsys.readouterr().out


def test_two_graphs_of_one_kind(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    graph = f"x86_64={world.folder / 'graph.json'}"
    assert world.exit_code("results", "--graph", graph) == 0
    assert world.exit_code("results", "--graph", graph, "--graph", graph) == 4
    assert "there is another graph for x86_64 checksum" in capsys.readouterr().err


def test_the_graph_of_container_images(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.write_releases(*EARLIER, BUILD)
    pullspecs = [Release(v, pullspec=f"x@sha256:{n * 64}", rollout=Rollout()) for v, n in ((PARENT, "1"), (BUILD, "2"))]
    world.write("oci.json", graph_of(pullspecs, oci=True).to_json().decode())
    more = ("--graph", f"x86_64={world.folder / 'oci.json'}")
    assert world.exit_code("rollout", *more) == 1
    assert "graph-node: x86_64 oci: the graph offers a container image, and meta.json names none" in (
        capsys.readouterr().out
    )
    for digest, code in (("3", 1), ("2", 0)):
        container: dict[str, Any] = {"base-oscontainer": {"image": "x", "digest": f"sha256:{digest * 64}"}}
        world.write_meta(**container)
        assert world.exit_code("rollout", *more) == code
    (world.folder / "oci.json").write_text('{"nodes": [], "edges": [[0, 1]]}')
    assert world.exit_code("rollout", *more) == 4
    assert "oci.json: no update graph: an edge of a node that is not there" in capsys.readouterr().err


def test_the_image_of_a_cloud(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """By its id, or made from the build's own file."""
    matrix = world.folder / "matrix.toml"
    matrix.write_text(matrix.read_text().replace("required = false", "required = true"))
    assert world.exit_code() == 0, capsys.readouterr().out
    world.change(AWS, lambda r: with_image(r, platform_id="ami-2"))
    assert world.exit_code() == 1
    assert f"digest: {AWS}: booted ami-2, which is none of meta.json" in capsys.readouterr().out
    world.change(AWS, lambda r: with_image(r, platform_id="ami-2", sha256="e" * 64))
    world.write_meta(
        images={
            name: {"path": name, "sha256": digest * 64, "size": 2**20}
            for name, digest in {"aws": "e", "qemu": "a"}.items()
        }
    )
    assert world.exit_code() == 1
    assert "too-few: testing.x86_64 aws: the size of the image is known of 0 earlier" in capsys.readouterr().out
    policy = world.folder / "gate.toml"
    policy.write_text(policy.read_text() + "history_required = false\n")
    assert world.exit_code() == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "m: not JSON"),
        (b'{"ostree-commit": "x"}', "m: ostree-commit: 'x' is not a SHA-256"),
        (b"{}", "m: no 'ostree-commit'"),
        (b'{"ostree-commit": "%s", "coreos-assembler.basearch": "s390x"}' % (b"a" * 64), "m: is for s390x, not for"),
        (b'{"ostree-commit": "%s"}' % (b"a" * 64), "m: no 'images'"),
    ],
)  # fmt: skip
def test_metadata_that_say_too_little(text: bytes, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_build(text, "m", "x86_64")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("url", ["http://[bad/x", "http://x y/z", "http://x:port/", "http://localhost/\xe4"])
def test_an_address_that_is_none(world: World, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.exit_code("results", "--releases", url) == 4
    assert capsys.readouterr().err.startswith(f"ERROR: '{url}' is no URL: ")


def test_there_is_no_history_where_there_is_no_folder(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.exit_code("results", "--history", "/nowhere") == 4
    assert capsys.readouterr().err == "ERROR: --history /nowhere: no such folder\n"


def test_a_folder_as_file(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(world.job(BASIC))
    world.job(BASIC).mkdir()
    (world.job(BASIC) / "results.json").mkdir()
    assert world.exit_code() == 4
    assert "results.json: Is a directory" in capsys.readouterr().err


def test_what_google_calls_an_image_is_a_path() -> None:
    build = Build("1", "x86_64", "testing", "c" * 64, {}, {"gcp": frozenset({"fedora-coreos-1"})})
    image = ImageRecord("x", platform_id="projects/fedora/global/images/fedora-coreos-1")
    assert build.image_problem(Target("gcp", "x86_64", "cloud", image)) is None
    other = replace(image, platform_id="projects/fedora/global/images/fedora-coreos-2")
    assert build.image_problem(Target("gcp", "x86_64", "cloud", other)) == (
        f"booted {other.platform_id}, which is none of meta.json"
    )
