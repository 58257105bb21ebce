"""Patterns and shares: which tests are chosen."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kola.errors import ConfigError
from kola.external.choice import Choice
from kola.external.glob import matches
from kola.external.sharding import Shard, fnv1
from tests.unit.properties.gomatch import BadPatternError, go_match
from tests.unit.properties.inputs import value_or_refusal

PIECES = st.sampled_from([*"ab/.*?[]^-\\", "[^", "a-c", "[a-b]", "\\*", "é", "\n"])
PATTERNS = st.lists(PIECES, max_size=8).map("".join)
NAMES = st.text("abc/.*-]^é\n", max_size=8)
FILE_NAMES = st.binary(max_size=20).map(os.fsdecode)
"""Not all of them are UTF-8."""


@given(PATTERNS, NAMES)
@example("[^z-a]", "/")
@example("*", "a/b")
def test_a_pattern_matches_what_go_says(pattern: str, name: str) -> None:
    try:
        expected = go_match(pattern, name)
    except BadPatternError:
        with pytest.raises(ConfigError, match="is not a pattern"):
            matches(pattern, name)
    else:
        assert matches(pattern, name) is expected


@given(NAMES)
def test_a_name_with_everything_quoted_matches_itself_alone(name: str) -> None:
    quoted = "".join(f"\\{c}" for c in name)
    assert matches(quoted, name)
    assert not matches(quoted, f"{name}a")


@given(FILE_NAMES, st.integers(1, 50))
def test_every_test_is_in_one_share(name: str, total: int) -> None:
    assert [Shard(number, total).has(name) for number in range(1, total + 1)].count(True) == 1


@given(st.binary(max_size=40))
def test_fnv1_is_its_definition(data: bytes) -> None:
    """Multiply by the prime, then xor the byte, in 64 bits."""
    expected = 14695981039346656037
    for byte in data:
        expected = expected * 1099511628211 % 2**64 ^ byte
    assert fnv1(data) == expected


@given(st.integers(1, 10**9 - 1), st.integers(1, 10**9 - 1))
def test_a_share_is_read_as_it_is_written(number: int, total: int) -> None:
    text = f"hash:{number}/{total}"
    if number <= total:
        assert Shard.parse(text) == Shard(number, total)
    else:
        with pytest.raises(ConfigError):
            Shard.parse(text)


@given(
    st.text(max_size=20) | st.from_regex(r"\Ahash:\d*/?\d*\Z") | st.integers(1, 6000).map(lambda n: f"hash:1/{'9' * n}")
)
def test_any_other_text_is_no_share(text: str) -> None:
    share = value_or_refusal(lambda: Shard.parse(text), r"--sharding '")
    if share is not None:
        assert re.fullmatch(f"hash:0*{share.number}/0*{share.total}", text)


@given(st.lists(FILE_NAMES, max_size=5, unique=True), st.integers(1, 4))
def test_the_shares_of_a_choice_are_all_of_it(names: list[str], total: int) -> None:
    kept = [
        name
        for number in range(1, total + 1)
        for name in names
        if not Choice(shard=Shard(number, total)).why_not_by_name(name)
    ]
    assert sorted(kept) == sorted(names)
