"""One rule: a kind of trouble and how a log shows it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

KERNEL = "kernel"
"""Sender of what came through the kernel's log (``_TRANSPORT=kernel``); like the console it may hold anything."""

AUDIT = "audit"
"""Sender of audit records (``_TRANSPORT=audit``)."""


@dataclass(frozen=True)
class Rule:
    """One kind of trouble.

    Attributes:
        id: what ``skip_checks`` names.
        description: what it means when this rule finds something.
        hint: where a person looks next.
        needles: a line that matches holds at least one of these; they make a scan fast.
        patterns: regular expressions, one of which must be found in a line without colours and time stamp. From where
            it matches to the end of the line is what tells two findings of a rule apart.
        senders: who may say it in the journal, beside the kernel's log (a final ``*`` is a wildcard): a program that
            merely prints such words is not believed.
        context: number of lines after it that are shown.
        window: further matches within so many lines after it belong to the same event.
        minimum: fewer occurrences than this are harmless.
        where: the sources in which it is looked for.
    """

    id: str
    description: str
    hint: str
    needles: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    context: int = 0
    window: int = 0
    minimum: int = 1
    where: tuple[str, ...] = ("console", "journal")

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """All patterns as one."""
        return re.compile("|".join(self.patterns))

    def believes(self, sender: str) -> bool:
        """Say whether this rule listens to that sender of journal entries."""
        if sender == KERNEL:
            return True
        return any(sender.startswith(s[:-1]) if s.endswith("*") else sender == s for s in self.senders)
