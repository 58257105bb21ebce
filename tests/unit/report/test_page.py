"""The page itself, without a browser."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import re
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kola.errors import ConfigError
from kola.report import page
from kola.report.excerpts import Excerpt, Line
from kola.report.gathering import Library, Logs, Reader, Tab
from kola.report.model import Problem, Report, report_of
from kola.report.runs import combine
from kola.report.stores import open_store
from tests.unit.report.hostile import BREAKERS, NAME, SECRET, write_hostile
from tests.unit.report.nightly import BROKEN_LABEL, TARGETS, Nightly, write_nightly

VOID = {"meta", "input"}
TAGS = VOID | {
    *("a", "b", "body", "button", "caption", "code", "dd", "details", "dialog", "div", "dl", "dt", "footer", "form"),
    *(
        "h1",
        "h2",
        "h3",
        "h4",
        "head",
        "header",
        "html",
        "kbd",
        "label",
        "li",
        "main",
        "ol",
        "p",
        "pre",
        "script",
        "search",
    ),
    *("section", "small", "span", "strong", "style", "summary", "table", "tbody", "td", "th", "thead", "title", "tr"),
    *("ul", "svg", "defs", "pattern", "rect", "circle", "line", "text"),
}
NOW = 1_796_000_000.0


class Tree(HTMLParser):
    """What a browser would take a page for: elements with attributes, ids, text, and the content of scripts."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self.feed(content.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open[-1:] == ["script"] else self.text).append(data)

    def logs(self) -> list[str]:
        return [gzip.decompress(base64.b64decode(script)).decode() for script in self.scripts[1:]]


def report_on(*folders: Path) -> tuple[Report, Library]:
    library = Library(tuple(open_store(str(folder)) for folder in folders))
    found, unread = library.found(0)
    runs, notes = combine(found)
    return report_of(runs, [*unread, *notes]), library


def rendered(report: Report, library: Library) -> bytes:
    reader = Reader(library)
    return page.render(report, reader.logs_of, reader.ignition_of, lambda path: f"logs/{path}", NOW)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nights")
    write_nightly(folder, lines=5)
    return folder


@pytest.fixture(scope="module")
def tree(nights: Path) -> Tree:
    return Tree(rendered(*report_on(nights)))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return rendered(*report_on(write_hostile(tmp_path_factory.mktemp("hostile"))))


def test_it_is_one_whole_document_that_fetches_nothing(tree: Tree) -> None:
    assert tree.open == []
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in tree.tags}
    for tag, attributes in tree.tags:
        assert not {"src", "style", "onclick"} & set(attributes), (tag, attributes)
        assert not re.match(r"https?:|//|javascript:", attributes.get("href") or ""), attributes


def test_every_id_is_there_once_and_every_link_leads_somewhere(tree: Tree) -> None:
    ids = [value for _, attributes in tree.tags if (value := attributes.get("id"))]
    assert len(ids) == len(set(ids))
    for _, attributes in tree.tags:
        href = attributes.get("href") or ""
        if href.startswith("#") and "=" not in href:
            assert href[1:] in ids
        for name in ("aria-controls", "aria-labelledby", "data-log", "for"):
            assert attributes.get(name) is None or attributes[name] in ids


