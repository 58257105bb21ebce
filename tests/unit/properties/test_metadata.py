"""What a test in kola's format says of itself, in each of the three syntaxes."""

from __future__ import annotations

import json
from datetime import date
from functools import partial
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from kola.external.metadata import BOOT_FROM, HEAD, KEYS, Metadata, parse_executable, parse_folder
from tests.unit.properties.inputs import LINES, TEXT, WORDS, as_yaml, broken_yaml, structures, value_or_refusal

WHERE = r"test: (line \d+|not UTF-8: byte \d+)"
SELECTORS = st.builds(lambda no, words: no + " ".join(words), st.sampled_from(["", "!"]), st.lists(WORDS, max_size=3))
LISTS = st.lists(LINES, max_size=3)
FLAGS = st.booleans()
ALWAYS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("architectures", "platforms", "distros"), SELECTORS),
    "tags": st.lists(WORDS, max_size=4).map(" ".join),
    **dict.fromkeys(("requiredTag", "description"), LINES | TEXT),
    "timeoutMin": st.integers(1, 10**6),
    "creationDate": st.dates(min_value=date(1000, 1, 1)).map(date.isoformat) | st.just(""),
}
"""What every test may say."""
ALONE: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("additionalDisks", "bindMountHostRO"), LISTS),
    **dict.fromkeys(("primaryDisk", "appendKernelArgs", "appendFirstbootKernelArgs", "instanceType"), LINES),
    **dict.fromkeys(("minMemory", "minDisk", "additionalNics"), st.integers(0, 2**62)),
    **dict.fromkeys(("injectContainer", "numaNodes", "allowConfigWarnings", "noInstanceCreds"), FLAGS),
    "bootFrom": st.sampled_from(["", *BOOT_FROM]),
    "requiredHostPorts": st.lists(st.integers(1, 65535), max_size=3),
}
"""And one with a machine of its own."""
SHARED: dict[str, st.SearchStrategy[Any]] = {"conflicts": LISTS}
"""And one that shares it."""
STANZAS = (
    st.fixed_dictionaries({}, optional={**ALWAYS, **ALONE})
    | st.fixed_dictionaries({"exclusive": st.just(value=True)}, optional={**ALWAYS, **ALONE})
    | st.fixed_dictionaries({"exclusive": st.just(value=False)}, optional={**ALWAYS, **SHARED})
)


def executable(stanza: str) -> bytes:
    return f"#!/bin/bash\n{stanza}\ntrue\n".encode()


def commented(yaml: str) -> str:
    return "\n".join(["## kola:", *(f"## {line}" for line in yaml.rstrip("\n").split("\n"))])


def test_the_strategies_know_every_key() -> None:
    assert {*ALWAYS, *ALONE, *SHARED, "exclusive"} == set(KEYS.fields)


@given(STANZAS)
def test_the_three_syntaxes_say_the_same(values: dict[str, Any]) -> None:
    inline = parse_executable(executable(f"# kola: {json.dumps(values)}"), "test")
    assert isinstance(inline, Metadata)
    assert parse_executable(executable(commented(as_yaml(values))), "test") == inline
    assert parse_folder(json.dumps(values, indent=2, ensure_ascii=False).encode(), "test") == inline
    assert inline.exclusive is values.get("exclusive", True)
    assert inline.tags == tuple(values.get("tags", "").split())
    assert inline.description == values.get("description", "")
    assert inline.min_memory == values.get("minMemory", 0)
    assert inline.required_host_ports == tuple(values.get("requiredHostPorts", ()))


@given(structures(KEYS.fields))
def test_any_structure_is_taken_or_refused(value: Any) -> None:
    yaml = commented(as_yaml(value))
    texts = [executable(yaml)]
    if isinstance(value, dict):
        texts.append(executable(f"# kola: {json.dumps(value, default=str)}"))
    for text in texts:
        made = value_or_refusal(partial(parse_executable, text[: HEAD + 1], "test"), WHERE)
        assert made is None or isinstance(made, Metadata)


@given(broken_yaml(KEYS.fields) | TEXT)
@example(f"minMemory: {'9' * 5000}")
@example(f"minMemory: 0x{'9' * 5000}")
@example(f"requiredHostPorts: [{'9' * 5000}]")
def test_any_stanza_is_taken_or_refused(text: str) -> None:
    value_or_refusal(lambda: parse_executable(executable(commented(text)), "test"), WHERE)
    value_or_refusal(lambda: parse_executable(executable(f"# kola: {text}"), "test"), WHERE)


@given(st.binary(max_size=100) | st.binary(max_size=60).map(b"# kola: ".__add__) | TEXT.map(str.encode))
def test_any_bytes_are_taken_or_refused(text: bytes) -> None:
    value_or_refusal(lambda: parse_executable(text, "test"), WHERE)
    value_or_refusal(lambda: parse_folder(text, "test"), WHERE)


@given(st.text('ab\\u{}[]":, 019d8eE-.NaInfinity', max_size=20).map('{{"description": "x", "tags": {}}}'.format))
@example('{"description": "\\ud800"}')
@example('{"description": NaN}')
def test_json_is_json(text: str) -> None:
    """What is taken can be written in UTF-8 and read again by who is strict."""
    made = value_or_refusal(lambda: parse_folder(text.encode(), "test"), WHERE)
    if made is not None:
        assert "NaN" not in made.description
        " ".join((made.description, *made.tags)).encode()
