"""The report's page in a real browser: Debian's Chromium, driven by Playwright. ``ci/setup-browser`` installs both."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from kola.cli import main
from kola.httpd import HttpServer
from kola.report import page as pages
from kola.report import viewing
from kola.report.gathering import Library, Reader
from kola.report.model import report_of
from kola.report.runs import combine
from kola.report.stores import open_store
from tests.unit.report.hostile import BREAKERS, write_hostile
from tests.unit.report.nightly import write_nightly, write_verdict

SIZES: dict[str, ViewportSize] = {"wide": {"width": 1280, "height": 900}, "narrow": {"width": 420, "height": 900}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "no chromium here: ci/setup-browser"
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nights")
    last = write_nightly(folder, lines=20)
    said = write_verdict(folder / "verdict.json")
    options = ["--history", str(folder), "--verdict", str(said), "-o", str(folder / "report.html")]
    assert main(["report", str(last), *options]) == 0
    return folder


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the browser says on its console, which is nothing."""
    said: list[str] = []
    yield said
    assert said == []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Iterator[Page]:
    context = browser.new_context(viewport=SIZES["wide"], color_scheme="light", offline=False)
    opened = context.new_page()
    opened.set_default_timeout(15_000)
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: asked(request.url, complaints))
    yield opened
    context.close()


def asked(url: str, complaints: list[str]) -> None:
    if not url.startswith(("file:", "http://127.0.0.1:", "data:", "blob:")):
        complaints.append(f"asked for {url}")


@pytest.fixture
def report(page: Page, nights: Path) -> Page:
    page.goto((nights / "report.html").as_uri())
    return page


def visible(page: Page, selector: str) -> list[str]:
    return [element.inner_text() for element in page.locator(selector).all() if element.is_visible()]


def names(page: Page) -> list[str]:
    return visible(page, ".problem summary code")


ALL = ["test_update_and_rollback", "test_selinux_enforcing", "test_selinux_enforcing", "test_growfs", "test_rootless"]


def test_all_problems_are_shown_at_first(report: Page) -> None:
    assert names(report) == ALL
    assert report.locator("h1").inner_text() == "✕ 6 of 13 cells are not good"


@pytest.mark.parametrize("size", SIZES)
def test_the_gates_verdict_is_above_the_matrix(report: Page, size: str) -> None:
    report.set_viewport_size(SIZES[size])
    gate = report.get_by_role("region", name="The gate")
    assert gate.locator("h2").inner_text() == "✕ The gate: testing-devel 44.20261123.20.0: hold"
    assert visible(report, ".gate h3") == ["Holds the release", "Waived", "Informs"]
    assert gate.locator("li").count() == 6
    assert "cloud@example.com" in gate.inner_text()
    tops = [report.locator(place).first.bounding_box() for place in (".gate", "table.matrix")]
    assert tops[0] is not None
    assert tops[1] is not None
    assert tops[0]["y"] + tops[0]["height"] <= tops[1]["y"]


def test_the_filter_shows_what_has_all_words_and_is_in_the_address(report: Page) -> None:
    report.locator("#filter").fill("SELINUX uefi")
    assert names(report) == ["test_selinux_enforcing"]
    assert report.locator("#found").inner_text().startswith("1 of 5 problems, ")
    assert report.url.endswith("#q=SELINUX+uefi")
    report.reload()
    assert report.locator("#filter").input_value() == "SELINUX uefi"
    assert names(report) == ["test_selinux_enforcing"]
    report.get_by_role("button", name="Show all").click()
    assert names(report) == ALL


def test_outcomes_can_be_chosen_together(report: Page) -> None:
    flaky = report.get_by_role("button", name="flaky")
    flaky.click()
    assert flaky.get_attribute("aria-pressed") == "true"
    assert names(report) == ["test_rootless"]
    report.get_by_role("button", name="provider error").click()
    assert names(report) == ["test_growfs", "test_rootless"]
    assert visible(report, ".gap") == []
    flaky.click()
    assert names(report) == ["test_growfs"]
    rows = visible(report, "#tests tbody tr")
    assert len(rows) == 1
    assert "test_growfs" in rows[0]


def test_a_cell_of_the_matrix_leads_to_its_tests(report: Page) -> None:
    report.locator(".matrix a", has_text="flaky").click()
    assert names(report) == ["test_rootless"]
    assert "suite=containers" in report.url
    assert report.locator(".matrix a[aria-current=true]").count() == 1
    assert "Only testing-devel · qemu x86_64 bios · containers." in report.locator("#status").inner_text()
    assert len(visible(report, "#tests tbody tr")) == 2
    report.go_back()
    assert names(report) == ALL


def test_a_link_to_a_test_opens_it(report: Page, nights: Path) -> None:
    name = report.locator(".problem").nth(2).get_attribute("id")
    report.goto("about:blank")
    report.goto(f"{(nights / 'report.html').as_uri()}#{name}")
    problem = report.locator(f"#{name}")
    expect(problem.locator("> summary")).to_be_focused()
    assert problem.get_attribute("open") is not None
    assert problem.locator("summary").evaluate("e => e.getBoundingClientRect().top") < 900
    assert names(report) == ALL


