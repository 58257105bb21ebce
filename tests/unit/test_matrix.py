"""What ci/matrix.toml may say, and what becomes of it."""

from __future__ import annotations

import argparse
import json
import shlex
import time
from pathlib import Path

import pytest

from kola import matrix
from kola.cli import main
from kola.commands.matrix import _oldest as oldest
from kola.errors import ConfigError
from kola.gate.reading import read_policy
from kola.matrix import Cadence, Choice
from kola.options import OPTIONS

ROOT = Path(__file__).parents[2]
OWN = ROOT / "ci/matrix.toml"

SMALL = """
[streams]
testing.image = "stream:testing"
stable.image = "stream:stable"

[platforms]
qemu = { options = { accelerator = "kvm", tpm = true } }
cloud = { driver = "aws" }

[suites]
basic.paths = ["tests/basic"]
project = { external = ["../project"], arguments = ["-k", "not slow"] }

[[cells]]
streams = ["testing"]
platforms = ["qemu"]
arches = ["x86_64", "aarch64"]
suites = ["basic", "project"]
firmware = ["default", "uefi"]
cadence = "build"
shards = 2

[[cells]]
streams = ["stable"]
platforms = ["cloud"]
arches = ["x86_64"]
suites = ["basic"]
cadence = "weekly"
required = false
timeout_min = 90
runner = "rehearse"
workers = 3
"""


def small(old: str = "", new: str = "") -> matrix.Matrix:
    assert old in SMALL
    return matrix.parse(SMALL.replace(old, new, 1) if old else SMALL, "m.toml")


def test_cells_are_all_combinations_in_the_order_of_the_file() -> None:
    assert [cell.name for cell in small().cells] == [
        "testing.qemu.x86_64.basic",
        "testing.qemu.x86_64.basic.uefi",
        "testing.qemu.x86_64.project",
        "testing.qemu.x86_64.project.uefi",
        "testing.qemu.aarch64.basic",
        "testing.qemu.aarch64.basic.uefi",
        "testing.qemu.aarch64.project",
        "testing.qemu.aarch64.project.uefi",
        "stable.cloud.x86_64.basic",
    ]


def test_a_cell_knows_what_a_gate_asks_for() -> None:
    cell = small().cells[-1]
    assert (cell.platform.driver, cell.cadence, cell.required, cell.timeout_min) == ("aws", Cadence.WEEKLY, False, 90)
    assert [job.name for job in cell.jobs] == ["stable.cloud.x86_64.basic"]
    assert [job.name for job in small().cells[0].jobs] == [
        "testing.qemu.x86_64.basic.1of2",
        "testing.qemu.x86_64.basic.2of2",
    ]


def test_a_job_of_pytest() -> None:
    job = small().cells[3].jobs[1]
    assert shlex.join(job.command("out")) == (
        "pytest --platform=qemu --arch=x86_64 --image=stream:testing -P accelerator=kvm -P tpm=yes -P firmware=uefi "
        "-E ../project --suite=project --sharding=hash:2/2 -k 'not slow' "
        "--kola-output=out --run-name=testing.qemu.x86_64.project.uefi.2of2 "
        "--junitxml=out/testing.qemu.x86_64.project.uefi.2of2/junit.xml "
        "-o junit_suite_name=testing.qemu.x86_64.project.uefi.2of2 -n auto"
    )


def test_a_job_of_a_rehearsed_cloud() -> None:
    job = small().cells[-1].jobs[0]
    assert shlex.join(job.command("out")) == (
        "kola rehearse --image=stream:stable --arch=x86_64 aws -- --arch=x86_64 --suite=basic tests/basic "
        "--kola-output=out --run-name=stable.cloud.x86_64.basic "
        "--junitxml=out/stable.cloud.x86_64.basic/junit.xml -o junit_suite_name=stable.cloud.x86_64.basic -n 3"
    )


def test_tests_of_updates_begin_with_another_image() -> None:
    made = small('cadence = "build"', 'cadence = "build"\nfrom_image = "stream:stable"')
    assert "--from-image=stream:stable" in made.cells[0].jobs[0].arguments


