"""``--run-name``: a run's folder is where it is known to be before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kola.errors import ConfigError
from kola.options import settings_of
from kola.run import _hold_name, _output_folder, _point_latest


def test_it_names_the_folder(tmp_path: Path) -> None:
    folder = _output_folder(tmp_path, "id1", "nightly.1of2")
    assert folder == tmp_path / "nightly.1of2"
    _point_latest(folder, "id1")
    assert (tmp_path / "latest").resolve() == tmp_path / "nightly.1of2"
    assert _output_folder(tmp_path, "id2", "").name.endswith("-id2")


def test_an_earlier_run_of_that_name_is_replaced(tmp_path: Path) -> None:
    old = _output_folder(tmp_path, "id1", "name")
    (old / "machines/one").mkdir()
    (old / "results.json").write_text("{}")
    new = _output_folder(tmp_path, "id2", "name")
    assert [path.name for path in new.iterdir()] == ["machines"]
    assert list((new / "machines").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["name"]


def test_nothing_else_is(tmp_path: Path) -> None:
    (tmp_path / "name").mkdir()
    (tmp_path / "name/thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"--run-name name: .*/name is there, and is not the folder of a run"):
        _output_folder(tmp_path, "id", "name")
    assert (tmp_path / "name/thesis.tex").exists()


@pytest.mark.parametrize("name", ["latest", ".", "..", "a/b", "/a", "-a", ".a", "a b", "a" * 201, "a\n"])
def test_a_name_is_that_of_a_folder(name: str) -> None:
    with pytest.raises(ConfigError, match=r"--run-name '.*': letters, digits and ._- only, at most 200, and not"):
        settings_of({"kola_run_name": name}, Path("/"))


def test_names_of_jobs_are_names() -> None:
    assert settings_of({"kola_run_name": "testing-devel.qemu.x86_64.basic.uefi-secure.1of3"}, Path("/")).run_name


def holding(folder: Path) -> subprocess.Popen[str]:
    """Return another process that runs under the name ``name``, once it does."""
    program = f"""
import sys
import os
import subprocess
import sys
from pathlib import Path
from kola.run import _hold_name, _output_folder
folder = Path({str(folder)!r})
with _hold_name(folder, "name", "id1"):
    (_output_folder(folder, "id1", "name") / "results.json").write_text("of id1")
    print("holding", flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    return process


def test_a_run_that_lives_keeps_its_folder_to_itself(tmp_path: Path) -> None:
    with holding(tmp_path) as other:
        busy = rf"--run-name name: run id1 \(pid {other.pid}\) works in .*/name; give this one another name"
        with pytest.raises(ConfigError, match=busy), _hold_name(tmp_path, "name", "id2"):
            pytest.fail("two runs in one folder")
        with _hold_name(tmp_path, "other", "id3"), _hold_name(tmp_path, "", "id4"), _hold_name(tmp_path, "", "id5"):
            pass
        assert (tmp_path / "name/results.json").read_text() == "of id1"
        other.communicate("")
    with _hold_name(tmp_path, "name", "id6"):
        pass


def test_one_that_was_killed_does_not(tmp_path: Path) -> None:
    with holding(tmp_path) as other:
        other.kill()
        other.wait()
    with _hold_name(tmp_path, "name", "id2"):
        assert _output_folder(tmp_path, "id2", "name").is_dir()
        with pytest.raises(ConfigError, match=rf"run id2 \(pid {os.getpid()}\)"), _hold_name(tmp_path, "name", "id3"):
            pass
