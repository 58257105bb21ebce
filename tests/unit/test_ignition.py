"""Ignition configs: verdicts and merges against those of the real implementation, versions.

``data/ignition/configs.json`` and ``merges.json`` are our own configs with the answers of Ignition 2.24.0
(``ignition-validate`` and its Go package). For each config: ``ignition`` is its verdict, ``kola`` and ``lenient`` (with
``allow_warnings``) are ours, ``says`` is how our message begins.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from kola import ignition
from kola.errors import ConfigError
from kola.ignition_validate import validate_with_tool
from tests.unit.ignition_configs import INSTALLABLE, config

DATA = Path(__file__).parent / "data" / "ignition"
CONFIGS = json.loads((DATA / "configs.json").read_text())
MERGES = json.loads((DATA / "merges.json").read_text())
# Where we refuse what Ignition accepts even in silence; each is named in the docstring of ``parse`` by its kind.
STRICTER = {
    "key twice",
    "key in another case",
    "url 'http://'",
    "url 's3://'",
    "url 'http:x'",
    "hash not hexadecimal",
    "merge without source in 3.0",
    "partition number negative",
    "link without target",
    "unit with slash",
    "unit contents no section",
    "unit contents no key",
    "user without name",
    "user with a colon",
    "ssh key of two lines",
}


def text_of(entry: dict[str, Any]) -> str:
    return entry["config"] if isinstance(entry["config"], str) else json.dumps(entry["config"])


def verdict(text: str, *, allow_warnings: bool = False) -> tuple[str, str]:
    try:
        ignition.parse(text, "x.ign", allow_warnings=allow_warnings)
    except ConfigError as e:
        return "error", str(e)
    return "ok", ""


@pytest.mark.parametrize("entry", CONFIGS, ids=lambda entry: entry["name"])
def test_verdict(entry: dict[str, Any]) -> None:
    assert (entry["kola"], entry["lenient"]) == (
        verdict(text_of(entry))[0],
        verdict(text_of(entry), allow_warnings=True)[0],
    )
    message = verdict(text_of(entry))[1]
    assert "\n" not in message
    if entry["kola"] == "error":
        assert message.startswith(f"x.ign: {entry['says']}")


@pytest.mark.parametrize("entry", CONFIGS, ids=lambda entry: entry["name"])
def test_verdict_agrees_with_ignition(entry: dict[str, Any]) -> None:
    expected = {"ok": ("ok", "ok"), "warning": ("error", "ok"), "error": ("error", "error")}.get(entry["ignition"])
    if expected is None:
        # Ignition 2.24.0 knows up to 3.5.0, we know one more.
        known = entry["config"]["ignition"]["version"] == "3.6.0"
        expected = ("ok", "ok") if known else ("error", "error")
    if entry["name"] in STRICTER:
        assert (entry["kola"], entry["lenient"]) == ("error", "error")
        assert entry["ignition"] in {"ok", "warning"}
    elif entry["name"] == "nulls":
        # Its warning is about line numbers, not about the config.
        assert (entry["kola"], entry["lenient"]) == ("ok", "ok")
    else:
        assert (entry["kola"], entry["lenient"]) == expected


@pytest.mark.skipif(shutil.which("ignition-validate") is None, reason="ignition-validate is not installed")
def test_whatever_we_accept_the_installed_tool_accepts() -> None:
    for entry in CONFIGS:
        if entry["kola"] == "ok":
            validate_with_tool(text_of(entry).encode(), entry["name"])


@pytest.mark.parametrize("entry", MERGES, ids=lambda entry: entry["name"])
def test_merge_gives_what_ignition_gives(entry: dict[str, Any]) -> None:
    parent, child = (ignition.parse(json.dumps(entry[which]), which) for which in ("parent", "child"))
    before = ignition.serialise(parent), ignition.serialise(child)
    if entry["valid"]:
        assert _said(ignition.merge(parent, child).tree) == entry["merged"]
    else:
        with pytest.raises(ConfigError, match=r"parent merged with child: storage\.files"):
            ignition.merge(parent, child)
    assert before == (ignition.serialise(parent), ignition.serialise(child))


def _said(value: Any) -> Any:
    """Leave out what is empty: Ignition's types cannot tell it from absent."""
    if isinstance(value, dict):
        return {k: v for k, v in ((k, _said(v)) for k, v in value.items()) if v not in ({}, [])}
    return [_said(item) for item in value] if isinstance(value, list) else value


