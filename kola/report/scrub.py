"""Secrets that a guest or a test may have printed: what looks like one does not get into the page. Pure.

Ignition configs are without secrets before they are kept (``kola.ignition.redaction``); this is about logs and
messages, where a secret has no fixed place. It knows shapes: a password that looks like any other word it cannot know.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PLACEHOLDER = "[redacted]"

MOST_LINES = 200
"""Lines of a private key at the most: where its end is missing, the rest of the log is not all taken for one."""

_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_IN_ONE_LINE = re.compile(rf"({_BEGIN.pattern}).*?({_END.pattern}|$)")
_QUOTE = r"(?:\\{0,8}[\"'])"
"""Also of JSON inside of a string, once or twice."""
_NAMES = (
    r"(?:password|passwd|passphrase|password[_-]?hash|secret(?:[_-]?(?:access[_-]?)?key)?|api[_-]?key"
    r"|(?:access|session|auth|refresh)[_-]?token|client[_-]?secret|private[_-]?key)"
)
_VALUE = rf"(?:(?P<quote>{_QUOTE})(?!(?P=quote))[^\n]+?(?:(?<!\\)(?P=quote)|$)|[^\s\"',;&]+)"
"""In quotes up to the same ones, or up to where the line was cut; else a word."""
# A guest chooses the lines: none of these may look at one character again from every place before it.
_SHAPES = (
    (re.compile(r"\$(?:1|2[abxy]?|5|6|7|y|gy|argon2\w*|scrypt)\$[./A-Za-z0-9$=,+]{8,}"), PLACEHOLDER),  # crypt(5)
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), PLACEHOLDER),  # AWS access key ids
    # JSON web tokens, with what they are glued to
    (re.compile(r"(?<![\w-])(?=(?:[\w-]*?[_-])?eyJ[\w-]{8})[\w-]+\.[\w-]{8,}\.[\w-]*"), PLACEHOLDER),
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|ya29\.)[\w.-]{16,}"), PLACEHOLDER),
    (
        re.compile(rf"(?i)\b((?:proxy-)?authorization{_QUOTE}?\s*[:=]\s*{_QUOTE}?(?:\w+\s+)?)[^\s\"',\\]{{4,}}"),
        rf"\1{PLACEHOLDER}",
    ),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{16,}"), rf"\1{PLACEHOLDER}"),
    (re.compile(r"\b([a-z][a-z0-9+.-]{0,30}://[^\s/:@]*:)[^\s/@]+(?=@)"), rf"\1{PLACEHOLDER}"),  # user:password@
    (
        re.compile(r"(?i)([?&](?:x-amz-(?:signature|credential|security-token)|sig|sv|signature|token)=)[^&\s\"']+"),
        rf"\1{PLACEHOLDER}",
    ),
    (
        re.compile(
            rf"(?i)((?:(?:\b|_)(?:{_NAMES}{_QUOTE}?\s*[:=]|token(?:{_QUOTE}\s*[:=]|=))|-token\s*[:=])\s*){_VALUE}"
        ),
        rf"\1{PLACEHOLDER}",
    ),
    (re.compile(rf"(?i)(--(?:{_NAMES}|token)(?:{_QUOTE},\s*|\s+)(?!-)){_VALUE}"), rf"\1{PLACEHOLDER}"),
)


class Keys:
    """Follows a log line by line and says which lines are the inside of a private key.

    Args:
        inside: whether the first line is.
    """

    def __init__(self, *, inside: bool = False) -> None:
        self._left = MOST_LINES if inside else 0

    @classmethod
    def at(cls, lines: Iterable[str]) -> Keys:
        """Begin at the first of these lines, which may be in the middle of a key: then its end comes first."""
        first = itertools.islice(lines, MOST_LINES)
        ends = (match.re for line in first if (match := _BEGIN.search(line) or _END.search(line)))
        return cls(inside=next(ends, None) is _END)

    def hides(self, line: str) -> bool:
        """Return whether the next line must not be shown; those with the beginning and the end of a key may."""
        if "PRIVATE KEY" in line and (ends := [*_BEGIN.finditer(line), *_END.finditer(line)]):
            last = max(ends, key=lambda match: match.start())
            self._left = MOST_LINES if last.re is _BEGIN else 0
            return False
        self._left = max(0, self._left - 1)
        return self._left > 0


def without_keys(lines: Sequence[str]) -> list[str]:
    """Return as many lines, without the insides of private keys; the first line may be in the middle of one."""
    keys = Keys.at(lines)
    return [PLACEHOLDER if keys.hides(line) else line for line in lines]


def scrub_line(line: str) -> str:
    """Return a line without what looks like a secret by itself."""
    line = _IN_ONE_LINE.sub(rf"\1 {PLACEHOLDER} \2", line) if "PRIVATE KEY" in line else line
    line = _before_end(line)
    for shape, instead in _SHAPES:
        line = shape.sub(instead, line)
    return line


def scrub(text: str) -> str:
    """Return a text without what looks like a private key, a password hash, a token or a password."""
    return "\n".join(scrub_line(line) for line in without_keys(text.split("\n")))


def _before_end(line: str) -> str:
    """Leave out what stands before the end of a key that began in an earlier line."""
    end = _END.search(line)
    return line if end is None or _BEGIN.search(line) else f"{PLACEHOLDER} {line[end.start() :]}"
