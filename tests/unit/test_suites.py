"""The table of the suites is what the tests say of themselves, and they say enough."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.suites import COMMAND, PAGE, ROOT, Row, page


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """All tests; in a process of its own, because pytest in pytest shares its plugins."""
    script = "from tests.suites import rows; print([vars(row) for row in rows()])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [Row(**row) for row in eval(done.stdout)]  # noqa: S307 - our own words


def test_the_page_is_up_to_date(rows: list[Row]) -> None:
    assert page(rows) == PAGE.read_text(), f"docs/suites.md is not what the tests say: run {COMMAND}"


def test_every_test_says_what_it_proves_and_covers(rows: list[Row]) -> None:
    silent = [f"{row.file}: {row.name}" for row in rows if not row.proves or not row.covers]
    assert not silent, f"no docstring, or no covers= in the kola marker: {silent}"


def test_the_selinux_suite_runs_on_clouds_but_for_one_file(rows: list[Row]) -> None:
    """No cloud lets one choose the serial of a disk."""
    bound = {row.file for row in rows if row.suite == "selinux" and "disk-serials" in row.needs}
    assert bound == {"selinux/test_filesystem.py"}


def test_what_no_image_has_is_not_said_to_have_run() -> None:
    def row(name: str, *, runnable: bool) -> Row:
        return Row("basic", "basic/test_x.py", name, "It works.", "boot", "`x`", runnable)

    text = page([row("test_one", runnable=True), row("test_two", runnable=False)])
    assert "| [`test_one`](../tests/external/basic/test_x.py) | It works. | boot | `x` |" in text
    assert "| boot | `x`; **not yet run** |" in text
    assert "2 tests, 1 of them not yet run." in text


def test_the_files_that_the_page_links_to_exist(rows: list[Row]) -> None:
    assert all((ROOT / "tests/external" / Path(row.file)).is_file() for row in rows)