def test_logs_are_unpacked_side_by_side(report: Page) -> None:
    problem = report.locator(".problem").nth(1)
    problem.locator("summary").click()
    problem.evaluate("problem => problem.scrollIntoView()")
    error = problem.locator(".bad-side [role=tabpanel]:not([hidden]) .log")
    expect(error.locator(".line")).not_to_have_count(0)
    assert "AssertionError: 1 file under /etc has a wrong label" in error.inner_text()
    problem.get_by_role("tab", name="Journal").first.click()
    bad = problem.locator(".bad-side [role=tabpanel]:not([hidden]) .log")
    good = problem.locator(".good-side [role=tabpanel]:not([hidden]) .log")
    for side in (bad, good):
        expect(side.locator(".line")).not_to_have_count(0)
    new = bad.locator(".new").all_inner_texts()
    assert len(new) == 3
    assert "dns-mgr: could not open /etc/resolv.conf" in new[1]
    expect(bad.locator(".new").nth(1)).to_be_in_viewport()  # found without scrolling in the log
    assert good.locator(".new").count() == 0
    assert "dns-mgr" not in good.inner_text()
    # Only what is new, by the box and by the key.
    problem.get_by_label("only lines that the good run does not have").check()
    assert bad.locator(".line:visible").count() == 3
    report.keyboard.press("d")
    assert bad.locator(".line:visible").count() > 3


def test_both_sides_show_the_same_log(report: Page) -> None:
    problem = report.locator(".problem").first
    problem.locator("summary").click()
    problem.locator(".bad-side").get_by_role("tab", name="Console").click()
    for side in ("bad", "good"):
        chosen = problem.locator(f".{side}-side [role=tab][aria-selected=true]")
        assert chosen.inner_text().startswith("Console")
    console = problem.locator(".bad-side [role=tabpanel]:not([hidden]) .log")
    expect(console.locator(".line")).not_to_have_count(0)
    assert "Kernel panic - not syncing" in console.inner_text()


def test_it_can_be_used_by_keys_alone(report: Page) -> None:
    keys = report.keyboard
    keys.press("n")
    keys.press("n")
    assert report.evaluate("document.activeElement.parentElement.dataset.outcome") == "failed"
    keys.press("Enter")
    problem = report.locator(".problem[open]")
    assert problem.count() == 1
    problem.locator(".bad-side [role=tab]").first.focus()
    keys.press("ArrowRight")
    assert report.evaluate("document.activeElement.textContent").startswith("Journal")
    keys.press("End")
    assert report.evaluate("document.activeElement.textContent").startswith("Console")
    assert problem.locator(".bad-side [role=tab][tabindex='0']").count() == 1  # one stop for Tab
    keys.press("p")
    assert report.evaluate("document.activeElement.querySelector('code').textContent") == "test_update_and_rollback"
    keys.press("/")
    keys.type("growfs")
    assert names(report) == ["test_growfs"]
    keys.press("Escape")
    assert names(report) == ALL
    keys.press("?")
    assert report.get_by_role("dialog").is_visible()
    keys.press("Escape")
    assert not report.get_by_role("dialog").is_visible()


def test_focus_goes_from_the_top_to_the_problems(report: Page) -> None:
    report.keyboard.press("Tab")
    assert report.evaluate("document.activeElement.className") == "skip"
    report.keyboard.press("Enter")
    report.wait_for_function("() => state.at === 'problems' && document.activeElement.id === 'problems'")
    report.keyboard.press("Tab")
    assert report.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_every_control_has_a_name(report: Page) -> None:
    report.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    for element in report.locator("button, a, input, summary, [role=region], [role=tabpanel]").all():
        named = element.evaluate(
            "e => (e.getAttribute('aria-label') || e.textContent || (e.labels && e.labels[0].textContent) || '').trim()"
            " || (document.getElementById(e.getAttribute('aria-labelledby')) || {}).textContent || e.innerHTML"
        )
        assert named, element.evaluate("e => e.outerHTML")