def test_what_is_tested_is_said_the_same_for_every_output_and_number_of_workers() -> None:
    job = small().cells[0].jobs[0]
    assert not [word for word in job.arguments if "out" in word or word == "-n"]
    assert set(job.arguments) <= set(job.command("out", workers="7"))


@pytest.mark.parametrize(
    ("cadence", "names"),
    [("build", ["testing"]), ("nightly", ["testing"]), ("weekly", ["testing", "stable"])],
)
def test_a_rarer_run_includes_the_more_frequent_cells(cadence: str, names: list[str]) -> None:
    chosen = small().select(Choice(cadence=Cadence(cadence)))
    assert list(dict.fromkeys(cell.stream.name for cell in chosen)) == names


@pytest.mark.parametrize(
    ("choice", "count"),
    [
        (Choice(), 17),
        (Choice(streams=["stable"]), 1),
        (Choice(platforms=["qemu"], arches=["aarch64"]), 8),
        (Choice(suites=["project"]), 8),
        (Choice(required=True), 16),
        (Choice(jobs=["testing.qemu.x86_64.basic"]), 2),
        (Choice(jobs=["testing.qemu.x86_64.basic.2of2", "stable.cloud.x86_64.basic"]), 2),
    ],
)
def test_jobs_can_be_chosen(choice: Choice, count: int) -> None:
    assert len(small().jobs(choice)) == count


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(streams=["next"]), "--stream next: not in m.toml; there: stable, testing"),
        (Choice(platforms=["aws"]), "--platform aws: not in m.toml; there: cloud, qemu"),
        (Choice(suites=["x"]), "--suite x: not in m.toml; there: basic, project"),
        (Choice(arches=["s390x"]), "--arch s390x: not in m.toml; there: aarch64, x86_64"),
        (Choice(streams=["stable"], required=True), "m.toml: no cell is all of what was asked for"),
        (Choice(streams=["stable"], jobs=["x"]), "--job x: no such job or cell in m.toml; there: stable.cloud.x86_64"),
    ],
)
def test_a_wrong_choice_names_what_there_is(choice: Choice, message: str) -> None:
    with pytest.raises(ConfigError) as e:
        small().jobs(choice)
    assert str(e.value).startswith(message)


