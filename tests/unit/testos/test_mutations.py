"""Each mutation can be planned, says what it expects, and stands in the table."""

import re
from pathlib import Path

import pytest
from builder.plan import plan
from builder.variants import releases, with_variant

TESTS = Path(__file__).parents[2]
MUTATIONS = TESTS / "mutations"
NAMES = sorted(path.name for path in MUTATIONS.iterdir() if path.is_dir())


@pytest.mark.parametrize("name", NAMES)
def test_it_changes_a_release_and_says_what_must_turn_red(name: str) -> None:
    series = with_variant(releases(), str(MUTATIONS / name))
    assert plan(series)[-1].key != plan(releases())[-1].key
    text = (MUTATIONS / name / "expected.md").read_text()
    found = dict(re.findall(r"^(Bug|Suite|Must turn red|Must stay green): (.+)$", text, re.MULTILINE))
    assert len(found) == 4, f"only {sorted(found)}"
    assert (TESTS / "external" / found["Suite"]).is_dir()


def test_the_table_has_each_of_them() -> None:
    rows = re.findall(r"^\| ([a-z-]+) \| \w+ \|", (MUTATIONS / "README.md").read_text(), re.MULTILINE)
    assert sorted(set(rows) - {"mutation"}) == NAMES


@pytest.mark.parametrize("suite", ["ignition", "selinux", "containers", "upgrade"])
def test_each_suite_has_three(suite: str) -> None:
    assert sum(name.startswith(f"{suite}-") for name in NAMES) >= 3
