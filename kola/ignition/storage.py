"""The section ``storage`` of the schema."""

from __future__ import annotations

import itertools
import posixpath

from kola.ignition import checks
from kola.ignition.parts import (
    APPENDED,
    BOOL,
    INT,
    NAME,
    NATURAL,
    PATH,
    TEXT,
    UNIQUE,
    Where,
    by,
    itself,
    resource,
)
from kola.ignition.shapes import Doubt, Field, Items, Object, Scalar, Tree

NODE_LISTS = ("files", "directories", "links")


def _owner(value: Tree) -> Where:
    if "id" in value and value.get("name"):
        yield "", "has both id and name; one of them is enough"


_OWNER = Field(Object({"id": Field(INT), "name": Field(TEXT)}, (_owner,)))
_NODE = {"path": Field(PATH, required=True), "overwrite": Field(BOOL), "user": _OWNER, "group": _OWNER}


def _overwrite(value: Tree) -> Where:
    if value.get("overwrite") and "source" not in value.get("contents", {}):
        yield "overwrite", "needs contents.source (an empty file is data:,)"


_FILE = Object(
    {
        **_NODE,
        "contents": Field(resource()),
        "append": Field(Items(resource())),
        "mode": Field(Scalar(int, checks.mode)),
    },
    (_overwrite,),
)
_DIRECTORY = Object({**_NODE, "mode": Field(Scalar(int, checks.mode))})


def _hard_link(value: Tree) -> Where:
    if value.get("hard"):
        for name in ("user", "group"):
            if value.get(name):
                yield name, Doubt("has no effect on a hard link")


_LINK = Object({**_NODE, "target": Field(NAME, required=True), "hard": Field(BOOL)}, (_hard_link,))


def _partition(value: Tree) -> Where:
    if value.get("shouldExist") is False:
        for name in ("label", "typeGuid", "guid", "startMiB", "sizeMiB"):
            if value.get(name) or (name in value and name not in {"typeGuid", "guid"}):
                yield name, "must be absent from a partition that should not exist"
    if not value.get("number") and "label" not in value:
        yield "", "needs a number or a label"


def _partition_key(entry: Tree) -> str:
    return f"number {entry['number']}" if entry.get("number") else f"label {entry.get('label', '')}"


_PARTITION = Object(
    {
        "label": Field(Scalar(str, checks.partition_label)),
        "number": Field(NATURAL),
        "sizeMiB": Field(NATURAL),
        "startMiB": Field(NATURAL),
        "typeGuid": Field(Scalar(str, checks.guid)),
        "guid": Field(Scalar(str, checks.guid)),
        "wipePartitionEntry": Field(BOOL),
        "shouldExist": Field(BOOL),
        "resize": Field(BOOL, 2),
    },
    (_partition,),
)


def _partition_table(value: Tree) -> Where:
    partitions = value.get("partitions", [])
    labels: dict[str, int] = {}
    for index, one in enumerate(partitions):
        label = one.get("label")
        if label is None:
            continue
        other = labels.setdefault(label, index)
        # Two without a number share their key, which is reported as such.
        if other != index and (one.get("number") or partitions[other].get("number")):
            yield f"partitions[{index}].label", f"duplicate of partitions[{other}].label ({label})"
    if any(p.get("shouldExist") is False for p in partitions) and any(not p.get("number") for p in partitions):
        yield "partitions", "a partition without number cannot stand beside one that should not exist"
    yield from _overlaps(partitions)


def _overlaps(partitions: list[Tree]) -> Where:
    """Only partitions with a known start and size can be compared; size 0 is 'as large as possible'."""
    ranges = sorted(
        (p["startMiB"], p["startMiB"] + max(p["sizeMiB"], 1), index)
        for index, p in enumerate(partitions)
        if p.get("startMiB") and "sizeMiB" in p
    )
    for (_, end, first), (start, _, second) in itertools.pairwise(ranges):
        if start < end:
            yield f"partitions[{second}]", f"overlaps partitions[{first}]"


def _raid(value: Tree) -> Where:
    if not value["devices"]:
        yield "devices", "must not be empty"
    if value.get("spares") and value["level"] in checks.UNREDUNDANT_LEVELS:
        yield "spares", f"level {value['level']} has none"


def _filesystem(value: Tree) -> Where:
    made = value.get("format", "")
    if not made:
        for name in ("path", "label", "uuid", "wipeFilesystem", "mountOptions", "options"):
            if value.get(name):
                yield "format", f"required with {name}"
                return
    for remark in checks.label_for(made, value.get("label", "")):
        yield "label", remark


def _custom_clevis(value: Tree) -> Where:
    if any(value.values()):
        for name in ("pin", "config"):
            if not value.get(name):
                yield name, "required, but missing"


