"""What is run for a fault, and when a result does not hold any more."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from trust.faults import Fault, Kind, read_faults
from trust.observation import EXTERNAL
from trust.planning import CHECKS, SMOKE, clean_key, clean_selection, key_of, order, selection, suites

ROOT = Path(__file__).parents[3]


def fault(*suites: str, source: Path = Path("x.toml"), kind: Kind = Kind.LIVE) -> Fault:
    return Fault(name=source.stem, title="x", why="y", kind=kind, suites=suites, names=("x",), source=source)


def test_the_smoke_set_is_there_and_small() -> None:
    for name in SMOKE:
        file, _, test = name.partition("[")[0].partition("::")
        tree = ast.parse((ROOT / EXTERNAL / file).read_text())
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name
    assert 15 <= len(SMOKE) <= 25
    assert clean_selection("") == tuple(EXTERNAL + name for name in SMOKE)


def test_no_test_is_asked_for_twice() -> None:
    chosen = selection(fault("basic/test_health.py", "upgrade/test_update.py"))
    assert chosen[:2] == (f"{EXTERNAL}basic/test_health.py", f"{EXTERNAL}upgrade/test_update.py")
    assert not [name for name in chosen if "test_health.py::" in name]
    assert f"{EXTERNAL}basic/test_ssh.py::test_passwords_are_refused" in chosen


def test_live_faults_come_first_and_updates_last() -> None:
    faults = read_faults(ROOT / "ci/faults")
    kinds = [found.kind for found in order(faults.values())]
    assert kinds == sorted(kinds, key=lambda kind: kind is Kind.IMAGE)
    live = [found for found in order(faults.values()) if found.kind is Kind.LIVE]
    updates = [any(suite.startswith("upgrade/") for suite in found.suites) for found in live]
    assert updates == sorted(updates)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for folder in (EXTERNAL, CHECKS):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "x.toml").write_text("one")
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "holds"),
    [
        ("x.toml", False),
        (f"{EXTERNAL}selinux/test_containers.py", False),
        (f"{EXTERNAL}selinux/contexts.py", False),
        (f"{EXTERNAL}images.py", False),
        (f"{EXTERNAL}basic/test_ssh.py", False),
        (f"{EXTERNAL}basic/basic.ign", False),
        ("kola/checks/__init__.py", False),
        (f"{EXTERNAL}containers/podman.py", False),
        (f"{EXTERNAL}selinux/test_policy.py", True),
        (f"{EXTERNAL}containers/docker.py", True),
        (f"{EXTERNAL}upgrade/test_update.py", True),
    ],
)
def test_a_result_holds_until_what_it_was_about_changes(checkout: Path, changed: str, holds: bool) -> None:  # noqa: FBT001
    one = fault("selinux/test_containers.py", source=checkout / "x.toml")
    before = key_of(one, checkout)
    assert key_of(one, checkout) == before
    with (checkout / changed).open("a") as file:
        file.write("\n# changed\n")
    assert (key_of(one, checkout) == before) is holds


def test_a_clean_run_of_a_suite_is_about_all_of_it(checkout: Path) -> None:
    assert {"containers", "selinux"} <= set(suites(checkout))
    assert clean_selection("selinux") == (f"{EXTERNAL}selinux",)
    for changed, holds in (
        ("selinux/test_new.py", False),
        ("conftest.py", False),
        ("containers/podman.py", False),
        ("containers/test_new.py", True),
    ):
        before = clean_key("selinux", checkout)
        with (checkout / EXTERNAL / changed).open("a") as file:
            file.write("\n# changed\n")
        assert (clean_key("selinux", checkout) == before) is holds, changed
