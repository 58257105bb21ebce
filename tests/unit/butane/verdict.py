"""Compares the translator with what Butane said of a config."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from kola import butane, ignition
from kola.errors import ConfigError
from tests.unit.butane.compare import meaning
from tests.unit.butane.configs import FILES

if TYPE_CHECKING:
    from tests.unit.butane.oracle import Answer

STRICTER = re.compile(
    r"is not a name|must not be empty|is neither a section nor|stands before the first section|must not be negative"
    r"|\.(name|target): required, but missing|merge\[\d+\]\.source: required, but missing|nothing is given"
)
"""Where ``kola.ignition`` refuses what Ignition takes and fails with later, and null in the place of a section."""
LENIENT = re.compile(r"context tree does not match|unused key <<|skipping validation for the merge/replace")
"""Warnings of Butane about itself: it loses track of aliases, merge keys, and inner configs of other versions."""


def verdict(config: str, *, allow_warnings: bool = False) -> tuple[Any, str]:
    """Return what the translator made, as ``meaning`` sees it, or None; and its message."""
    try:
        made = butane.translate(config, "x.bu", files=FILES, allow_warnings=allow_warnings)
    except ConfigError as e:
        return None, str(e)
    return meaning(json.loads(ignition.serialise(made))), ""


def difference(answer: Answer) -> str:
    """Say where the translator and Butane disagree, strict and lenient; empty if nowhere."""
    accepted = bool(answer.ignition)
    warnings = [line for line in answer.warnings.splitlines() if not LENIENT.search(line)]
    for allow_warnings, wanted in ((False, accepted and not warnings), (True, accepted)):
        made, message = verdict(answer.config, allow_warnings=allow_warnings)
        if wanted and made is None and STRICTER.search(message):
            continue
        if wanted != (made is not None):
            return (
                f"butane says {answer.ignition or 'no'} {answer.warnings}, we say {message or made}:\n{answer.config}"
            )
        if wanted and made != meaning(json.loads(answer.ignition)):
            return f"butane makes {meaning(json.loads(answer.ignition))}, we make {made}:\n{answer.config}"
    return ""
