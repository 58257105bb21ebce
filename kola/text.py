"""Making the output of a machine fit for a failure message. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_TERMINAL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor movement
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # window titles, systemd's OSC 3008 contexts
    r"|\x1b[PX^_][^\x1b]*\x1b\\"  # device control and other strings
    r"|\x1b[ -/]*[0-~]"  # character sets, resets
    r"|[\x00-\x08\x0b-\x1f\x7f]"
)
"""Escape sequences and control characters other than tab and newline (ECMA-48)."""


def strip_terminal(text: str) -> str:
    """Remove what only a terminal understands: escape sequences, carriage returns, control characters."""
    return _TERMINAL.sub("", text)


def one_line(text: str) -> str:
    """Return a text of strangers as one line that a terminal only shows: what cannot be printed is a replacement."""
    words = " ".join(strip_terminal(text).split())
    return "".join(char if char.isprintable() else "\ufffd" for char in words)


def last_lines(text: str, count: int) -> list[str]:
    """Return the last ``count`` lines that are not blank, fit for a person."""
    # A line on a serial console is far below 4 KiB: there is no need to clean megabytes of it.
    lines = strip_terminal(text[-4096 * count :]).splitlines()
    return [line.rstrip() for line in lines if line.strip()][-count:] if count else []


def cut_middle(text: str, limit: int) -> str:
    """Return the text, or its two ends with a note of how many bytes (UTF-8) between them are not shown.

    Args:
        text: what to shorten.
        limit: number of characters that are always shown in full.
    """
    if len(text) <= limit:
        return text
    head, tail = text[: limit // 2], text[len(text) - limit // 2 :]
    left_out = len(text[limit // 2 : len(text) - limit // 2].encode())
    return f"{head}\n[... {left_out} bytes not shown ...]\n{tail}"


def block(title: str, text: str) -> str:
    """Return an indented paragraph under a title; says so when there is nothing."""
    if not text.strip():
        return f"  {title}: (empty)"
    return "\n".join([f"  {title}:", *(f"    | {line}" for line in text.rstrip().splitlines())])


def some(names: Iterable[str], most: int = 5) -> str:
    """Return the first of some names, and how many more there are."""
    known = list(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return (", ".join(known[:most]) or "none") + more
