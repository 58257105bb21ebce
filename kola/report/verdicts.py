"""What ``kola gate`` has said of a build, for the page: its verdict as JSON (docs/gate.md), read again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from kola.document import Document
from kola.errors import ConfigError
from kola.gate.show import SCHEMA

RELEASE, HOLD = "release", "hold"
MOST_LINES = 100


@dataclass(frozen=True)
class Answer:
    """A verdict.

    Attributes:
        stream, build: what was judged.
        phase: the step that it was about.
        word: ``RELEASE`` or ``HOLD``.
        time: when, in unix seconds.
        reasons: what holds the release, a line each.
        waived: what somebody answers for, likewise.
        informing: what is wrong and holds nothing.
        notes: what else is to be known, such as that only a part of the cells was asked for.
        passed: number of cells that are as they should be, of ``cells``.
    """

    stream: str
    build: str
    phase: str
    word: str
    time: float
    reasons: tuple[str, ...]
    waived: tuple[str, ...]
    informing: tuple[str, ...]
    notes: tuple[str, ...]
    passed: int
    cells: int

    @property
    def holds(self) -> bool:
        """Whether the release is held."""
        return self.word != RELEASE

    @property
    def sections(self) -> tuple[tuple[str, tuple[str, ...], int], ...]:
        """Titles and lines that there are to show, and how many are not shown."""
        titled = (
            ("Holds the release", self.reasons),
            ("Waived", self.waived),
            ("Informs", self.informing),
            ("Notes", self.notes),
        )
        return tuple((title, lines[:MOST_LINES], max(0, len(lines) - MOST_LINES)) for title, lines in titled if lines)


def parse_verdict(text: bytes, source: str) -> Answer:
    """Read a verdict.

    Args:
        text: as ``kola gate --json`` prints it, or ``--verdict`` writes it.
        source: names it in messages.

    Raises:
        ConfigError: it is none, of another schema, or contradicts itself.
    """
    document = Document.parse(text, source)
    schema = document.need("schema").of(int, "a number").value
    if schema != SCHEMA:
        raise ConfigError(f"{source}: schema {schema} is not known; expected {SCHEMA}")
    word, reasons = document.text("verdict"), _lines(document, "reasons")
    if word not in {RELEASE, HOLD} or (word == RELEASE) != (not reasons):
        raise ConfigError(
            f"{source}: verdict '{word}' with {len(reasons)} reasons; expected {RELEASE}, or {HOLD} and why"
        )
    cells = document.need("cells").items()
    return Answer(
        stream=document.text("stream"),
        build=document.text("build"),
        phase=document.text("phase"),
        word=word,
        time=float(document.need("time").of((int, float), "a number").value),
        reasons=reasons,
        waived=_lines(document, "waived"),
        informing=_lines(document, "informing"),
        notes=tuple(str(note.of(str, "a string").value) for note in document.need("notes").items()),
        passed=sum(cell.text("state") in {"passed", "waived"} for cell in cells),
        cells=len(cells),
    )


def _lines(document: Document, key: str) -> tuple[str, ...]:
    return tuple(
        f"{found.text('code')}: {found.text('subject')}: {found.text('text')}{_waiver(found)}"
        for found in document.need(key).items()
    )


def _waiver(found: Document) -> str:
    waiver = found.get("waiver")
    if waiver is None:
        return ""
    reason, *more = (waiver.text(key) for key in ("reason", "owner", "tracker", "expires"))
    return f" -- {reason} ({more[0]}, {more[1]}, until {more[2]})"
