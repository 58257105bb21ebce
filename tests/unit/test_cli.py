"""The command ``kola``."""

import os
import time
from pathlib import Path

import pytest

from kola.cli import main
from kola.clonecache import CloneCache, Limits


@pytest.fixture
def cache(tmp_path: Path) -> CloneCache:
    """Two saved machines, one not used for three weeks."""
    found = CloneCache(tmp_path / "clones", Limits())
    for key, days in (("old", 21), ("new", 1)):
        with found.claim(key, lambda _: None) as claim:
            assert claim.draft is not None
            (claim.draft / "state").write_bytes(os.urandom(3 << 20))
            claim.commit({})
        moment = time.time() - days * 86400
        os.utime(tmp_path / "clones" / key / "manifest.json", (moment, moment))
    return found


def test_gc_says_what_saved_machines_would_go(cache: CloneCache, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gc", "--dry-run", "--kola-cache", str(cache.folder.parent)]) == 0
    assert "saved machine old (3 MiB): not used for 21 days: would go" in capsys.readouterr().out
    assert cache.count() == 2


def test_gc_removes_old_ones(cache: CloneCache, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gc", "--kola-cache", str(cache.folder.parent)]) == 0
    out = capsys.readouterr().out
    assert "saved machine old (3 MiB): not used for 21 days: removed" in out
    assert f"saved machines: 1, 3 MiB in {cache.folder}" in out
    assert cache.peek("new")
    assert not cache.peek("old")


@pytest.mark.parametrize("arguments", [["--clone-cache", "0"], ["--clone-age", "0"]])
def test_gc_removes_all_on_request(cache: CloneCache, arguments: list[str]) -> None:
    assert main(["gc", "--kola-cache", str(cache.folder.parent), *arguments]) == 0
    assert cache.count() == 0


def test_gc_of_one_run_leaves_saved_machines_alone(cache: CloneCache) -> None:
    assert main(["gc", "--run", "abcd", "--kola-cache", str(cache.folder.parent)]) == 0
    assert cache.count() == 2


@pytest.mark.parametrize(
    "arguments",
    [["gate"], ["matrix", "run"], ["gc", "--clone-age", "x"], ["nope"], ["spawn", "--keep-machines", "sometimes"]],
)
def test_a_wrong_question_is_no_interrupted_run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 4
    assert capsys.readouterr().err.splitlines()[-1].startswith("kola")


@pytest.mark.parametrize("size", ["many", "-1", "inf", "nan"])
def test_a_bad_size_is_one_line(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gc", f"--clone-cache={size}"]) == 4
    assert capsys.readouterr().err == f"ERROR: --clone-cache '{size}': expected a number of GiB, 0 or more\n"


@pytest.mark.parametrize("age", ["-1.0", "nan"])
def test_a_bad_age_removes_nothing(cache: CloneCache, age: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gc", f"--clone-age={age}", "--kola-cache", str(cache.folder.parent)]) == 4
    assert capsys.readouterr().err == f"ERROR: --clone-age {age}: expected a number of days, 0 or more\n"
    assert cache.count() == 2
