"""Metadata against the public reference, docs/kola/external-tests.md of coreos-assembler: a key in three syntaxes."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from kola.errors import ConfigError
from kola.external.metadata import HEAD, KEYS, Metadata, parse_executable, parse_folder

REFERENCE: dict[str, tuple[Any, str, Any]] = {
    # key: as written, field, as it is meant
    "architectures": ("!s390x ppc64le", "architectures", ("!s390x", "!ppc64le")),
    "distros": ("fcos", "distros", ("fcos",)),
    "platforms": ("qemu aws", "platforms", ("qemu", "aws")),
    "tags": ("sometagname needs-internet  other", "tags", ("sometagname", "needs-internet", "other")),
    "requiredTag": ("special", "required_tag", "special"),
    "primaryDisk": (["20G:mpath"], "primary_disk", "20G:mpath"),
    "additionalDisks": (["5G", "3G:channel=nvme"], "additional_disks", ("5G", "3G:channel=nvme")),
    "injectContainer": (True, "inject_container", True),
    "minMemory": (4096, "min_memory", 4096),
    "numaNodes": (True, "numa_nodes", True),
    "minDisk": (15, "min_disk", 15),
    "additionalNics": (2, "additional_nics", 2),
    "appendKernelArgs": ("enforcing=0", "append_kernel_args", "enforcing=0"),
    "appendFirstbootKernelArgs": ("ip=b0:dhcp bond=b0:e5", "append_firstboot_kernel_args", "ip=b0:dhcp bond=b0:e5"),
    "exclusive": (True, "exclusive", True),
    "timeoutMin": (8, "timeout_min", 8),
    "allowConfigWarnings": (True, "allow_config_warnings", True),
    "noInstanceCreds": (True, "no_instance_creds", True),
    "instanceType": ("m5.large", "instance_type", "m5.large"),
    "description": ("test: description #1", "description", "test: description #1"),
    "bindMountHostRO": (["/srv,/srv"], "bind_mount_host_ro", ("/srv,/srv",)),
    "creationDate": ("2026-01-31", "creation_date", date(2026, 1, 31)),
    "bootFrom": ("iso-as-disk", "boot_from", "iso-as-disk"),
    "requiredHostPorts": ([2049, 111], "required_host_ports", (2049, 111)),
}  # fmt: skip
SHARED = {"exclusive": False, "conflicts": ["ext.config.some-test", "podman.some-other-test"]}


def script(stanza: str) -> bytes:
    return f"#!/bin/bash\nset -xeuo pipefail\n{stanza}\ntest code here\n".encode()


def as_yaml(values: dict[str, Any]) -> str:
    lines = [f"##   {key}: {json.dumps(value)}  # a comment" for key, value in values.items()]
    return "\n".join(["## kola:", *lines])


def parsed(syntax: str, values: dict[str, Any]) -> Metadata | None:
    if syntax == "kola.json":
        return parse_folder(json.dumps(values, indent=2).encode(), "kola.json")
    stanza = as_yaml(values) if syntax == "yaml" else f"# kola: {json.dumps(values)}"
    return parse_executable(script(stanza), "test")


def test_the_table_has_every_key() -> None:
    assert set(REFERENCE) | {"conflicts"} == set(KEYS.fields)


@pytest.mark.parametrize("syntax", ["kola.json", "inline", "yaml"])
@pytest.mark.parametrize("key", REFERENCE)
def test_key(syntax: str, key: str) -> None:
    written, field, meant = REFERENCE[key]
    found = parsed(syntax, {key: written})
    assert getattr(found, field) == meant
    # Nothing else says anything.
    default = Metadata()
    assert [name for name in vars(default) if getattr(found, name) != getattr(default, name)] in ([field], [])


@pytest.mark.parametrize("syntax", ["kola.json", "inline", "yaml"])
def test_all_keys_together(syntax: str) -> None:
    found = parsed(syntax, {key: written for key, (written, _, _) in REFERENCE.items()})
    assert {field: getattr(found, field) for _, field, _ in REFERENCE.values()} == {
        field: meant for _, field, meant in REFERENCE.values()
    }


@pytest.mark.parametrize("syntax", ["kola.json", "inline", "yaml"])
def test_shared(syntax: str) -> None:
    found = parsed(syntax, SHARED)
    assert found is not None
    assert (found.exclusive, found.conflicts) == (False, ("ext.config.some-test", "podman.some-other-test"))


@pytest.mark.parametrize(
    "head", [b"", b"#!/bin/sh\ntrue\n", b"\x7fELF\x00\x01# kola: {", b"\xff\xfe\n# not kola: {}\n"]
)
def test_without_stanza(head: bytes) -> None:
    assert parse_executable(head, "test") is None


def test_stanza_must_begin_its_line() -> None:
    assert parse_executable(b"#!/bin/sh\n  # kola: {}\n#kola: {}\necho '# kola: {'\n", "test") is None


def test_yaml_as_people_write_it() -> None:
    found = parse_executable(
        script('## kola:\n##   # About this test\n##   exclusive: no\n##   description: It works\n##   tags: "a b"'),
        "test",
    )
    assert found == Metadata(exclusive=False, description="It works", tags=("a", "b"))


def test_only_the_first_bytes_count() -> None:
    late = b"#!/bin/sh\n" + b"#" * HEAD + b"\n# kola: {}\n"
    assert parse_executable(late[: HEAD + 1], "test") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('# kola: { "tags": "a"', "test: line 3, column 14: not JSON: "),
        ("# kola: []", "test: line 3: expected an object with keys, found a list"),
        ('# kola: {"nope": 1}', "test: line 3: nope: unknown key; known here: additionalDisks, "),
        ('# kola: {"Exclusive": false}', "test: line 3: Exclusive: unknown key"),
        ('# kola: {"tags": "a", "tags": "b"}', "test: line 3: the key 'tags' is given twice"),
        ('# kola: {"tags": ["a"]}', "test: line 3: tags: expected a string, found a list"),
        ('# kola: {"minMemory": "4096"}', "test: line 3: minMemory: expected an integer, found '4096'"),
        ('# kola: {"minMemory": -1}', "test: line 3: minMemory: must not be negative, is -1"),
        ('# kola: {"exclusive": "maybe"}', "test: line 3: exclusive: expected true or false, found 'maybe'"),
        ('# kola: {"timeoutMin": 0}', "test: line 3: timeoutMin: must be at least 1 minute, is 0"),
        ('# kola: {"creationDate": "31.1.2026"}', "test: line 3: creationDate: '31.1.2026' is not a date such as "),
        ('# kola: {"creationDate": "2026-02-30"}', "test: line 3: creationDate: '2026-02-30' is not a date"),
        ('# kola: {"bootFrom": "net"}', "test: line 3: bootFrom: 'net' is none of iso, iso-as-disk"),
        ('# kola: {"requiredHostPorts": [0]}', "test: line 3: requiredHostPorts[0]: '0' is not a port"),
        (f'# kola: {{"requiredHostPorts": ["{"9" * 5000}"]}}', "test: line 3: requiredHostPorts[0]: '999"),
        (f"## kola:\n##   minMemory: {'9' * 5000}", "test: line 4: minMemory: expected an integer, found '9999"),
        (f"## kola:\n##   minMemory: 0x{'f' * 5000}", "test: line 4: minMemory: expected an integer, found '0xff"),
        (f"## kola:\n##   minMemory: {1 << 63}", f"test: line 4: minMemory: {1 << 63} does not fit into 64 bits"),
        ('# kola: {"requiredHostPorts": ["\u0663"]}', "test: line 3: requiredHostPorts[0]: '\u0663' is not a port"),
        ('# kola: {"description": NaN}', "test: line 3: not JSON: NaN"),
        ('# kola: {"description": "\\ud800"}', "test: line 3: contains \\ud800, which is half a character"),
        ('# kola: {"conflicts": ["a"]}', "test: line 3: conflicts: has a meaning with 'exclusive: false' only"),
        ('# kola: {"exclusive": false, "minMemory": 1}', "test: line 3: minMemory: a test that shares its machine"),
        ('# kola: {"exclusive": false, "noInstanceCreds": true}', "test: line 3: noInstanceCreds: a test that shares"),
        ('# kola: {"exclusive": false, "allowConfigWarnings": true}', "test: line 3: allowConfigWarnings: a test that"),
        ("## kola:\n##   a: [", "test: line 5, column 1: not YAML: "),
        ("## kola:\n##   tags: a\n##   tags: b", "test: line 5: the key 'tags' is given twice, first in line 4"),
        ("## kola:\n##   nope: b", "test: line 4: nope: unknown key"),
        ("## kola: {}", "test: line 3: nothing can stand behind '## kola:' in its line"),
        ("## kola:\n##   tags: a\n## kola:\n", "test: line 5, column 1: not YAML: "),
        ("## kola:\n##   tags: a\n# kola: {}\n", "test: line 5: a second stanza; one is enough"),
    ],
)  # fmt: skip
def test_mistake(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_executable(script(text), "test")
    assert str(caught.value).startswith(says), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("end", ["", "\n", "\ntrue"])
def test_stanza_that_does_not_end(end: str) -> None:
    """kola drops it in silence."""
    with pytest.raises(ConfigError, match="test: line 2: the stanza does not end in the first 8192 bytes of the test"):
        parse_executable(f"#!/bin/sh\n## kola:\n##   tags: a{end}".encode(), "test")


def test_json_that_does_not_end() -> None:
    with pytest.raises(ConfigError, match="test: line 2: the stanza does not end in the first 8192 bytes"):
        parse_executable(b"#!/bin/sh\n# kola: {" + b" " * HEAD, "test")


def test_folder_with_lines() -> None:
    with pytest.raises(ConfigError, match=r"kola.json: line 3: nope: unknown key"):
        parse_folder(b'{\n "tags": "a",\n "nope": 1\n}', "kola.json")
    with pytest.raises(ConfigError, match=r"kola.json: line 2, column 1: not JSON"):
        parse_folder(b"{\n", "kola.json")
    with pytest.raises(ConfigError, match=r"kola.json: not UTF-8: byte 0 is 0xff"):
        parse_folder(b"\xff", "kola.json")


@pytest.mark.parametrize(("arch", "mb"), [("x86_64", 4096), ("aarch64", 4096), ("s390x", 4096), ("ppc64le", 8192)])
def test_memory_with_large_pages(arch: str, mb: int) -> None:
    assert Metadata(min_memory=4096).memory_mb(arch) == mb
    assert Metadata(min_memory=5000).memory_mb(arch) == 5000


def test_grace() -> None:
    assert Metadata(creation_date=date(2026, 1, 31)).grace_ends() == date(2026, 3, 2)
    assert Metadata().grace_ends() is None
