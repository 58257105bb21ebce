"""Names, messages and logs that try to be more than text."""

from __future__ import annotations

from pathlib import Path

from kola.results import Outcome
from tests.unit.report.nightly import TARGETS, End, Nightly

BREAKERS = (
    "<script>window.owned=1</script>",
    "</script><img src=x onerror=window.owned=1>",
    "\"'><svg onload=window.owned=1>",
    "--><!-- </style></title></textarea><b>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;script&gt;&amp;amp;",
    "javascript:window.owned=1",
)
NAME = "test_x[" + "-".join(BREAKERS) + "]"
SECRET = "hunter2-hunter2"  # noqa: S105 - to be looked for


def write_hostile(folder: Path) -> Path:
    """Write a run in which everything that a test or a guest can choose is hostile, and tells a secret."""
    text = "\n".join([*BREAKERS, f"password={SECRET}", "\x1b]0;title\x07\x00\ud800"])
    end = End(
        Outcome.FAILED,
        f"AssertionError: {' '.join(BREAKERS)} token: https://u:{SECRET}@example.com/",
        f"E   {text}",
        log=tuple((3, breaker, f"{breaker} password={SECRET}") for breaker in BREAKERS),
        console=(*BREAKERS, f"password={SECRET}"),
    )
    flaky = End(Outcome.FLAKY, end.reason, first=f"E   {text}\nE   {end.reason}")
    hostile = Nightly(folder, stream=BREAKERS[0] + "testing", lines=2)
    suite = "basic"
    names = (NAME, f"{NAME}2 password={SECRET}", f"{NAME}3 password={SECRET}")
    skipped = End(Outcome.SKIPPED, end.reason)
    return hostile.run(0, TARGETS[0], suite, {names[0]: end, names[1]: flaky, names[2]: skipped}, names=names)
