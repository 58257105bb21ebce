"""``kola matrix run`` on simulated machines, then ``ci/verdict``: signatures, verdict, report. Each link is broken."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from kola.arch import host_arch
from kola.results import read
from tests.simulation.guest import DEPLOYMENT

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not (ROOT / ".venv/.kola-setup").exists(), reason="ci/setup has not made .venv")
ARCH = host_arch().name
DRIVER = "tests.simulation.platform:Simulated"
MATRIX = f"""
[streams]
os.image = "image.raw"
[platforms]
sim.driver = "{DRIVER}"
other = {{}}
[suites]
one.paths = ["one"]
two.paths = ["two"]
[[cells]]
streams = ["os"]
platforms = ["sim"]
arches = ["{ARCH}"]
suites = ["one", "two"]
cadence = "build"
workers = 1
[[cells]]
streams = ["os"]
platforms = ["other"]
arches = ["{ARCH}"]
suites = ["one"]
cadence = "nightly"
"""
SMALL = """
[results]
matrix = "matrix.toml"
cadence = "nightly"
platforms = ["sim"]
max_age_hours = 1
[history]
required = false
"""
TEST = """
import pytest

@pytest.mark.kola(isolation="shared")
@pytest.mark.parametrize("number", range(2))
def test_it(machine, number): assert machine.boot_id
"""
ONE, TWO = f"os.sim.{ARCH}.one", f"os.sim.{ARCH}.two"


def call(folder: Path, *command: str, **more: str) -> tuple[int, str]:
    known = {key: value for key, value in os.environ.items() if not key.startswith("KOLA_")}
    environment = {**known, "PYTHONPATH": str(ROOT), "KOLA_CACHE": str(folder / "cache"), **more}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.returncode, done.stdout


def verdict(folder: Path, policy: str = "small.toml", **more: str) -> tuple[int, str]:
    return call(
        folder,
        str(ROOT / "ci/verdict"),
        "night",
        "--policy",
        policy,
        *(() if more else ("--own-key",)),
        "os=meta.json",
        **more,
    )


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the matrix was run, and nothing else has been done yet."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "matrix.toml").write_text(MATRIX)
    (folder / "small.toml").write_text(SMALL)
    (folder / "keys.toml").write_text(SMALL.replace("[history]", 'keys = [\n  "release.pub",\n]\n[history]'))
    (folder / "full.toml").write_text(SMALL.replace('platforms = ["sim"]\n', ""))
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "image.raw").write_bytes(b"\0" * 510 + b"\x55\xaa")
    known = {"schema": 1, "build_id": "7", "stream": "os", "arch": ARCH}
    (folder / "image.raw.image.json").write_text(json.dumps(known))
    for suite in ("one", "two"):
        (folder / suite).mkdir()
        (folder / suite / f"test_{suite}.py").write_text(TEST)
    code, out = call(
        folder, sys.executable, "-m", "kola", "matrix", "run", "--policy=small.toml", "--output=night", "--stream=os"
    )
    assert code == 0, out
    image = read(folder / "night" / ONE / "results.json").targets[0].image
    meta = {
        "buildid": "7", "coreos-assembler.basearch": ARCH, "ostree-commit": DEPLOYMENT, "ref": "a/b/os",
        "images": {DRIVER: {"sha256": image.sha256, "size": 512}},
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


@pytest.fixture(scope="module")
def judged(ran: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a verdict, which is a release."""
    folder = tmp_path_factory.mktemp("judged") / "project"
    shutil.copytree(ran, folder, symlinks=True)
    code, out = verdict(folder)
    assert code == 0, out
    (folder / "said").write_text(out)
    return folder


@pytest.fixture
def project(judged: Path, tmp_path: Path) -> Path:
    """One to break."""
    shutil.copytree(judged, tmp_path / "project", symlinks=True)
    return tmp_path / "project"