def test_the_policy_allows_its_own_script_and_style_alone(tree: Tree) -> None:
    policy = next(a["content"] for tag, a in tree.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    script = base64.b64encode(hashlib.sha256(tree.scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{script}'" in policy
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy


def test_logs_stand_beside_the_good_ones_with_what_is_new(tree: Tree) -> None:
    label = next(log for log in tree.logs() if "dns-mgr" in log)
    new = [line for line in label.split("\n") if line.startswith("+")]
    assert [line[1] for line in new] == ["w", "e", " "]
    assert "+eE" not in label


def test_nothing_is_told_by_colour_alone(tree: Tree) -> None:
    """Whatever has the class of an outcome has words for it as well, or a label with them."""
    text = " ".join(" ".join(tree.text).split())
    for words in ("provider error", "not run", "failed", "flaky", "passed", "skipped", "no run"):
        assert words in text
    for tag, attributes in tree.tags:
        if (attributes.get("class") or "").startswith("box "):
            assert attributes["aria-label"], tag


def test_hostile_names_and_logs_are_text(hostile: bytes) -> None:
    tree = Tree(hostile)
    assert tree.open == []
    assert {tag for tag, _ in tree.tags} <= TAGS
    assert [a for _, a in tree.tags if any(name.startswith("on") for name in a)] == []
    assert sum(tag == "script" for tag, _ in tree.tags) == len(tree.scripts)
    assert [script for script in tree.scripts if "owned" in script] == []
    text = "".join(tree.text)
    for breaker in BREAKERS:
        assert breaker in text
    assert any(BREAKERS[1] in log for log in tree.logs())
    assert NAME in text  # not what a template would make of it


def test_what_is_escaped_stays_escaped_in_attributes(hostile: bytes) -> None:
    tree = Tree(hostile)
    problem = next(a for _, a in tree.tags if a.get("class", "") == "problem failed")
    assert problem["data-stream"] == f"{BREAKERS[0]}testing"
    assert html.escape(BREAKERS[0], quote=False).encode() in hostile


def test_no_secret_reaches_it(hostile: bytes, tmp_path: Path) -> None:
    folder = write_hostile(tmp_path)
    assert SECRET in (folder / "results.json").read_text()
    assert any(SECRET in file.read_text() for file in folder.rglob("console.txt"))
    assert SECRET.encode() not in hostile
    for log in Tree(hostile).logs():
        assert SECRET not in log


def big(problem: Problem) -> Logs:
    """Logs that do not get smaller by being packed."""
    noise = hashlib.sha512(problem.id.encode()).hexdigest()
    lines = tuple(Line(hashlib.sha512(f"{noise}{number}".encode()).hexdigest()) for number in range(3000))
    return Logs((Tab("Journal", "0/x/journal.jsonl", Excerpt(lines)),))


def none(_: Any) -> Mapping[str, tuple[float, float]]:
    return {}


@pytest.fixture
def many(tmp_path: Path) -> Report:
    names = [f"test_{number}" for number in range(150)]
    Nightly(tmp_path, lines=0).run(0, TARGETS[0], "basic", dict.fromkeys(names, BROKEN_LABEL), names=names)
    return report_on(tmp_path)[0]


def test_it_has_20_megabytes_at_the_most(many: Report) -> None:
    asked: list[str] = []

    def logs(problem: Problem) -> Logs:
        asked.append(problem.id)
        return big(problem)

    content = page.render(many, logs, none, str, NOW)
    assert 13_000_000 < len(content) <= page.LIMIT
    tree = Tree(content)
    assert " ".join(tree.text).count("Its logs are left out: the page would be too large.") == 150 - len(asked)
    assert 0 < len(asked) < 150


def test_logs_give_way_where_the_rest_is_large(many: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "LIMIT", 4_000_000)
    content = page.render(many, big, none, str, NOW)
    assert 2_000_000 < len(content) <= 4_000_000


def test_what_is_too_large_without_logs_is_refused(many: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "LIMIT", 10_000)
    with pytest.raises(ConfigError, match="at most 10000: report on fewer runs"):
        page.render(many, big, none, str, NOW)


def test_a_page_without_problems_says_so(tmp_path: Path) -> None:
    Nightly(tmp_path, lines=0).run(0, TARGETS[0], "basic")
    text = " ".join(Tree(rendered(*report_on(tmp_path))).text)
    assert "No test failed, warned, was flaky, or was stopped by its provider." in text
    assert "All is good: 1 cell" in text


def test_what_could_not_be_read_is_not_taken_for_good(tmp_path: Path) -> None:
    (tmp_path / "given" / "cut").mkdir(parents=True)
    (tmp_path / "given" / "cut" / "results.json").write_text("{")
    Nightly(tmp_path / "given", lines=0).run(0, TARGETS[0], "basic")
    text = " ".join(Tree(rendered(*report_on(tmp_path / "given"))).text)
    assert "All is good" not in text
    assert "What could be read is good" in text
    assert "1 record of what the report is about" in text
    # In the history it is told, and no more than that.
    (tmp_path / "given" / "cut").rename(tmp_path / "cut")
    library = Library((open_store(str(tmp_path / "given")),), (open_store(str(tmp_path)),))
    found, unread = library.found(500)
    text = " ".join(Tree(rendered(report_of(combine(found)[0], unread), library)).text)
    assert "All is good: 1 cell" in text
    assert "Could not be read" in text


def test_without_jinja2_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigError, match=r"needs the Python module 'jinja2': pip install 'pytest-kola\[report\]'"):
        page.environment()
