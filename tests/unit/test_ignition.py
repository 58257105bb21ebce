"""Ignition configs: verdicts and merges against those of the real implementation, building, versions, redaction.

``data/ignition/configs.json`` and ``merges.json`` are our own configs with the answers of Ignition 2.24.0
(``ignition-validate`` and its Go package). For each config: ``ignition`` is its verdict, ``kola`` and ``lenient`` (with
``allow_warnings``) are ours, ``says`` is how our message begins.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from kola import ignition
from kola.errors import ConfigError
from kola.ignition_validate import validate_with_tool

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
INSTALLABLE = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"


def config(version: str = "3.0.0", **sections: Any) -> ignition.Config:
    return ignition.parse(json.dumps({"ignition": {"version": version}, **sections}))


def text_of(entry: dict[str, Any]) -> str:
    return entry["config"] if isinstance(entry["config"], str) else json.dumps(entry["config"])


def verdict(text: str, *, allow_warnings: bool = False) -> tuple[str, str]:
    try:
        ignition.parse(text, "x.ign", allow_warnings=allow_warnings)
    except ConfigError as e:
        return "error", str(e)
    return "ok", ""


def one_file(tree: dict[str, Any]) -> dict[str, Any]:
    (file,) = tree["storage"]["files"]
    assert isinstance(file, dict)
    return file


def unpacked(resource: dict[str, str]) -> bytes:
    """Decode a data URL on our own, not with what is under test."""
    head, _, body = resource["source"].partition(",")
    data = base64.b64decode(body) if head.endswith(";base64") else unquote_to_bytes(body)
    return gzip.decompress(data) if resource.get("compression") == "gzip" else data


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


def test_empty() -> None:
    assert ignition.serialise(ignition.empty()) == b'{"ignition":{"version":"3.0.0"}}'
    assert ignition.empty("3.4.0").version == "3.4.0"
    with pytest.raises(ConfigError, match="is none of 3"):
        ignition.empty("2.3.0")


def test_builders_give_another_config_and_leave_the_first_alone() -> None:
    first = config(storage={"files": [{"path": "/a"}]}, passwd={"users": [{"name": "core"}]})
    before = ignition.serialise(first)
    ignition.add_file(first, "/a", "new")
    ignition.add_user(first, "core", ssh_keys=["k"])
    ignition.add_link(first, "/a", "/b")
    assert ignition.serialise(first) == before


def test_add_user_adds_to_the_one_that_is_there() -> None:
    first = config(passwd={"users": [{"name": "core", "sshAuthorizedKeys": ["a"], "groups": ["wheel"]}]})
    got = ignition.add_user(first, "core", ssh_keys=["b", "a"], groups=["sudo"])
    assert got.tree["passwd"]["users"] == [
        {"name": "core", "sshAuthorizedKeys": ["a", "b"], "groups": ["wheel", "sudo"]}
    ]


@pytest.mark.parametrize(
    "contents",
    [b"", b"hello\n", "gr\xfc\xdfe % #?;,\"' \n\0\x7f".encode(), bytes(range(256)), b"a" * 5000, os.urandom(5000)],
    ids=["empty", "text", "odd", "all bytes", "compressible", "random"],
)
def test_file_contents_survive(contents: bytes) -> None:
    got = ignition.add_file(ignition.empty(), "/etc/a", contents, mode=0o600, user="core", group=5, overwrite=True)
    file = one_file(got.tree)
    assert unpacked(file["contents"]) == contents
    assert (file["mode"], file["user"], file["group"], file["overwrite"]) == (384, {"name": "core"}, {"id": 5}, True)
    assert ignition.parse(ignition.serialise(got)).tree == got.tree


def test_large_contents_are_compressed_when_that_helps_and_always_to_the_same_bytes() -> None:
    def compression(contents: bytes) -> str:
        return str(one_file(ignition.add_file(ignition.empty(), "/a", contents).tree)["contents"]["compression"])

    assert compression(b"a" * 100_000) == "gzip"
    assert compression(b"a" * 100) == ""
    assert compression(os.urandom(100_000)) == ""
    assert ignition.size(ignition.add_file(ignition.empty(), "/a", "a" * 100_000)) < 1000
    packed = one_file(ignition.add_file(ignition.empty(), "/a", "a" * 9999).tree)["contents"]["source"]
    assert base64.b64decode(packed.partition(",")[2])[:8] == b"\x1f\x8b\x08\0\0\0\0\0"  # no time of day


def test_add_file_replaces_all_that_was_at_the_path() -> None:
    parent = config(
        storage={
            "files": [{"path": "/a", "contents": {"source": "http://x/y", "compression": "gzip"}, "user": {"id": 5}}],
            "links": [{"path": "/l", "target": "/x"}],
        }
    )
    got = ignition.add_file(ignition.add_file(parent, "/a", "x"), "/l", "y").tree["storage"]
    assert got["links"] == []
    assert [file["path"] for file in got["files"]] == ["/a", "/l"]
    assert got["files"][0] == {"path": "/a", "mode": 420, "contents": {"source": "data:,x", "compression": ""}}


def test_directories_and_links() -> None:
    got = ignition.add_directory(ignition.empty(), "/d", mode=0o700, user="core")
    got = ignition.add_link(got, "/d/l", "../x", overwrite=True)
    assert got.tree["storage"] == {
        "directories": [{"path": "/d", "mode": 448, "user": {"name": "core"}}],
        "links": [{"path": "/d/l", "target": "../x", "overwrite": True}],
    }
    with pytest.raises(ConfigError, match="leads through the link /d/l"):
        ignition.add_file(got, "/d/l/f", "")


def test_add_unit_merges_with_the_one_of_that_name() -> None:
    first = ignition.add_unit(ignition.empty(), "a.service", INSTALLABLE, dropins={"1.conf": "[Unit]\n"})
    got = ignition.add_unit(first, "a.service", enabled=True, dropins={"1.conf": "[Service]\n", "2.conf": "[Unit]\n"})
    assert got.tree["systemd"]["units"] == [
        {
            "name": "a.service",
            "contents": INSTALLABLE,
            "enabled": True,
            "dropins": [{"name": "1.conf", "contents": "[Service]\n"}, {"name": "2.conf", "contents": "[Unit]\n"}],
        }
    ]
    assert ignition.add_unit(ignition.empty(), "b.timer", mask=True).tree["systemd"]["units"] == [
        {"name": "b.timer", "mask": True}
    ]


def test_kernel_arguments_are_appended() -> None:
    got = ignition.add_kernel_args(config("3.3.0", kernelArguments={"shouldExist": ["a"]}), "b", remove=["quiet"])
    assert got.tree["kernelArguments"] == {"shouldExist": ["a", "b"], "shouldNotExist": ["quiet"]}
    assert ignition.add_kernel_args(ignition.empty()) == ignition.empty()


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda c: ignition.add_file(c, "etc/a", ""), "file etc/a added to config: storage.files[0].path: 'etc/a' is"),
        (lambda c: ignition.add_file(c, "/a", "", mode=644 * 100), "file /a added to config: storage.files[0].mode"),
        (lambda c: ignition.add_unit(c, "a.svc"), "unit a.svc added to config: systemd.units[0].name: 'a.svc' has"),
        (
            lambda c: ignition.add_unit(c, "a.service", "[Service]\n", enabled=True),
            "unit a.service added to config: systemd.units[0].enabled: has no effect",
        ),
        (lambda c: ignition.add_user(c, "a b"), "user a b added to config: passwd.users[0].name: 'a b' is not a name"),
    ],
)
def test_wrong_additions_say_what_was_added(build: Any, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(ignition.empty())
    assert str(caught.value).startswith(says)


def test_serialised_configs_are_compact_sorted_and_the_same_for_equal_ones() -> None:
    one = config(passwd={"users": [{"name": "a", "uid": 1}]}, storage={})
    other = ignition.parse(
        '{"storage": {}, "passwd": {"users": [{"uid": 1, "name": "a"}]}, "ignition": {"version": "3.0.0"}}'
    )
    assert ignition.serialise(one) == ignition.serialise(other)
    assert b" " not in ignition.serialise(one)
    assert ignition.size(one) == len(ignition.serialise(one))


def test_redact_hides_secrets_and_nothing_else() -> None:
    hidden = "s3cr3t"
    key = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{hidden}\n" + "A" * 3000
    got = ignition.add_file(ignition.empty("3.2.0"), "/etc/ssh/ssh_host_ed25519_key", hidden, mode=0o640)
    got = ignition.add_file(got, "/etc/ssh/ssh_host_ed25519_key.pub", "public")
    got = ignition.add_file(got, "/etc/token", hidden, mode=0o600)
    got = ignition.add_file(got, "/srv/key.pem", key)
    got = ignition.add_file(got, "/etc/motd", "welcome")
    got = ignition.merge(
        got,
        config(
            "3.2.0",
            passwd={
                "users": [{"name": "core", "passwordHash": hidden, "sshAuthorizedKeys": ["ssh-ed25519 AAA"]}],
                "groups": [{"name": "g", "passwordHash": hidden}],
            },
            storage={
                "luks": [{"name": "l", "device": "/dev/a", "keyFile": {"source": f"data:,{hidden}"}}],
                "files": [
                    {
                        "path": "/h",
                        "contents": {
                            "source": "https://example.com/x",
                            "httpHeaders": [{"name": "Authorization", "value": hidden}],
                        },
                        "append": [{"source": "data:,-----BEGIN%20PRIVATE%20KEY-----" + hidden}],
                    }
                ],
            },
        ),
    )
    embedded = [{"source": f"data:,{hidden}"}, {"source": f"data:,{hidden}2"}, {"source": "https://example.com/y"}]
    got = ignition.merge(
        got, ignition.parse(json.dumps({"ignition": {"version": "3.2.0", "config": {"merge": embedded}}}))
    )
    redacted = ignition.redact(got)
    text = ignition.serialise(redacted).decode()
    assert hidden in ignition.serialise(got).decode()
    assert hidden not in text
    contents = {file["path"]: unpacked(file["contents"]) for file in redacted.tree["storage"]["files"][:-1]}
    assert contents == {
        "/etc/ssh/ssh_host_ed25519_key": b"redacted",
        "/etc/ssh/ssh_host_ed25519_key.pub": b"public",
        "/etc/token": b"redacted",
        "/srv/key.pem": b"redacted",
        "/etc/motd": b"welcome",
    }
    for kept in ("ssh-ed25519 AAA", "https://example.com/x", "https://example.com/y", "Authorization"):
        assert kept in text
    assert ignition.parse(text).version == got.version


def test_redact_of_damaged_compressed_contents_does_not_fail() -> None:
    broken = config(storage={"files": [{"path": "/a", "contents": {"source": "data:,junk", "compression": "gzip"}}]})
    assert ignition.redact(broken) == broken


def _tool(folder: Path, script: str) -> str:
    path = folder / "ignition-validate"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_tool_that_is_not_there_says_nothing() -> None:
    assert validate_with_tool(b"nonsense", tool="kola-has-no-such-tool") == ()


def test_tool_refuses(tmp_path: Path) -> None:
    tool = _tool(tmp_path, "cat >/dev/null; echo 'warning at $: w'; echo 'error at $.storage: e'; exit 1")
    with pytest.raises(ConfigError) as caught:
        validate_with_tool(b"{}", "x.ign", tool=tool)
    assert str(caught.value) == f"x.ign: {tool}: error at $.storage: e"


def test_tool_warns_or_does_not_know_the_version(tmp_path: Path) -> None:
    tool = _tool(tmp_path, "grep -q 3.9 && { echo 'unsupported config version' >&2; exit 1; }; echo 'warning at $: w'")
    assert validate_with_tool(b'{"ignition":{"version":"3.0.0"}}', tool=tool) == ("warning at $: w",)
    assert validate_with_tool(b'{"ignition":{"version":"3.9.0"}}', tool=tool) == ()