WRONG = [
    ("[streams]", "[stream]", "m.toml: unknown key 'stream'; allowed: streams, platforms, suites, cells"),
    ("[streams]", "[streams", "m.toml: Expected ']' at the end of a table declaration (at line 2, column 9)"),
    ("stable.image", "stable.img", "m.toml: [streams.stable]: unknown key 'img'; allowed: image"),
    ('stable.image = "stream:stable"', "stable = {}", "m.toml: [streams.stable]: image: expected a string"),
    ('image = "stream:stable"', 'image = "a\\nb"', "m.toml: [streams.stable]: image: expected a string of one line"),
    ('stable.image = "stream:stable"', "stable = 3", "m.toml: [streams.stable]: expected a table, found 3"),
    ("stable.image", '"a.b".image', "m.toml: [streams]: name 'a.b': allowed: letters, digits, '_' and '-', at most 48"),
    ('driver = "aws"', "driver = 1", "m.toml: [platforms.cloud]: driver: expected a string of one line, found 1"),
    ("tpm = true", "tpm = []", "m.toml: [platforms.qemu]: options: tpm: expected a string of one line, a number"),
    ('basic.paths = ["tests/basic"]', "basic = {}", "m.toml: [suites.basic]: paths or external: one of them has to"),
    ('["tests/basic"]', '"tests"', "m.toml: [suites.basic]: paths: expected a list of strings of one line"),
    ('["tests/basic"]', '["-x"]', "m.toml: [suites.basic]: paths: expected paths; options stand in 'arguments'"),
    ('"-k", "not slow"', '"--image=x"', "m.toml: [suites.project]: arguments: --image is what the matrix says itself"),
    ('"-k", "not slow"', '"-n4"', "m.toml: [suites.project]: arguments: -n is what the matrix says itself"),
    ('["testing"]', '["next"]', "m.toml: [[cells]] 1: streams: unknown 'next'; allowed: testing, stable"),
    ('["testing"]', "[]", "m.toml: [[cells]] 1: streams: expected a list of some of testing, stable, found []"),
    ('["testing"]', '"testing"', "m.toml: [[cells]] 1: streams: expected a list of some of testing, stable"),
    ('["testing"]', '["testing", "testing"]', "m.toml: [[cells]] 1: streams: 'testing' is there twice"),
    (
        '"aarch64"]',
        '"arm64"]',
        "m.toml: [[cells]] 1: arches: unknown 'arm64'; allowed: x86_64, aarch64, ppc64le, s390x",
    ),
    ('"uefi"]', '"efi"]', "m.toml: [[cells]] 1: firmware: unknown 'efi'; allowed: default, bios, uefi, uefi-secure"),
    ('"build"', '"daily"', "m.toml: [[cells]] 1: cadence: expected one of build, nightly, weekly, found 'daily'"),
    ('cadence = "build"', "", "m.toml: [[cells]] 1: cadence: expected one of build, nightly, weekly, found nothing"),
    ("shards = 2", "shards = 0", "m.toml: [[cells]] 1: shards: expected a whole number from 1 to 256, found 0"),
    ("shards = 2", "shards = true", "m.toml: [[cells]] 1: shards: expected a whole number from 1 to 256, found True"),
    ("timeout_min = 90", "timeout_min = 1.5", "m.toml: [[cells]] 2: timeout_min: expected a whole number from 1 to"),
    ("required = false", 'required = "no"', "m.toml: [[cells]] 2: required: expected true or false, found 'no'"),
    ('"rehearse"', '"docker"', "m.toml: [[cells]] 2: runner: expected one of pytest, rehearse, found 'docker'"),
    ('"aws"', '"a.b:C"', "m.toml: [[cells]] 2: runner: expected pytest: a.b:C is no cloud that can be rehearsed"),
    (
        "workers = 3",
        'workers = "all"',
        "m.toml: [[cells]] 2: workers: expected 'auto' or a whole number from 1 to 1024",
    ),
    ("workers = 3", 'from_image = "x"', "m.toml: [[cells]] 2: from_image: expected nothing: a rehearsed cloud has one"),
    ("workers = 3", "colour = 3", "m.toml: [[cells]] 2: unknown key 'colour'; allowed: streams, platforms, arches"),
    ('["stable"]', '["testing"]', "m.toml: [streams.stable]: in no [[cells]]"),
    ("[[cells]]", "[cells]", "m.toml: "),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG, ids=[f"{old}->{new}" for old, new, _ in WRONG])
def test_what_is_wrong_is_said_in_one_line(old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError) as e:
        small(old, new)
    assert str(e.value).startswith(message)
    assert "\n" not in str(e.value)


def test_a_cell_is_there_once() -> None:
    again = SMALL.rpartition("[[cells]]")[2].replace("weekly", "build")
    with pytest.raises(ConfigError, match=r"\[\[cells\]\] 3: the cell stable.cloud.x86_64.basic is in \[\[cells\]\] 2"):
        matrix.parse(f"{SMALL}\n[[cells]]{again}", "m.toml")


@pytest.mark.parametrize("text", ["", "[streams]", "cells = []", "cells = 3"])
def test_a_matrix_has_cells(text: str) -> None:
    with pytest.raises(ConfigError, match="cells: expected tables, each headed"):
        matrix.parse(text, "m.toml")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"m\.toml: No such file"):
        matrix.read(tmp_path / "m.toml")


def test_options_that_the_matrix_gives_itself_are_kolas() -> None:
    """A new name of one of them would not be refused in arguments."""
    known = {option.flag for option in OPTIONS} | {option.alias for option in OPTIONS} | {
        "-n", "--numprocesses", "--junitxml", "--junit-xml",
    }  # fmt: skip
    assert set(matrix.parsing.TAKEN) <= known


def test_the_projects_own_matrix_names_only_what_is_there() -> None:
    own = matrix.read(OWN)
    assert {path for cell in own.cells for path in cell.suite.paths if not (ROOT / path).exists()} == set()
    rehearsed = {cell.stream.name for cell in own.cells if cell.runner is matrix.Runner.REHEARSE}
    assert rehearsed == {"testos"}, "a rehearsal says nothing of a release"


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "m.toml"
    path.write_text(SMALL)
    return f"--matrix={path}"


