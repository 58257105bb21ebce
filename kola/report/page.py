"""The page: the template filled with a report and its logs, at most 20 MB, with everything in it that it needs."""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass, field
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from kola import __version__
from kola.errors import ConfigError
from kola.report import excerpts
from kola.report.gathering import Logs
from kola.report.model import MISSING, Place, identity
from kola.report.scrub import scrub
from kola.report.timeline import clock, timeline_of
from kola.results import Outcome
from kola.text import strip_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kola.report.gathering import Tab
    from kola.report.model import Problem, Report
    from kola.report.runs import Run
    from kola.report.timeline import Span
    from kola.results import TestRecord

LIMIT = 20 * 1000 * 1000
"""Bytes of the page at the most."""
FOR_LOGS = 14 * 1000 * 1000
"""Bytes of it that logs may take."""
TEXT_LINES = 600
REASON = 400
"""Characters of a reason that are shown where it is not told in full."""
MARKS = {
    Outcome.PASSED: ("✓", "passed"),
    Outcome.FAILED: ("✕", "failed"),
    Outcome.FLAKY: ("≈", "flaky"),
    Outcome.WARNED: ("!", "warned"),
    Outcome.SKIPPED: ("-", "skipped"),
    Outcome.PROVIDER_ERROR: ("?", "provider error"),
    Outcome.NOT_RUN: ("○", "not run"),
    MISSING: ("·", "no run"),
}
"""State -> a sign, so that nothing is told by colour alone, and words."""


@dataclass(frozen=True)
class Panel:
    """A log on the page: ``id`` of its content, where all of it is, and what to say of what is not shown."""

    label: str
    id: str
    href: str
    note: str
    new: int


@dataclass(frozen=True)
class Shown:
    """A problem on the page."""

    problem: Problem
    bad: tuple[Panel, ...]
    good: tuple[Panel, ...]
    whole: bool
    """Whether its logs are there; they are not if the page would be too large."""


@dataclass
class _Contents:
    """Collects logs for the page, each content once."""

    link: Callable[[str], str]
    room: int
    by_id: dict[str, str] = field(default_factory=dict)
    size: int = 0

    def shown(self, problem: Problem, logs: Logs) -> Shown:
        whole = self.size < self.room
        if not whole:
            return Shown(problem, (), (), whole)
        bad = problem.bad
        errors = [*self._text("Error", bad.text), *self._text("Second try", bad.again)]
        panels = (*errors, *(self._panel(tab) for tab in logs.bad))
        return Shown(problem, panels, tuple(self._panel(tab) for tab in logs.good), whole)

    def _text(self, label: str, text: str) -> list[Panel]:
        excerpt = excerpts.message(text, TEXT_LINES)
        note = f"{excerpt.left_out} lines before this are left out" if excerpt.left_out else ""
        return [Panel(label, self._add(excerpt.packed()), "", note, 0)] if text.strip() else []

    def _panel(self, tab: Tab) -> Panel:
        excerpt = tab.excerpt
        if excerpt.left_out is None:
            note = "only the end of the file was looked at"
        else:
            note = f"{len(excerpt.lines)} of {len(excerpt.lines) + excerpt.left_out} lines" if excerpt.left_out else ""
        new = sum(line.new for line in excerpt.lines)
        return Panel(tab.label, self._add(excerpt.packed()), self.link(tab.path), note, new)

    def _add(self, packed: str) -> str:
        name = "log-" + hashlib.sha256(packed.encode()).hexdigest()[:12]
        if name not in self.by_id:
            self.by_id[name] = packed
            self.size += len(packed)
        return name


def render(
    report: Report,
    logs: Callable[[Problem], Logs],
    ignition: Callable[[Run], Mapping[str, Span]],
    link: Callable[[str], str],
    now: float,
) -> bytes:
    """Return the page.

    Args:
        report: what it says.
        logs: reads those of a problem; called for as many as there is room for.
        ignition: says when Ignition ran in which machine of a run.
        link: path of a log -> where a browser finds all of it; empty if nowhere.
        now: unix seconds.

    Raises:
        ConfigError: jinja2 is not there, or even without logs the page would be too large.
    """
    template = environment().get_template("page.html")
    told = {problem.id for problem in report.problems}
    order = [id(problem.run) for problem in report.problems]
    timelines = [
        (run, timeline_of(run.record, ignition(run), _linker(run, told)))
        for run in sorted(report.runs, key=lambda run: order.index(id(run)) if id(run) in order else len(order))
    ]
    room, known = FOR_LOGS, dict[str, Logs]()
    while True:
        contents = _Contents(link, room)
        shown = []
        for problem in report.problems:
            if problem.id not in known and contents.size < room:
                known[problem.id] = logs(problem)
            shown.append(contents.shown(problem, known.get(problem.id, Logs())))
        text: str = template.render(
            report=report, shown=shown, timelines=timelines, contents=contents.by_id, now=now, version=__version__,
            **assets("report"),
        )  # fmt: skip
        page = text.encode("utf-8", "replace")
        if len(page) <= LIMIT:
            return page
        if room <= 0:
            raise ConfigError(f"the page would have {len(page)} bytes; at most {LIMIT}: report on fewer runs")
        room = max(0, min(room, contents.size) - (len(page) - LIMIT) - 100_000)


def assets(name: str, connect: str = "'none'") -> dict[str, Any]:
    """Return style, script and the policy that allows these and nothing else, for a template.

    Args:
        name: of the script's file.
        connect: whom the script may talk to.
    """
    from markupsafe import Markup  # noqa: PLC0415 - jinja2's, of an extra

    style, script = _file("report.css"), _file("theme.js") + _file(f"{name}.js")
    policy = f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; connect-src {connect}"
    # Our own files, put in as they are.
    return {"style": Markup(style), "script": Markup(script), "policy": Markup(policy)}  # noqa: S704


def environment() -> Any:
    """Return the templates; everything that is put into one is escaped.

    Raises:
        ConfigError: jinja2 is not there.
    """
    try:
        import jinja2  # noqa: PLC0415 - of an extra
    except ImportError as e:
        raise ConfigError(f"a report needs the Python module '{e.name}': pip install 'pytest-kola[report]'") from e
    made = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda name: _file(f"{name}.j2")),
    )
    made.filters.update(moment=moment, clock=clock, clean=clean, short=short, state=state, words=words)
    return made


def moment(seconds: float) -> str:
    """Return a moment for a person, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def clean(text: str, most: int = REASON) -> str:
    """Return a text of a test or a guest, without secrets and control characters, cut if it is long."""
    text = scrub(strip_terminal(text))
    return text if len(text) <= most else text[: most - 1] + "…"


def short(nodeid: str) -> str:
    """Return the last part of a test's name."""
    return nodeid.rpartition("::")[2]


def state(name: str) -> tuple[str, str]:
    """Return sign and words of a state."""
    return MARKS[name]


def words(counts: Sequence[tuple[str, int]]) -> str:
    """Return counts in words: ``1 failed, 12 passed``."""
    return ", ".join(f"{number} {MARKS[outcome][1]}" for outcome, number in counts) or "nothing was run"


def _linker(run: Run, told: set[str]) -> Callable[[TestRecord], str]:
    def link(test: TestRecord) -> str:
        name = identity(Place(run.build.stream, run.target.name, test.suite or "tests"), test.nodeid)
        return name if name in told else ""

    return link


def _file(name: str) -> str:
    return (resources.files("kola.report") / "assets" / PurePosixPath(name).name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