def test_merge_declares_the_higher_version() -> None:
    old, new = config("3.0.0"), config("3.4.0")
    assert ignition.merge(old, new).version == ignition.merge(new, old).version == "3.4.0"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"ignition":{"version":"3.0.0"},"a":"\xff"}', "not UTF-8: byte 37 is 0xff"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"ignition":{"version":"3.0.0"},"a":' + "[" * 900 + "]" * 900 + "}", "nested too deeply"),
        ('{"ignition":{"version":"3.0.0"},"a\\ud800":1}', "contains \\ud800, which is half a character"),
    ],
    ids=["latin-1", "deep", "just deep enough for json", "surrogate"],
)
def test_text_that_is_no_config(text: bytes | str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ignition.parse(text, "x.ign")
    assert str(caught.value).startswith(f"x.ign: {says}")


def test_every_cut_of_a_config_is_one_clear_line() -> None:
    whole = json.dumps(next(e["config"] for e in CONFIGS if e["name"] == "user keys"))
    for end in range(len(whole)):
        result, message = verdict(whole[:end])
        assert result == "error"
        assert message.startswith("x.ign: line 1, column ")
        assert "\n" not in message


def test_damaged_configs_never_raise_anything_else() -> None:
    """Replace every value of every config of the corpus by one of another type, and drop every member."""
    rng = random.Random(7)  # noqa: S311 - not for security
    strange: list[Any] = [None, True, -1, 10**40, 0.5, "", "x", "\0", [], [None], [[]], {}, {"name": 1}]
    tried = 0
    for entry in CONFIGS:
        if isinstance(entry["config"], dict):
            for place in _places(entry["config"]):
                tree = json.loads(json.dumps(entry["config"]))
                owner = tree
                for step in place[:-1]:
                    owner = owner[step]
                if rng.random() < 0.3:
                    del owner[place[-1]]
                else:
                    owner[place[-1]] = rng.choice(strange)
                for allow in (False, True):
                    verdict(json.dumps(tree), allow_warnings=allow)
                tried += 1
    assert tried > 1000


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for k, v in members for place in [(*at, k), *_places(v, (*at, k))]]


def test_findings_are_all_named_but_not_without_end() -> None:
    files = [{"path": f"relative{i}"} for i in range(9)]
    with pytest.raises(ConfigError) as caught:
        config(storage={"files": files})
    assert str(caught.value).count("is not an absolute path") == 5
    assert str(caught.value).endswith("; and 4 more")


def test_too_early_says_which_version_has_it() -> None:
    with pytest.raises(ConfigError) as caught:
        config("3.1.0", kernelArguments={"shouldExist": ["a"]})
    assert str(caught.value) == (
        "config: kernelArguments: this key needs Ignition spec 3.3.0, but this config says 3.1.0"
    )


def test_allowed_warnings_leave_out_what_ignition_ignores() -> None:
    text = json.dumps(
        {
            "ignition": {"version": "3.0.0"},
            "kernelArguments": {"shouldExist": ["a"]},
            "storage": {"files": [{"path": "/a", "colour": "red", "mode": 0o4755}]},
        }
    )
    got = ignition.parse(text, allow_warnings=True)
    # The mode stays: Ignition ignores its special bits by itself.
    expected = {"ignition": {"version": "3.0.0"}, "storage": {"files": [{"path": "/a", "mode": 0o4755}]}}
    assert got.tree == expected
    assert ignition.add_file(got, "/b", "x").version == "3.0.0"


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("minimal 3.6", "3.0.0"),
        ("sha256", "3.1.0"),
        ("headers", "3.1.0"),
        ("gs", "3.2.0"),
        ("luks tang", "3.2.0"),
        ("kernel arguments", "3.3.0"),
        ("filesystem none", "3.3.0"),
        ("arn object", "3.4.0"),
        ("luks discard", "3.4.0"),
        ("luks cex", "3.5.0"),
        ("directory sticky 3.6", "3.6.0"),
    ],
)
def test_required_version_is_the_lowest_that_is_accepted(name: str, version: str) -> None:
    tree = next(e["config"] for e in CONFIGS if e["name"] == name)
    assert ignition.required_version(ignition.parse(json.dumps(tree))) == version
    for other in ignition.VERSIONS:
        declared = {**tree, "ignition": {**tree["ignition"], "version": other}}
        assert (verdict(json.dumps(declared))[0] == "ok") == (other >= version)


def test_additions_keep_the_users_version_or_raise_it_as_little_as_needed() -> None:
    for version in ("3.0.0", "3.4.0"):
        got = ignition.add_user(config(version), "core", ssh_keys=["k"])
        got = ignition.add_file(got, "/etc/a", "x")
        got = ignition.add_unit(got, "a.service", INSTALLABLE, enabled=True)
        assert got.version == version
    assert ignition.add_kernel_args(config("3.0.0"), "quiet").version == "3.3.0"
    assert ignition.add_kernel_args(config("3.5.0"), "quiet").version == "3.5.0"
    assert ignition.add_directory(config("3.0.0"), "/a", mode=0o1777).version == "3.6.0"


def test_too_new_for() -> None:
    needs = ignition.parse('{"ignition":{"version":"3.4.0"}}', "a.ign")
    assert ignition.too_new_for(needs, None) is None
    assert ignition.too_new_for(needs, "3.4.0") is None
    assert ignition.too_new_for(needs, "3.10.0") is None
    assert ignition.too_new_for(needs, "3.4.0-experimental") is None
    assert ignition.too_new_for(needs, "3.3.0") == (
        "the config (a.ign) needs Ignition spec 3.4.0, the image understands up to 3.3.0"
    )
    with pytest.raises(ConfigError, match="'latest', not of the form"):
        ignition.too_new_for(needs, "latest")
