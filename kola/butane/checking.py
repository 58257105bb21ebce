"""What is wrong with a translated config: what Ignition says of it, and what Butane adds to that. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kola.butane.modes import is_decimal_by_mistake
from kola.butane.rendering import SWAP_SINCE
from kola.butane.schema import snake
from kola.ignition.schema import CONFIG
from kola.ignition.shapes import findings

if TYPE_CHECKING:
    from kola.ignition.shapes import Tree
    from kola.yamlvalues import Notes

_MOUNT_POINTS_SINCE = 6
_BOOT_DISK = "/dev/disk/by-id/coreos-boot-disk"
_RESERVED_LABELS = {"BIOS-BOOT": 1, "PowerPC-PReP-boot": 1, "EFI-SYSTEM": 2, "boot": 3, "root": 4}
"""What the partitions of the boot disk are called -> their number."""


def check(tree: Tree, mounted: list[bool], minor: int, notes: Notes) -> None:
    """Note what is wrong; the entries of the config are still where they are in its source.

    Args:
        tree: an Ignition config.
        mounted: of each file system, whether it gets a mount unit.
        minor: of Butane's version.
        notes: takes it.
    """
    storage = tree.get("storage", {})
    _check_modes(storage, notes)
    _check_ignition(tree, notes)
    for index, (filesystem, wanted) in enumerate(zip(storage.get("filesystems", []), mounted, strict=True)):
        if wanted:
            _check_mount(filesystem, f"storage.filesystems[{index}]", minor, notes)
    if minor >= _MOUNT_POINTS_SINCE:
        for index, disk in enumerate(storage.get("disks", [])):
            _check_numbers(disk, f"storage.disks[{index}]", notes)


def _check_ignition(tree: Tree, notes: Notes) -> None:
    minor = int(tree["ignition"]["version"].split(".")[1])
    for finding in findings(CONFIG, tree):
        if finding.minor is not None and finding.minor <= minor:
            continue
        text = finding.text
        if finding.minor is not None:
            text += f" needs Ignition spec 3.{finding.minor}.0, which a later version of Butane stands for"
        (notes.doubtful if finding.warning else notes.wrong)(snake(finding.path), text)


def _check_modes(storage: Tree, notes: Notes) -> None:
    for kind in ("files", "directories"):
        for index, node in enumerate(storage.get(kind, [])):
            mode = node.get("mode")
            if mode is not None and is_decimal_by_mistake(mode, directory=kind == "directories"):
                text = f"{mode} is a strange mode, octal {mode:04o}; did you mean 0{mode}?"
                notes.doubtful(f"storage.{kind}[{index}].mode", text)


def _check_mount(filesystem: Tree, path: str, minor: int, notes: Notes) -> None:
    made, where = filesystem.get("format"), filesystem.get("path")
    if not made:
        notes.wrong(f"{path}.format", "required with with_mount_unit")
    if not where and (made != "swap" or minor < SWAP_SINCE):
        notes.wrong(f"{path}.path", "required with with_mount_unit")
    if where and minor >= _MOUNT_POINTS_SINCE and not re.match(r"/(etc|var)(/|$)", where):
        notes.wrong(f"{path}.path", f"'{where}' is not below /etc or /var, as it must be with with_mount_unit")


def _check_numbers(disk: Tree, path: str, notes: Notes) -> None:
    if disk["device"] == _BOOT_DISK or disk.get("wipeTable"):
        return
    for index, partition in enumerate(disk.get("partitions", [])):
        if not partition.get("number") and "label" in partition:
            text = (
                "required on another disk than the boot disk unless wipe_table is true: no partition is found by label"
            )
            notes.doubtful(f"{path}.partitions[{index}].number", text)


def check_labels(tree: Tree, notes: Notes) -> None:
    """Note partitions that have the label of one of the boot disk's, but not its number."""
    for index, disk in enumerate(tree.get("storage", {}).get("disks", [])):
        for at, partition in enumerate([] if disk.get("wipeTable") else disk.get("partitions", [])):
            number = _RESERVED_LABELS.get(partition.get("label", ""))
            if number is not None and partition.get("number") != number:
                text = f"'{partition['label']}' is partition {number} of the boot disk; this would be another one"
                notes.doubtful(f"storage.disks[{index}].partitions[{at}].label", text)
