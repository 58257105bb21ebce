"""Butane configs: what is right becomes an Ignition config that is right, anything else is refused."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from kola import butane, ignition
from kola.butane.schema import IGNITION_MINORS, VERSIONS, shape_of
from tests.unit.butane.generator import Generator
from tests.unit.properties.inputs import (
    LINES,
    TEXT,
    as_yaml,
    broken_yaml,
    keys_of,
    put_somewhere,
    structures,
    value_or_refusal,
)

WHERE = r"x\.bu: "
HEAD = "variant: fcos\nversion: 1.6.0\n"
NAMES = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=6)
FLAGS = st.booleans()
OWNERS = st.fixed_dictionaries({}, optional={"id": st.integers(0, 65535)})
MODES = st.sampled_from([0o600, 0o644, 0o755])
UNITS = st.text("abc \n=[]#", max_size=20).map(lambda text: f"[Service]\nExecStart=true\n# {text!r}\n")


KEYS = keys_of(shape_of(VERSIONS[-1]))


def several(named: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A list of objects that differ in the first of their members."""
    first = next(iter(named))
    return st.lists(st.fixed_dictionaries(named, optional=optional), max_size=3, unique_by=lambda entry: entry[first])


CONFIGS = st.fixed_dictionaries(
    {"variant": st.just("fcos"), "version": st.sampled_from(VERSIONS)},
    optional={
        "storage": st.fixed_dictionaries(
            {},
            optional={
                "files": several(
                    {"path": NAMES.map("/etc/{}".format)}, mode=MODES, user=OWNERS,
                    contents=st.fixed_dictionaries({"inline": TEXT}),
                ),
                "directories": several({"path": NAMES.map("/var/{}".format)}, mode=MODES, group=OWNERS),
                "links": several({"path": NAMES.map("/opt/{}".format), "target": st.just("/usr/x")}, overwrite=FLAGS),
            },
        ),
        "systemd": st.fixed_dictionaries(
            {"units": several({"name": NAMES.map("{}.service".format)}, mask=FLAGS, contents=UNITS)}
        ),
        "passwd": st.fixed_dictionaries(
            {"users": several({"name": NAMES}, uid=st.integers(0, 65535), gecos=LINES, system=FLAGS)}
        ),
    },
)  # fmt: skip
"""Right ones, of what every version has."""


@given(CONFIGS)
def test_what_is_right_becomes_what_is_right(config: dict[str, Any]) -> None:
    made = butane.translate(as_yaml(config), "x.bu")
    assert made.version == f"3.{IGNITION_MINORS[config['version']]}.0"
    assert ignition.parse(ignition.serialise(made), "x.bu") == made
    for section, kind, members in (
        ("storage", "files", ("path", "mode", "user")),
        ("storage", "links", ("path", "target", "overwrite")),
        ("systemd", "units", ("name", "mask", "contents")),
        ("passwd", "users", ("name", "uid", "gecos", "system")),
    ):
        written = config.get(section, {}).get(kind, [])
        read = made.tree.get(section, {}).get(kind, [])
        assert [[e.get(m) for m in members] for e in read] == [[e.get(m) for m in members] for e in written]


@given(st.integers(0, 10**9))
def test_a_generated_config_is_right_or_refused(seed: int) -> None:
    """Of the generator that the answers of Butane were written down for, which makes mistakes on purpose."""
    text = Generator(seed).config()
    for lenient in (False, True):
        made = value_or_refusal(partial(butane.translate, text, "x.bu", allow_warnings=lenient), WHERE)
        if made is not None:
            assert ignition.parse(ignition.serialise(made), "x.bu", allow_warnings=lenient) == made


@given(st.dictionaries(st.sampled_from(sorted(shape_of(VERSIONS[-1]).fields)), structures(KEYS)) | structures(KEYS))
def test_any_structure_is_taken_or_refused(value: Any) -> None:
    if isinstance(value, dict):
        value = {**value, "variant": "fcos", "version": "1.6.0"}
    text = as_yaml(value)
    for lenient in (False, True):
        value_or_refusal(partial(butane.translate, text, "x.bu", allow_warnings=lenient), WHERE)


@given(CONFIGS, structures(KEYS), st.data())
def test_a_right_config_with_something_else_in_one_place(
    config: dict[str, Any], other: Any, data: st.DataObject
) -> None:
    put_somewhere(config, other, data)
    value_or_refusal(lambda: butane.translate(as_yaml(config), "x.bu"), WHERE)


@given(broken_yaml(KEYS) | TEXT | st.binary(max_size=60))
@example("passwd:\n  users: [{name: a, uid: " + "9" * 5000 + "}]")
@example("passwd:\n  users: [{name: a, uid: 0x" + "f" * 5000 + "}]")
@example('storage: {files: [{path: /a, contents: {inline: "\\ud800"}}]}')
def test_any_text_is_taken_or_refused(text: str | bytes) -> None:
    value_or_refusal(lambda: butane.translate(text, "x.bu"), WHERE)
    if isinstance(text, str):
        value_or_refusal(lambda: butane.translate(HEAD + text, "x.bu"), WHERE)