def test_all_is_well(judged: Path) -> None:
    assert not (judged / f"night/os.other.{ARCH}.one").exists(), "the policy says what is run"
    (suite,) = ET.parse(judged / "night" / ONE / "junit.xml").getroot()  # noqa: S314 - pytest's own
    assert (suite.get("name"), suite.get("tests")) == (ONE, "2")
    lines = (judged / "said").read_text().splitlines()
    assert lines[-1] == "report: night/report.html"
    assert lines[-2].endswith(": release")
    notes = [line.strip() for line in lines]
    assert "this is about 2 of 3 cells of os: the policy's platforms: sim" in notes
    assert "no-history: os.promoted: no results of a promoted build to compare the suites with" in notes
    assert any("signed with a key made for these results, night/key.pem: that proves no more than" in n for n in notes)
    assert stat.S_IMODE((judged / "night/key.pem").stat().st_mode) == 0o600
    page = (judged / "night/report.html").read_text()
    assert "The gate: os 7: release" in page
    assert "2 of 2 cells as they should be" in page
    assert "signed with a key made for these results" in page
    said = json.loads((judged / "night/verdict-os.json").read_text())
    assert (said["verdict"], [cell["state"] for cell in said["cells"]]) == ("release", ["passed", "passed"])
    assert "**release**" in (judged / "night/checklist-os.md").read_text()


def edited(folder: Path) -> None:
    change(folder / "night" / ONE / "results.json", kola_version="0")


def killed(folder: Path) -> None:
    job = folder / "night" / ONE
    change(job / "results.json", finished=None, complete=False, exit_code=None)
    (job / "results.intoto.jsonl").unlink()


def other_key(folder: Path) -> None:
    """What was signed is as it was, but the night has another key now."""
    (folder / "night/key.pem").unlink()


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (edited, f"signature: {ONE}: results.intoto.jsonl: is about another results.json"),
        (other_key, f"signature: {TWO}: results.intoto.jsonl: not signed by 1 of the 1 known keys"),
        (killed, f"incomplete: {ONE}: the run did not come to its end: it was killed, or goes on"),
        (lambda folder: shutil.rmtree(folder / "night" / TWO), f"missing: {TWO}: there are no results"),
        (lambda folder: change(folder / "meta.json", buildid="8"), f"build: {ONE}: is of build 7, not of 8"),
        (
            lambda folder: change(folder / "meta.json", **{"ostree-commit": "0" * 64}),
            f"digest: {ONE}: machines had booted {DEPLOYMENT}, but the build is {'0' * 64}",
        ),
    ],
    ids=["edited", "other-key", "killed", "missing", "other-build", "other-commit"],
)  # fmt: skip
def test_a_broken_link_holds(project: Path, break_it: Callable[[Path], None], reason: str) -> None:
    break_it(project)
    code, out = verdict(project)
    assert code == 1, out
    assert f"  {reason}" in out.splitlines()
    last = out.splitlines()[-2:]
    assert ": hold: " in last[0]
    assert last[1] == "report: night/report.html"
    page = (project / "night/report.html").read_text()
    assert "The gate: os" in page
    assert reason in page.replace("&#39;", "'")
    assert json.loads((project / "night/verdict-os.json").read_text())["verdict"] == "hold"


def test_a_part_of_the_matrix_is_no_release(project: Path) -> None:
    code, out = verdict(project, "full.toml")
    assert code == 1
    assert f"  missing: os.other.{ARCH}.one: there are no results" in out.splitlines()
    assert "this is about" not in out


