"""Writes docs/suites.md from what the tests of tests/external say of themselves: `python -m tests.suites`."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kola.bugs import BUG_CLASSES
from kola.fixtures import NEEDS
from kola.needs import Isolation, Needs

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/suites.md"
COMMAND = "python -m tests.suites"
NOT_YET = "not yet run"

_HEAD = f"""# The suites

What each test of `tests/external/` proves, and the class of release-blocking bug that it covers. Made by `{COMMAND}`
from the tests' own docstrings and markers; do not edit.

*{NOT_YET}* is a test for which no image of this project has what it needs: it is written from the documented behaviour
of Fedora CoreOS, and nobody has seen it pass. It is skipped, with that reason, wherever an image lacks something.
"""


@dataclass(frozen=True)
class Row:
    """One test function with all its parameters."""

    suite: str
    file: str
    name: str
    proves: str
    covers: str
    needs: str
    runnable: bool


class _Collector:
    """A pytest plugin that keeps what was collected."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take the tests."""
        self.items = list(session.items)


def rows() -> list[Row]:
    """Return every test of tests/external, in the order of the files."""
    collector = _Collector()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main(
            [
                *("--collect-only", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT)),
                # kola is imported already: by this module.
                *("-W", "ignore::pytest.PytestAssertRewriteWarning", str(ROOT / "tests/external")),
            ],
            plugins=[collector],
        )
    if code != pytest.ExitCode.OK:
        raise SystemExit(f"collecting tests/external failed:\n{said.getvalue()}")
    known = buildable()
    found: dict[tuple[str, str], Row] = {}
    for item in collector.items:
        path = item.path.relative_to(ROOT / "tests/external")
        name = getattr(item, "originalname", item.name)
        found.setdefault((str(path), name), _row(item, path.parts[0], str(path), name, known))
    return list(found.values())


def _row(item: pytest.Item, suite: str, file: str, name: str, known: frozenset[str]) -> Row:
    needs = item.stash.get(NEEDS, Needs())
    marks = [f"*{mark}*" for mark in ("smoke", "slow") if item.get_closest_marker(mark)]
    what = [f"`{word}`" for word in (*needs.needs, *sorted(needs.spec.needs()))]
    if needs.isolation is Isolation.FIRST_BOOT:
        what.append("first boot")
    if needs.machines > 1:
        what.append(f"{needs.machines} machines")
    proves = next(iter((inspect.getdoc(getattr(item, "function", None)) or "").splitlines()), "")
    runnable = set(needs.needs) <= known
    return Row(suite, file, name, proves, needs.covers, ", ".join([*what, *marks]), runnable)


def buildable() -> frozenset[str]:
    """Return what the images have that this project can build."""
    with _importable(ROOT / "ci/testos"):
        variants = importlib.import_module("builder.variants")
    names = sorted(path.name for path in variants.VARIANTS.iterdir())
    series = [variants.releases(), *(variants.with_variant(variants.releases(), name) for name in names)]
    return frozenset(word for one in series for word in one[0].capabilities)


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def page(found: list[Row]) -> str:
    """Return the page."""
    lines = [_HEAD]
    for suite in dict.fromkeys(row.suite for row in found):
        own = [row for row in found if row.suite == suite]
        not_yet = sum(not row.runnable for row in own)
        lines += [f"## {suite}", "", _introduction(suite)]
        lines += [f"{len(own)} tests" + (f", {not_yet} of them {NOT_YET}." if not_yet else "."), ""]
        lines += ["| test | proves | covers | needs |", "|---|---|---|---|"]
        for row in own:
            needs = row.needs if row.runnable else f"{row.needs}; **{NOT_YET}**"
            lines.append(f"| [`{row.name}`](../tests/external/{row.file}) | {row.proves} | {row.covers} | {needs} |")
        lines.append("")
    lines += ["## Classes of bugs", "", "| class | what goes wrong | tests |", "|---|---|---|"]
    for name, meaning in BUG_CLASSES.items():
        lines.append(f"| `{name}` | {meaning} | {sum(row.covers == name for row in found)} |")
    return "\n".join(lines) + "\n"


def _introduction(suite: str) -> str:
    text = inspect.getdoc(importlib.import_module(f"tests.external.{suite}")) or ""
    return f"{text}\n" if text else ""


if __name__ == "__main__":
    PAGE.write_text(page(rows()))
    print(f"{PAGE.relative_to(ROOT)} written")