_CLEVIS = Object(
    {
        "tang": Field(
            Items(
                Object(
                    {
                        "url": Field(Scalar(str, checks.proxy_url), required=True),
                        "thumbprint": Field(NAME, required=True),
                        "advertisement": Field(Scalar(str, checks.json_text), 4),
                    }
                ),
                key=by("url"),
            )
        ),
        "tpm2": Field(BOOL),
        "threshold": Field(INT),
        "custom": Field(
            Object(
                {
                    "pin": Field(Scalar(str, checks.one_of("tpm2", "tang", "sss"))),
                    "config": Field(TEXT),
                    "needsNetwork": Field(BOOL),
                },
                (_custom_clevis,),
            )
        ),
    }
)


def _luks(value: Tree) -> Where:
    clevis = value.get("clevis", {})
    custom = clevis.get("custom", {}).get("pin")
    others = clevis.get("tang") or clevis.get("tpm2") or clevis.get("threshold")
    if custom and others:
        yield "clevis.custom", "excludes tang, tpm2 and threshold"
    if value.get("cex", {}).get("enabled"):
        if custom or others:
            yield "cex", "excludes clevis"
        if value.get("keyFile", {}).get("source"):
            yield "cex", "excludes keyFile"


_LISTS: dict[str, Field] = {
    "disks": Field(
        Items(
            Object(
                {
                    "device": Field(PATH, required=True),
                    "wipeTable": Field(BOOL),
                    "partitions": Field(Items(_PARTITION, key=_partition_key)),
                },
                (_partition_table,),
            ),
            key=by("device"),
        )
    ),
    "raid": Field(
        Items(
            Object(
                {
                    "name": Field(NAME, required=True),
                    "level": Field(Scalar(str, checks.one_of(*checks.RAID_LEVELS)), required=True),
                    "devices": Field(Items(PATH, key=itself), required=True),
                    "spares": Field(NATURAL),
                    "options": Field(APPENDED),
                },
                (_raid,),
            ),
            key=by("name"),
        )
    ),
    "filesystems": Field(
        Items(
            Object(
                {
                    "device": Field(PATH, required=True),
                    "format": Field(Scalar(str, checks.filesystem_format)),
                    "path": Field(Scalar(str, checks.optional_path)),
                    "wipeFilesystem": Field(BOOL),
                    "label": Field(TEXT),
                    "uuid": Field(TEXT),
                    "options": Field(APPENDED),
                    "mountOptions": Field(APPENDED, 1),
                },
                (_filesystem,),
            ),
            key=by("device"),
        )
    ),
    "files": Field(Items(_FILE, key=by("path"))),
    "directories": Field(Items(_DIRECTORY, key=by("path"))),
    "links": Field(Items(_LINK, key=by("path"))),
    "luks": Field(
        Items(
            Object(
                {
                    "name": Field(Scalar(str, checks.luks_name), required=True),
                    "device": Field(PATH, required=True),
                    "keyFile": Field(resource()),
                    "label": Field(Scalar(str, checks.at_most_bytes(47))),
                    "uuid": Field(TEXT),
                    "options": Field(APPENDED),
                    "wipeVolume": Field(BOOL),
                    "clevis": Field(_CLEVIS),
                    "discard": Field(BOOL, 4),
                    "openOptions": Field(UNIQUE, 4),
                    "cex": Field(Object({"enabled": Field(BOOL)}), 5),
                },
                (_luks,),
            ),
            key=by("name"),
        ),
        2,
    ),
}


def _nodes(value: Tree) -> Where:
    """No path may lead through a link of the same config, and a directory cannot be linked hard."""
    links = {link["path"] for link in value.get("links", [])}
    directories = {directory["path"] for directory in value.get("directories", [])}
    for name in NODE_LISTS:
        for index, node in enumerate(value.get(name, [])):
            parent = node["path"]
            while (parent := posixpath.dirname(parent)) != "/":
                if parent in links:
                    yield f"{name}[{index}].path", f"leads through the link {parent} of the same config"
            if node.get("hard"):
                target = posixpath.normpath(posixpath.join(node["path"], node["target"]))
                if target in directories:
                    yield f"{name}[{index}].target", f"{target} is a directory, which cannot be linked hard"


def _formatted_disks(value: Tree) -> Where:
    disks = {disk["device"]: disk for disk in value.get("disks", [])}
    for index, filesystem in enumerate(value.get("filesystems", [])):
        disk = disks.get(filesystem["device"], {})
        if disk.get("partitions"):
            yield f"filesystems[{index}].device", Doubt("overwrites the partitions of that disk")
        elif disk.get("wipeTable") and not filesystem.get("wipeFilesystem"):
            yield f"filesystems[{index}].device", Doubt("wipeTable of that disk wipes the file system as well")


STORAGE = Object(_LISTS, (_nodes, _formatted_disks), frozenset(NODE_LISTS))
