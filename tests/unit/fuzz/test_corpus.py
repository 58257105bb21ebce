"""Every input of the corpus is refused with one clean line; new ones are taken or refused, but never crash."""

from __future__ import annotations

import contextlib
import json

import pytest

from kola.errors import ConfigError
from tests.unit.fuzz.corpus import CORPUS, PARSERS, Broken, broken

KEPT = [Broken(**entry) for entry in json.loads(CORPUS.read_text())]


def test_the_corpus_is_large_enough() -> None:
    assert len(KEPT) >= 200
    assert {one.parser for one in KEPT} == set(PARSERS)


@pytest.mark.parametrize("one", KEPT, ids=lambda one: one.parser)
def test_refused_with_one_line(one: Broken) -> None:
    with pytest.raises(ConfigError) as caught:
        PARSERS[one.parser][0](one.text)
    message = str(caught.value)
    assert message.startswith("input: "), message
    assert "\n" not in message
    assert len(message) <= ConfigError.LONGEST


@pytest.mark.parametrize("name", PARSERS)
def test_right_input_is_taken(name: str) -> None:
    parser, text = PARSERS[name]
    assert parser(text) is not None


@pytest.mark.parametrize("name", PARSERS)
def test_never_crashes(name: str) -> None:
    parser, text = PARSERS[name]
    for seed in range(5000, 5300):
        with contextlib.suppress(ConfigError):
            parser(broken(text, seed))
