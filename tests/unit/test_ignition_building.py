"""Ignition configs that are built, serialised and redacted."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

import pytest

from kola import ignition
from kola.errors import ConfigError
from tests.unit.ignition_configs import INSTALLABLE, config, one_file, unpacked


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
