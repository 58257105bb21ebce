"""What kola says on pytest's terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kola import checks
from kola.clonecache import CLONE_FOLDER, CloneCache
from kola.platform import load_platform
from kola.progress import CLONED
from kola.recording import SSH
from kola.results import Outcome
from kola.spec import Capability
from kola.wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from kola.flight import Reservation
    from kola.images import Image
    from kola.machine import Machine
    from kola.parallel import Workers
    from kola.progress import Event
    from kola.run import RunInfo

IMAGE_SECONDS = 3.0
"""Between two lines about a long step with an image."""

LETTERS = {
    Outcome.PROVIDER_ERROR: (Outcome.PROVIDER_ERROR.value, "P", "PROVIDER-ERROR"),
    Outcome.WARNED: (Outcome.WARNED.value, "W", "WARNED"),
    Outcome.FLAKY: (Outcome.FLAKY.value, "L", "FLAKY"),
}
"""Outcomes that pytest does not know: how they are counted, their letter, their word."""

_KOLA = Path(__file__).parent


def header(info: RunInfo, *, own_scheduler: bool, workers: Workers | None = None) -> list[str]:
    """Return the lines at the top of a run; ``workers`` is what ``-n auto`` chose, and why."""
    several = str(workers) if workers else f"{info.workers} worker{'s' if info.workers > 1 else ''}"
    platform = load_platform(info.platform)
    budget = "" if platform.remote else f"memory budget {info.budget_mib} MiB, "
    lines = [
        f"kola: run {info.run_id} on {info.platform} ({info.prepared.accelerator}), {info.arch}",
        f"kola: image {_described(info.image)}",
        *([f"kola: tests of updates begin with {_described(info.from_image)}"] if info.from_image else []),
        f"kola: {several}",
        f"kola: {budget}output {_relative(info.output)}",
    ]
    if Capability.SNAPSHOT in platform.capabilities:
        saved = CloneCache(info.cache / CLONE_FOLDER, info.clone_limits)
        known = f"{saved.count()} saved machines, {saved.size_mib()} MiB" if info.clone else "off (--no-clone)"
        lines.append(f"kola: clones: {known}")
    lines += [f"kola: {note}" for note in info.prepared.notes]
    if info.workers > 1 and not own_scheduler:
        lines.append("kola: --dist given: shared machines may be booted once a worker, long tests may come last")
    return lines


def _described(image: Image) -> str:
    what = " ".join(word for word in (image.name, image.version) if word) or image.path.name
    build = f", build {image.build_id}" if image.build_id else ""
    digest = f", sha256 {image.sha256[:12]}" if image.sha256 else ""
    return f"{image.reference}: {what}{build}{digest}"


def progress_printer(reporter: Any) -> Callable[[Event], None]:
    """Return a function that prints events as lines of their own between pytest's.

    A clone is the normal way and made in no time: one is mentioned with ``-v`` only.
    """

    def show(event: Event) -> None:
        if event.state == CLONED and reporter.verbosity < 1:
            return
        # ensure_newline() knows only of lines that begin with a file's name, which xdist's dots do not.
        if reporter._tw.width_of_current_line:  # noqa: SLF001 - nothing public tells
            reporter.write("\n")
        reporter.write_line(f"  {event}", light=True)

    return show


def image_progress(write: Callable[[str], object]) -> Callable[[str, int, int], None]:
    """Return a function that says every few seconds how far the fetching, reading or unpacking of an image is."""
    quiet = Deadline(IMAGE_SECONDS)

    def show(what: str, done: int, total: int, /) -> None:
        nonlocal quiet
        if quiet.expired:
            quiet = Deadline(IMAGE_SECONDS)
            write(f"kola: {what}: {100 * done // total if total else 0} %")

    return show


def findings(reservation: Reservation) -> tuple[str, str]:
    """Look at the machines of a test; return what is wrong with them, and what was found but the marker skips."""
    wrong, skipped = [], []
    for machine, found in reservation.examine():
        bad, excused = checks.verdict(found, reservation.needs.skip_checks)
        if bad:
            wrong.append(f"machine {machine.name} shows what must not be there:")
            for finding in bad:
                wrong += [f"  {finding}", *(f"      | {line}" for line in finding.context)]
        skipped += [f"{machine.name}: {finding} ({reservation.needs.skip_checks[finding.rule]})" for finding in excused]
    return "\n".join(wrong), "\n".join(skipped)


def last_words(machine: Machine, ssh: str) -> str:
    """Return what helps most after a failure: last lines of the logs, where the rest is, how to log in."""
    lines = [machine.describe(), f"console, journal and config: {_relative(machine.artifacts)}"]
    lines.append(f"kept: {ssh}" if ssh else "to look into it yourself: run this test again with --keep-machines=failed")
    return "\n".join(lines)


def short_repr(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:
    """Return a failure without pytest's and kola's own frames: the test's line and the message."""
    entries = list(excinfo.traceback)
    begin = next((number for number, entry in enumerate(entries) if Path(entry.path) == item.path), None)
    if item.config.option.fulltrace:
        return item.repr_failure(excinfo)
    if begin is None:
        return str(excinfo.value)
    # Not by filtering excinfo.traceback: pytest's own filter cuts it anew, with the frames that were left out.
    shown = type(excinfo.traceback)(e for e in entries[begin:] if not Path(e.path).is_relative_to(_KOLA))
    style = item.config.option.tbstyle
    return excinfo.getrepr(
        style="long" if style == "auto" else style,
        showlocals=item.config.option.showlocals,
        tbfilter=lambda _: shown,
    )


def summary(reporter: Any, info: RunInfo, rates: list[str], bill: Sequence[str]) -> None:
    """Print what pytest's own summary does not know of."""
    for outcome, (_, _, word) in LETTERS.items():
        for report in reporter.stats.get(outcome.value, ()):
            reporter.write_sep("_", f"{word}: {report.nodeid}", yellow=True)
            first = report.sections[0][1] if outcome is Outcome.FLAKY and report.sections else ""
            for text in filter(None, (first, report.longreprtext, getattr(report, "wasxfail", ""))):
                reporter.write_line(text)
    for line in (*rates, *(f"{info.platform}: {line}" for line in bill)):
        reporter.write_line(line)
    reports = [report for reports in reporter.stats.values() for report in reports]
    kept = {value for report in reports for key, value in getattr(report, "user_properties", ()) if key == SSH}
    for line in sorted(kept):
        reporter.write_line(f"kept: {line}")
    if kept:
        reporter.write_line("kept machines end after 24 h, or with: kola gc")
    reporter.write_line(f"results: {_relative(info.output / 'results.json')}")


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
