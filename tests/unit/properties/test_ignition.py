"""Ignition configs: reading, writing, merging."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from kola import ignition
from kola.ignition import VERSIONS, Config, merge, parse, serialise
from kola.ignition.schema import CONFIG
from kola.ignition.shapes import Tree
from tests.unit.properties.inputs import LINES, SCALARS, TEXT, keys_of, put_somewhere, structures, value_or_refusal

NAMES = st.sampled_from(["a", "b"])
KEYS = keys_of(CONFIG)
FLAGS = st.booleans()
IDS = st.integers(0, 65535)
CONTENTS = st.sampled_from(["data:,", "data:,x", "https://example.com/a"]).map(lambda url: {"source": url})
MODES = st.sampled_from([0o600, 0o644, 0o755])


def entries(
    key: str, form: str, required: Tree | None = None, *, least: int = 0, **optional: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    """A list of objects, each of a name of its own; by those names lists are merged."""
    always = {key: NAMES.map(form.format), **{name: st.just(value) for name, value in (required or {}).items()}}
    entry = st.fixed_dictionaries(always, optional=optional)
    return st.lists(entry, min_size=least, max_size=2, unique_by=lambda made: made[key])


def sections(**optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=optional)


UNIQUE = st.lists(st.sampled_from("xyz"), max_size=3, unique=True)
OWNERS = st.fixed_dictionaries({"id": IDS})
TREES = st.fixed_dictionaries(
    {
        "ignition": st.fixed_dictionaries({"version": st.sampled_from(VERSIONS[3:])}),
        # In all of them, so that most pairs have something in common.
        "passwd": st.fixed_dictionaries(
            {"users": entries("name", "user-{}", least=1, uid=IDS, gecos=LINES, groups=UNIQUE, system=FLAGS)},
            optional={"groups": entries("name", "group-{}", gid=IDS, system=FLAGS)},
        ),
    },
    optional={
        "storage": sections(
            files=entries("path", "/etc/file-{}", mode=MODES, contents=CONTENTS, user=OWNERS, group=OWNERS),
            directories=entries("path", "/var/directory-{}", mode=MODES, overwrite=FLAGS),
            links=entries("path", "/opt/link-{}", {"target": "/usr/bin/true"}, overwrite=FLAGS),
            luks=entries("name", "luks-{}", {"device": "/dev/vdb"}, wipeVolume=FLAGS),
        ),
        "systemd": sections(
            units=entries(
                "name", "unit-{}.service", mask=FLAGS, contents=st.just("[Service]\nExecStart=true\n"),
                dropins=entries("name", "1-{}.conf", contents=st.sampled_from(["[Unit]\n", "[Service]\nNice=1\n"])),
            )
        ),
        "kernelArguments": sections(shouldExist=UNIQUE),
    },
)  # fmt: skip
"""Right configs of which any two are right together. No path is a file here and a link there, and no list has entries
without a name: neither can be merged twice to the same end, in Ignition as here."""


def config(tree: dict[str, Any]) -> Config:
    return parse(json.dumps(tree), "config")


CONFIGS = TREES.map(config)


@given(CONFIGS)
def test_what_is_written_is_read(one: Config) -> None:
    again = parse(serialise(one), "config")
    assert again == one
    assert serialise(again) == serialise(one)


@given(TREES)
def test_nothing_means_the_same_as_absence(tree: dict[str, Any]) -> None:
    padded = {**tree, "passwd": {"users": None, **tree.get("passwd", {})}, "storage": tree.get("storage")}
    assert config(padded).tree.get("storage") == config(tree).tree.get("storage")
    assert config(padded).tree["passwd"] == tree.get("passwd", {})


@given(CONFIGS)
def test_a_config_over_itself_is_itself(one: Config) -> None:
    assert merge(one, one).tree == one.tree


@given(CONFIGS)
def test_nothing_over_or_below_a_config_changes_it(one: Config) -> None:
    nothing = ignition.empty()
    assert merge(one, nothing).tree == one.tree
    assert merge(nothing, one).tree == one.tree


@given(CONFIGS, CONFIGS, CONFIGS)
def test_it_does_not_matter_which_two_of_three_are_merged_first(a: Config, b: Config, c: Config) -> None:
    assert merge(merge(a, b), c).tree == merge(a, merge(b, c)).tree


@given(CONFIGS, CONFIGS)
def test_the_child_wins_and_nothing_is_lost(parent: Config, child: Config) -> None:
    merged = merge(parent, child)
    assert merged.version == max(parent.version, child.version)
    for section, kind, key in (("storage", "files", "path"), ("systemd", "units", "name"), ("passwd", "users", "name")):
        of = [{e[key]: e for e in c.tree.get(section, {}).get(kind, [])} for c in (parent, child, merged)]
        assert set(of[2]) == {*of[0], *of[1]}
        for name, entry in of[2].items():
            for member in ("mode", "mask", "uid", "gecos", "system"):
                expected = of[1].get(name, {}).get(member, of[0].get(name, {}).get(member))
                assert entry.get(member) == expected


@given(CONFIGS)
def test_the_version_that_is_needed_is_enough_and_no_less_is(one: Config) -> None:
    needed = ignition.required_version(one)
    for version in VERSIONS:
        made = value_or_refusal(partial(config, {**one.tree, "ignition": {"version": version}}), "config: ")
        assert (made is not None) is (VERSIONS.index(version) >= VERSIONS.index(needed))


@given(structures(KEYS) | st.dictionaries(st.sampled_from(sorted(CONFIG.fields)), structures(KEYS)))
def test_any_structure_is_taken_or_refused(value: Any) -> None:
    if isinstance(value, dict):
        value["ignition"] = {"version": "3.4.0"}
    text = json.dumps(value, default=str)
    for lenient in (False, True):
        value_or_refusal(partial(parse, text, "config", allow_warnings=lenient), "config: ")


@given(TREES, SCALARS | structures(KEYS), st.data())
def test_a_right_config_with_something_else_in_one_place(tree: dict[str, Any], other: Any, data: st.DataObject) -> None:
    put_somewhere(tree, other, data)
    text = json.dumps(tree, default=str)
    value_or_refusal(lambda: parse(text, "config"), "config: ")


@given(TEXT | st.binary(max_size=60) | st.text('{}[]",:\\u0dc8eE-+. ntf', max_size=30))
@example('{"ignition": {"version": "3.4.0"}, "passwd": {"users": [{"name": "a", "uid": ' + "9" * 5000 + "}]}}")
def test_any_text_is_taken_or_refused(text: str | bytes) -> None:
    value_or_refusal(lambda: parse(text, "config"), "config: ")
