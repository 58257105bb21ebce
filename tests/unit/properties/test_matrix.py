"""The matrix: any text is taken or refused, and cells are what the file says."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kola import matrix
from kola.arch import ARCHES
from kola.matrix import Cadence, Choice, Runner
from kola.spec import FIRMWARES
from tests.unit.properties.inputs import TEXT, put_somewhere, value_or_refusal

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,8}", fullmatch=True)
LINES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=12)
ODD: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | TEXT | st.lists(TEXT, max_size=2) | st.sampled_from([{}, []])
)


def as_toml(value: Any) -> str:
    """Return a value in TOML's inline notation."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def document(value: dict[str, Any]) -> str:
    return "\n".join(f"{json.dumps(key)} = {as_toml(each)}" for key, each in value.items())


def some(values: st.SearchStrategy[str] | list[str]) -> st.SearchStrategy[list[str]]:
    strategy = st.sampled_from(values) if isinstance(values, list) else values
    return st.lists(strategy, min_size=1, max_size=3, unique=True)


@st.composite
def matrices(draw: st.DrawFn) -> dict[str, Any]:
    """A file with one group of cells, in which everything is."""
    streams, platforms, suites = draw(some(NAMES)), draw(some(NAMES)), draw(some(NAMES))
    paths = LINES.filter(lambda path: not path.startswith("-"))
    return {
        "streams": {name: {"image": draw(LINES)} for name in streams},
        "platforms": {name: draw(st.just({}) | st.just({"options": {"key": draw(LINES)}})) for name in platforms},
        "suites": {name: {"paths": draw(st.lists(paths, min_size=1, max_size=2))} for name in suites},
        "cells": [
            {
                "streams": streams,
                "platforms": platforms,
                "suites": suites,
                "arches": draw(some(list(ARCHES))),
                "firmware": draw(some(["default", *FIRMWARES])),
                "cadence": draw(st.sampled_from(list(Cadence))),
                "shards": draw(st.integers(1, 5)),
                "required": draw(st.booleans()),
                "timeout_min": draw(st.integers(1, 1000)),
            }
        ],
    }


@given(matrices())
def test_cells_are_the_product_and_have_names_of_their_own(value: dict[str, Any]) -> None:
    made = matrix.parse(document(value), "m.toml")
    (group,) = value["cells"]
    axes = ("streams", "platforms", "suites", "arches", "firmware")
    expected = 1
    for axis in axes:
        expected *= len(group[axis])
    assert len(made.cells) == expected
    jobs = made.jobs()
    assert len(jobs) == expected * group["shards"]
    names = [job.name for job in jobs]
    assert len(set(names)) == len(names)
    assert {cell.stream.image for cell in made.cells} == {each["image"] for each in value["streams"].values()}
    for job in (jobs[0], jobs[-1]):
        assert made.jobs(Choice(jobs=[job.name])) == (job,)
    for job in jobs:
        command = job.command("out")
        assert f"--run-name={job.name}" in command
        assert (f"--platform={job.cell.platform.driver}" in command) == (job.cell.runner is Runner.PYTEST)


@given(matrices())
def test_shards_cover_everything_once(value: dict[str, Any]) -> None:
    for cell in matrix.parse(document(value), "m.toml").cells:
        shards = [word for job in cell.jobs for word in job.arguments if word.startswith("--sharding=")]
        total = value["cells"][0]["shards"]
        assert shards == ([] if total == 1 else [f"--sharding=hash:{n}/{total}" for n in range(1, total + 1)])


@given(matrices(), ODD, st.data())
def test_one_odd_value_is_taken_or_refused(value: dict[str, Any], odd: Any, data: st.DataObject) -> None:
    put_somewhere(value, odd, data)
    made = value_or_refusal(lambda: matrix.parse(document(value), "m.toml"), r"m\.toml: ")
    if made is not None:
        assert all("\0" not in word for job in made.jobs() for word in job.command("out"))


@given(TEXT)
def test_any_text_is_refused_in_one_line(text: str) -> None:
    assert value_or_refusal(lambda: matrix.parse(text, "m.toml"), r"m\.toml: ") is None