def test_a_key_of_the_environment(ran: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(ran, folder, symlinks=True)
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", folder / "mine.pem"], check=True)
    code, out = verdict(folder, KOLA_SIGN_KEY="mine.pem")
    assert code == 1, "ci/verdict signs nothing with a key that is somebody's"
    assert f"  unsigned: {ONE}: there is no results.intoto.jsonl beside results.json" in out.splitlines()
    for job in (ONE, TWO):
        call(folder, sys.executable, "-m", "kola", "sign", f"night/{job}", "--key=mine.pem")
    code, out = verdict(folder, KOLA_SIGN_KEY="mine.pem")
    assert code == 0, out
    assert "proves no more" not in out
    assert not (folder / "night/key.pem").exists()
    code, out = verdict(folder)  # with another one than they are signed with
    assert code == 1
    assert "not signed by 1 of the 1 known keys" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "usage: ci/verdict DIR"),
        (("none", "os=meta.json"), "ERROR: none: no such folder"),
        (("night", "--policy=x"), "usage: ci/verdict DIR"),
        (("night", "--output=x", "os=meta.json"), "usage: ci/verdict DIR"),
        (
            ("night", "--policy", "small.toml", "os=meta.json"),
            "ERROR: small.toml: [results]: keys: there are none, and no",
        ),
        (("night", "--policy", "keys.toml", "--own-key", "os=meta.json"), "ERROR: --own-key: keys.toml names the keys"),
        (("night", "--policy=small.toml", "--own-key", "--phase=rollout", "os=7"), "needs --builds and --releases and"),
        (("night", "--policy", "none.toml", "--own-key", "os=meta.json"), "none.toml: No such file"),
        (("night", "--policy", "small.toml", "--own-key", "os=none.json"), "ERROR: none.json: No such file"),
    ],
)
def test_a_question_that_makes_no_sense(project: Path, arguments: tuple[str, ...], message: str) -> None:
    code, out = call(project, str(ROOT / "ci/verdict"), *arguments)
    assert code == 4, out
    assert message in out
    assert "Traceback" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("night",), "ERROR: unknown argument 'night'; known: matrix, small, own"),
        (("matrix", "--output"), "ERROR: --output: expected a value"),
        (("matrix", "--suite=none"), "ERROR: --suite none: not in ci/matrix.toml; there: basic, "),
        (
            ("small", "--suite", "docker"),
            "ERROR: --suite docker: ci/gate-small.toml does not look at it, only at: basic",
        ),
        (("matrix", "--policy", "none.toml"), "ERROR: none.toml: No such file"),
        (("matrix", "--stream", "stable"), "ERROR: --stream stable: nothing builds it here; known: testos, testos-"),
    ],
)
def test_a_night_that_makes_no_sense(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    code, out = call(tmp_path, str(ROOT / "ci/nightly"), *arguments)
    assert code == 4, out
    assert message in out
    assert "Traceback" not in out


def test_an_answer_of_the_last_time_does_not_stay(project: Path) -> None:
    (project / "meta.json").write_text("{")
    code, out = verdict(project)
    assert code == 4, out
    assert not list((project / "night").glob("verdict-os.*"))
    assert not (project / "night/report.html").exists()
    assert not (project / "night/checklist-os.md").exists()


def test_the_gate_is_told_of_earlier_builds(project: Path) -> None:
    """The phase and the history are the gate's; a build can be named by its id, too."""
    earlier = project / "history/os/6"
    shutil.copytree(project / "night", earlier)
    (project / "releases.json").write_text(json.dumps({"releases": [{"version": "6", "commits": []}]}))
    (project / "builds/7" / ARCH).mkdir(parents=True)
    shutil.copy(project / "meta.json", project / "builds/7" / ARCH)
    given = ("--phase=pre-release", "--builds=builds", "--releases", "releases.json", "--history=history")
    code, out = call(project, str(ROOT / "ci/verdict"), "night", "--policy=small.toml", "--own-key", *given, "os=7")
    assert code == 0, out
    assert f"  no-history: {ONE}: the promoted build 6 has no results that could be compared" in out.splitlines()
    assert "os 7 (pre-release, " in out


@pytest.mark.parametrize(
    ("keys", "environment", "message"),
    [
        ("[]", {"KOLA_SIGN_PUBLIC_KEY": "key.pub"}, "KOLA_SIGN_PUBLIC_KEY is set and KOLA_SIGN_KEY is not"),
        ('["key.pub"]', {}, "gate.toml names the keys that count: give one of them in KOLA_SIGN_KEY"),
    ],
)
def test_a_key_that_is_missing_is_told_before_the_night(
    tmp_path: Path, keys: str, environment: dict[str, str], message: str
) -> None:
    policy = (ROOT / "ci/gate-small.toml").read_text().replace('"matrix.toml"', f'"{ROOT}/ci/matrix.toml"')
    (tmp_path / "gate.toml").write_text(policy.replace("[results]", f"[results]\nkeys = {keys}"))
    given = ("--policy", str(tmp_path / "gate.toml"), "--output", str(tmp_path / "night"))
    code, out = call(tmp_path, str(ROOT / "ci/nightly"), "matrix", *given, **environment)
    assert code == 4, out
    assert message in out
    assert not (tmp_path / "night").exists()