CONTRAST = """() => {
  const channel = c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = color => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data; };
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const found = [];
  for (const element of document.querySelectorAll('body *:not(svg *):not(script)')) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest('.visually-hidden, .skip')) continue;
    let behind = element;
    while (behind && rgb(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
    const a = light(rgb(getComputedStyle(element).color));
    const b = light(rgb(getComputedStyle(behind || document.body).backgroundColor));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${element.outerHTML.slice(0, 120)}`);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(browser: Browser, nights: Path, scheme: Literal["light", "dark"]) -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 to 1 at the least, in both themes."""
    context = browser.new_context(viewport=SIZES["wide"], color_scheme=scheme)
    page = context.new_page()
    page.goto((nights / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('.problem, .gap').forEach(one => { one.open = true; })")
    for tab in page.locator(".bad-side").get_by_role("tab", name="Journal").all():
        tab.click()
    expect(page.locator(".line.new:visible").first).to_be_visible()
    assert page.evaluate(CONTRAST) == []
    context.close()


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_the_theme_is_the_systems_or_the_readers(report: Page) -> None:
    light = background(report)
    report.emulate_media(color_scheme="dark")
    dark = background(report)
    assert light != dark
    button = report.locator("#theme")
    assert button.inner_text() == "Theme: auto"
    button.click()
    assert (button.inner_text(), background(report)) == ("Theme: light", light)
    report.keyboard.press("t")
    assert (button.inner_text(), background(report)) == ("Theme: dark", dark)
    report.emulate_media(color_scheme="light")
    assert background(report) == dark
    report.reload()
    assert background(report) == dark


@pytest.mark.parametrize("size", SIZES)
def test_nothing_sticks_out(report: Page, size: str) -> None:
    report.set_viewport_size(SIZES[size])
    for opened in ("false", "true"):
        report.evaluate(f"document.querySelectorAll('details').forEach(one => {{ one.open = {opened}; }})")
        assert report.evaluate("document.documentElement.scrollWidth - innerWidth") == 0


def test_the_timeline_is_a_picture_with_words_and_links(report: Page) -> None:
    timeline = report.locator(".timeline").first
    titles = timeline.locator("title").all_text_contents()
    assert any(re.search(r": boot, \d+\.\d s until SSH answered$", title) for title in titles)
    assert any(": Ignition, " in title for title in titles)
    failed = timeline.locator("a", has=report.locator("rect.failed"))
    assert failed.count() == 1
    failed.focus()
    report.keyboard.press("Enter")
    assert report.locator(".problem[open] summary code").inner_text() == "test_update_and_rollback"


def test_hostile_content_does_nothing(page: Page, tmp_path: Path) -> None:
    run = write_hostile(tmp_path)
    assert main(["report", str(run), "-o", str(tmp_path / "report.html")]) == 0
    page.goto((tmp_path / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    for tab in page.get_by_role("tab").all():
        tab.click()
    expect(page.locator(".log .line").nth(20)).to_be_attached()
    page.locator(".matrix a").first.click()
    assert page.evaluate("window.owned") is None
    assert page.title().startswith(BREAKERS[0])
    assert page.locator("img, textarea, svg[onload]").count() == 0
    assert names(page)[0].startswith("test_x[<script>window.owned=1</script>")
    assert any(BREAKERS[1] in text for text in page.locator(".log").all_inner_texts())
    page.set_viewport_size(SIZES["narrow"])
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0


def test_hostile_addresses_do_nothing(report: Page) -> None:
    for address in ("#%", "#<img src=x onerror=window.owned=1>", "#at=%3Cimg%3E&q=<b>&outcome=,,x", "#q=%E0%A4%A"):
        report.evaluate("address => { location.hash = address; }", address)
    assert report.evaluate("window.owned") is None
    assert report.locator("img").count() == 0


def test_a_log_of_50_megabytes_is_viewed_in_parts(page: Page, tmp_path: Path) -> None:
    last = write_nightly(tmp_path, lines=5)
    machine = next(path for path in last.rglob("console.txt") if "Kernel panic" in path.read_text())
    with machine.open("ab") as file:
        for number in range(500_000):
            file.write(
                b"[%12d.000000] line %07d of a console that says a lot, as some do when all goes wrong\n"
                % (number, number)
            )
        file.write(b"the needle\n" + b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\n-----END PRIVATE KEY-----\nthe end\n")
    assert machine.stat().st_size > 45_000_000
    library = Library((open_store(str(last)),))
    runs, _ = combine(library.found(0)[0])
    reader = Reader(library)
    content = pages.render(report_of(runs), reader.logs_of, reader.ignition_of, viewing.link, 0.0)
    with HttpServer() as server:
        server.route("/", viewing.Desk(runs, library, content).answer)
        page.goto(server.local_url("/"))
        problem = page.locator(".problem", has_text="test_update_and_rollback")
        problem.locator("summary").click()
        problem.get_by_role("tab", name="Console").click()
        problem.locator(".bad-side [role=tabpanel]:not([hidden])").get_by_role("link", name="the whole log").click()
        lines = page.locator("#lines .line")
        expect(lines).to_have_count(500)
        assert "console.txt" in page.locator("h1").inner_text()
        page.get_by_role("button", name="Later").click()
        expect(page.locator("#first")).to_be_enabled()
        page.get_by_role("button", name="End", exact=True).click()
        expect(page.locator("#lines")).to_contain_text("the end")
        assert lines.count() == 500
        assert "MIIE" not in page.locator("#lines").inner_text()
        page.locator("#find").fill("NEEDLE")
        expect(lines).to_have_count(1)
        assert lines.inner_text().strip() == "¶the needle"
        lines.locator("a").click()  # to the place in the log, with what is around it
        expect(lines).to_have_count(5)
        address = page.url
        page.goto("about:blank")
        page.goto(address)
        expect(lines).to_have_count(5)
