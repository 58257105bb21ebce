"""What a test in kola's external format says of itself. Pure.

Source: docs/kola/external-tests.md of coreos-assembler; where it is silent, what kola does. Two things are stricter
here: a stanza that cannot be read to its end is an error, where kola drops it in silence, and so is a key given twice.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from kola.errors import ConfigError
from kola.ignition.model import no_constant, without_repetition
from kola.ignition.parts import APPENDED, BOOL, INT, TEXT
from kola.ignition.shapes import Field, Object
from kola.yamltext import Mapping as YamlMapping
from kola.yamltext import Node, Sequence, from_json, kind_of, parse
from kola.yamlvalues import Notes, read

HEAD = 8192
"""Bytes of an executable in which a stanza must stand."""
_JSON_PREFIX = "# kola: "
_YAML_PREFIX = "## kola:"

GRACE = timedelta(days=30)
"""How long after its ``creationDate`` a test only warns."""
BOOT_FROM = ("iso", "iso-as-disk")
_LARGE_PAGES = frozenset({"ppc64le"})
"""Architectures with pages of 64 KiB, on which ``minMemory`` counts twice."""
_LARGE_PAGES_MOST_MB = 4096


@dataclass(frozen=True)
class Metadata:
    """The keys of a stanza, each under its own name in snake case.

    Attributes:
        architectures: words, or words with ``!`` each, which are excluded; ``platforms`` and ``distros`` as well.
        tags: words.
        required_tag: the test is run only if this tag is asked for.
        additional_disks: as of ``--add-disk``: ``5G``, ``5G:mpath``, ``5G:channel=nvme``.
        primary_disk: the same for the boot disk.
        inject_container: the image that the machine runs is on it as an archive.
        min_memory: MB. min_disk: GB.
        append_kernel_args: of every boot; ``append_firstboot_kernel_args`` of the first.
        exclusive: has a machine of its own.
        timeout_min: minutes; None: the default.
        conflicts: names of tests that must not be on the same machine.
        bind_mount_host_ro: ``HOST,GUEST``.
        creation_date: since when there is the test; it only warns for 30 days.
        boot_from: ``iso``, ``iso-as-disk`` or nothing.
        required_host_ports: of this host, which the test's services need.
    """

    architectures: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    distros: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    required_tag: str = ""
    additional_disks: tuple[str, ...] = ()
    primary_disk: str = ""
    inject_container: bool = False
    min_memory: int = 0
    numa_nodes: bool = False
    min_disk: int = 0
    additional_nics: int = 0
    append_kernel_args: str = ""
    append_firstboot_kernel_args: str = ""
    exclusive: bool = True
    timeout_min: int | None = None
    conflicts: tuple[str, ...] = ()
    allow_config_warnings: bool = False
    no_instance_creds: bool = False
    instance_type: str = ""
    description: str = ""
    bind_mount_host_ro: tuple[str, ...] = ()
    creation_date: date | None = None
    boot_from: str = ""
    required_host_ports: tuple[int, ...] = ()

    def memory_mb(self, arch: str) -> int:
        """Return ``minMemory`` for an architecture: twice as much where pages are large, up to a limit."""
        doubled = arch in _LARGE_PAGES and self.min_memory <= _LARGE_PAGES_MOST_MB
        return self.min_memory * (2 if doubled else 1)

    def grace_ends(self) -> date | None:
        """Return the first day on which a failure counts; None if that has never been different."""
        return None if self.creation_date is None else self.creation_date + GRACE


def _snake(key: str) -> str:
    return (
        "bind_mount_host_ro" if key == "bindMountHostRO" else re.sub("[A-Z]", lambda match: "_" + match[0].lower(), key)
    )


KEYS = Object(
    {
        **{
            key: Field(TEXT) for key in ("architectures", "platforms", "distros", "tags", "requiredTag", "instanceType")
        },
        **{
            key: Field(TEXT) for key in ("appendKernelArgs", "appendFirstbootKernelArgs", "description", "creationDate")
        },
        **{key: Field(TEXT) for key in ("bootFrom", "primaryDisk")},
        **{key: Field(APPENDED) for key in ("additionalDisks", "conflicts", "bindMountHostRO", "requiredHostPorts")},
        **{key: Field(INT) for key in ("minMemory", "minDisk", "additionalNics", "timeoutMin")},
        **{key: Field(BOOL) for key in ("exclusive", "injectContainer", "numaNodes", "allowConfigWarnings")},
        "noInstanceCreds": Field(BOOL),
    }
)
"""Every key, and what it takes. ``requiredHostPorts`` are numbers, which ``_number`` reads."""
_SELECTORS = ("architectures", "platforms", "distros")
_OF_THE_MACHINE = (
    "additionalDisks", "primaryDisk", "minMemory", "numaNodes", "minDisk", "additionalNics", "appendKernelArgs",
    "appendFirstbootKernelArgs", "instanceType", "bindMountHostRO", "bootFrom", "requiredHostPorts",
)  # fmt: skip
_NOT_SHARED = (*_OF_THE_MACHINE, "injectContainer", "noInstanceCreds", "allowConfigWarnings")
"""What a test that shares its machine cannot ask for."""


def parse_folder(text: bytes, source: str) -> Metadata:
    """Read a ``kola.json``.

    Raises:
        ConfigError: one line with the file, the line and the key.
    """
    try:
        decoded = text.decode()
    except UnicodeDecodeError as e:
        raise ConfigError(f"{source}: not UTF-8: byte {e.start} is 0x{e.object[e.start]:02x}") from e
    return _metadata(_json(decoded, source, 1), source)


def parse_executable(head: bytes, source: str) -> Metadata | None:
    """Read the stanza of an executable; None if it has none.

    Args:
        head: its first ``HEAD`` bytes, and one more if there are more.
        source: names it in messages.

    Raises:
        ConfigError: one line with the file, the line and the key.
    """
    lines = head[:HEAD].decode(errors="replace").split("\n")
    start = next((n for n, line in enumerate(lines) if line.startswith((_JSON_PREFIX, _YAML_PREFIX))), None)
    if start is None:
        return None
    where = f"{source}: line {start + 1}:"
    if lines[start].startswith(_JSON_PREFIX):
        if start + 1 == len(lines) and len(head) > HEAD:
            raise ConfigError(f"{where} the stanza does not end in the first {HEAD} bytes")
        return _metadata(_json(lines[start][len(_JSON_PREFIX) :], source, start + 1), source)
    if lines[start][len(_YAML_PREFIX) :].strip():
        raise ConfigError(f"{where} nothing can stand behind '{_YAML_PREFIX}' in its line")
    end = next((n for n in range(start + 1, len(lines)) if not lines[n].startswith("## ")), len(lines))
    if end >= len(lines) - 1:
        raise ConfigError(f"{where} the stanza does not end in the first {HEAD} bytes of the test")
    if lines[end].startswith((_JSON_PREFIX, _YAML_PREFIX)):
        raise ConfigError(f"{source}: line {end + 1}: a second stanza; one is enough")
    block = "\n".join(line[len("## ") :] for line in lines[start + 1 : end])
    return _metadata(parse(block, source, first_line=start + 2), source)


def _json(text: str, source: str, line: int) -> Node:
    try:
        value = json.loads(text, object_pairs_hook=without_repetition, parse_constant=no_constant)
        json.dumps(value, ensure_ascii=False).encode()
        return from_json(value, text, first_line=line)
    except json.JSONDecodeError as e:
        raise ConfigError(f"{source}: line {line + e.lineno - 1}, column {e.colno}: not JSON: {e.msg}") from e
    except RecursionError as e:
        raise ConfigError(f"{source}: line {line}: not JSON: nested too deeply") from e
    except UnicodeEncodeError as e:
        half = f"\\u{ord(e.object[e.start]):04x}"
        raise ConfigError(f"{source}: line {line}: contains {half}, which is half a character") from e
    except ValueError as e:  # of our two hooks
        raise ConfigError(f"{source}: line {line}: {e}") from e


def _metadata(node: Node | None, source: str) -> Metadata:
    if node is None:
        return Metadata()
    if not isinstance(node, YamlMapping):
        raise ConfigError(f"{source}: line {node.line}: expected an object with keys, found {kind_of(node)}")
    notes = Notes(source, strict=True)
    values = read(KEYS, _with_primary_disk(node), notes)
    _check(values, notes)
    if values.get("exclusive", True):
        if values.get("conflicts"):
            notes.wrong("conflicts", "has a meaning with 'exclusive: false' only")
    else:
        for key in _NOT_SHARED:
            if values.get(key):
                notes.wrong(key, "a test that shares its machine (exclusive: false) cannot ask for it")
    notes.raise_if_wrong()
    return Metadata(**{_snake(key): _value(key, value) for key, value in values.items()})


def _with_primary_disk(node: YamlMapping) -> YamlMapping:
    """The reference shows ``primaryDisk`` as a list of one, kola takes it as that one."""
    entries = (
        (key, value.items[0] if key.text == "primaryDisk" and isinstance(value, Sequence) and value.items else value)
        for key, value in node.entries
    )
    return YamlMapping(node.line, tuple(entries))


def _value(key: str, value: Any) -> Any:
    if key in _SELECTORS:
        words = value.removeprefix("!").split()
        return tuple(f"!{word}" for word in words) if value.startswith("!") else tuple(words)
    if key == "tags":
        return tuple(value.split())
    if key == "creationDate":
        return parse_date(value) if value else None
    if key == "requiredHostPorts":
        return tuple(map(int, value))
    return tuple(value) if isinstance(value, list) else value


def _check(values: dict[str, Any], notes: Notes) -> None:
    for key in ("minMemory", "minDisk", "additionalNics"):
        if values.get(key, 0) < 0:
            notes.wrong(key, f"must not be negative, is {values[key]}")
    if values.get("timeoutMin", 1) < 1:
        notes.wrong("timeoutMin", f"must be at least 1 minute, is {values['timeoutMin']}")
    if (given := values.get("creationDate")) and not is_date(given):
        notes.wrong("creationDate", f"'{given}' is not a date such as 2026-01-31")
    if (given := values.get("bootFrom")) and given not in BOOT_FROM:
        notes.wrong("bootFrom", f"'{given}' is none of {', '.join(BOOT_FROM)}")
    for index, port in enumerate(values.get("requiredHostPorts", ())):
        if not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 1 << 16):
            notes.wrong(f"requiredHostPorts[{index}]", f"'{port}' is not a port")


def is_date(text: str) -> bool:
    """Tell whether a text is a date such as ``2026-01-31``."""
    try:
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", text) and parse_date(text))
    except ValueError:
        return False


def parse_date(text: str) -> date:
    """Return the date that a text is; see ``is_date``."""
    return date.fromisoformat(text)