def test_github_gets_one_line_of_objects(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", file, "--stream=stable", "--format=github", "--output=out"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    (job,) = json.loads(out)["include"]
    command = shlex.join(small().cells[-1].jobs[0].command("out"))
    assert (job["name"], job["required"], job["timeout_min"]) == ("stable.cloud.x86_64.basic", False, 90)
    assert job["command"] == command
    assert job["results"] == "out/stable.cloud.x86_64.basic/results.json"
    assert all(isinstance(value, str | int | bool) for value in job.values()), "GitHub shows nothing else"


def test_github_takes_no_more_than_256_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.toml"
    path.write_text(SMALL.replace("shards = 2", "shards = 32"))
    assert main(["matrix", f"--matrix={path}", "--format=github"]) == 4
    assert capsys.readouterr().err == "ERROR: 257 jobs: GitHub makes at most 256 of a matrix; choose fewer\n"


def test_others_get_a_document(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", file, "--format=json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert len(document["jobs"]) == 17


def test_people_get_a_table(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", file, "--stream=stable"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "CADENCE", "MINUTES", "RUNNER", "RELEASE"]
    assert line.split() == ["stable.cloud.x86_64.basic", "weekly", "90", "rehearse", "informing"]


def test_a_build_takes_the_place_of_a_streams_image(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", file, "--stream=testing", "--image=build:b@-1", "--format=json"]) == 0
    jobs = json.loads(capsys.readouterr().out)["jobs"]
    assert {job["image"] for job in jobs} == {"build:b@-1"}
    assert all("--image=build:b@-1 " in job["command"] for job in jobs)


@pytest.mark.parametrize("streams", [[], ["--stream=testing", "--stream=stable"]])
def test_an_image_is_of_one_stream(file: str, streams: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", file, *streams, "--image=x"]) == 4
    assert capsys.readouterr().err == "ERROR: --image x: of which stream? give one --stream\n"
    assert main(["matrix", file, "--stream=stable", "--image="]) == 4
    assert capsys.readouterr().err == "ERROR: --image '': expected IMAGE\n"


def test_a_cadence_that_is_none(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["matrix", file, "--cadence=daily"])
    assert "'daily' (choose from 'build', 'nightly', 'weekly')" in capsys.readouterr().err


def test_what_is_chosen_may_stand_before_run(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", file, "--stream=nowhere", "run", "--output", str(tmp_path / "out")]) == 4
    assert "ERROR: --stream nowhere: not in " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_one_line(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out/matrix.json").mkdir(parents=True)
    assert main(["matrix", file, "run", "--stream=stable", "--output", str(tmp_path / "out")]) == 4
    assert capsys.readouterr().err == f"ERROR: --output {tmp_path / 'out'}: Is a directory\n"


def names_of(*arguments: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["matrix", *arguments, "--format=json"]) == 0
    return [job["name"] for job in json.loads(capsys.readouterr().out)["jobs"]]


def test_what_is_too_old_for_the_policy_is_run_again() -> None:
    args = argparse.Namespace(policy=str(ROOT / "ci/gate-small.toml"))
    policy, _ = read_policy(Path(args.policy))
    assert time.time() - oldest(args) == pytest.approx(policy.max_age_hours * 3600, abs=60)
    assert oldest(argparse.Namespace()) == 0


def test_a_policy_chooses_what_the_gate_looks_at(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["testos.qemu.x86_64.basic", "testos.aws.x86_64.basic", "testos.gcp.x86_64.basic"]
    policy = f"--policy={ROOT / 'ci/gate-small.toml'}"
    assert names_of(policy, "--stream=testos", capsys=capsys) == small
    assert names_of(policy, "--stream=testos", "--platform=aws", capsys=capsys) == small[1:2], "and of it as before"
    assert len(names_of(f"--policy={ROOT / 'ci/gate.toml'}", "--stream=testos", capsys=capsys)) > len(small)
    assert main(["matrix", policy, "--suite=docker"]) == 4
    assert capsys.readouterr().err.endswith("ci/gate-small.toml does not look at it, only at: basic\n")
    assert main(["matrix", policy, "--matrix=x.toml"]) == 4
    assert capsys.readouterr().err == "ERROR: --policy names its matrix: --matrix cannot be given, too\n"
