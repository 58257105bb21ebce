"""The workflows for GitHub Actions, by the linter for them; it is built from source by Go."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first build takes half a minute of a core; later ones are in Go's cache."""
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        pytest.skip("Go is not installed")
    folder = tmp_path_factory.mktemp("go")
    made = subprocess.run(
        [go, "install", ACTIONLINT],
        cwd=folder,
        env={**os.environ, "GOBIN": str(folder), "GOFLAGS": "-p=1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    if made.returncode:
        pytest.skip(f"actionlint cannot be built here: {made.stderr.strip().splitlines()[-1]}")
    return folder / "actionlint"


def lint(actionlint: Path, *files: Path) -> tuple[int, str]:
    done = subprocess.run(
        [actionlint, "-no-color", *files], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_they_are_right(actionlint: Path) -> None:
    assert [path.name for path in WORKFLOWS] == ["build.yml", "matrix.yml", "nightly.yml"]
    assert lint(actionlint, *WORKFLOWS) == (0, "")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("needs: plan", "needs: plans", "needs job"),
        ("steps.plan.outputs", "steps.plans.outputs", "plans"),
        ("fromJSON(", "fromYAML(", "undefined function"),
        ("fail-fast", "fail-slow", "unexpected key"),
    ],
)
def test_what_is_wrong_is_found(actionlint: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (ROOT / ".github/workflows/matrix.yml").read_text()
    assert old in text
    broken = tmp_path / "matrix.yml"
    broken.write_text(text.replace(old, new, 1))
    code, said = lint(actionlint, broken)
    assert code == 1
    assert message in said
