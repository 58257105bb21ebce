"""Partitions and file systems that the config makes on an empty disk."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kola.machine import Machine
from tests.external.ignition.config import CONFIG, DISK, GUID, LINUX, STATE, SWAP, UUID, label

MIB = 1024 * 1024

pytestmark = pytest.mark.kola(
    isolation="shared",
    ignition=CONFIG,
    disks=[{"size_gib": 2, "serial": "data"}],
    tags=["ignition", "storage"],
    covers="storage",
)


def partitions(machine: Machine) -> dict[int, dict[str, Any]]:
    """Return number -> what is in the partition table of the data disk, sizes in MiB."""
    table = json.loads(machine.run(["sfdisk", "--json", DISK], sudo=True).stdout)["partitiontable"]
    assert table["label"] == "gpt", f"not a GPT: {table['label']}"
    sector = table["sectorsize"]
    return {
        int(one["node"].removeprefix(f"{DISK}-part")): {
            "name": one["name"],
            "type": one["type"],
            "uuid": one["uuid"],
            "start": one["start"] * sector / MIB,
            "size": one["size"] * sector / MIB,
        }
        for one in table["partitions"]
    }


def test_partitions(machine: Machine) -> None:
    """Partitions have their numbers, labels, types, GUIDs, starts and sizes; size 0 takes the rest of the disk."""
    found = partitions(machine)
    names = {number: one["name"] for number, one in found.items()}
    by_name = {one["name"]: one for one in found.values()}
    assert set(by_name) == {"kola-ext4", "kola-xfs", "kola-vfat", "kola-swap", "kola-rest"}, f"partitions: {names}"
    fixed = (names[1], names[4], names[9])
    assert fixed == ("kola-ext4", "kola-xfs", "kola-rest"), f"numbers are not as asked: {names}"
    sizes = {name: one["size"] for name, one in by_name.items()}
    rest = sizes.pop("kola-rest")
    starts = (by_name["kola-ext4"]["start"], by_name["kola-rest"]["start"])
    assert starts == (4, 1024), f"starts: {starts}"
    assert sizes == {"kola-ext4": 256, "kola-xfs": 512, "kola-vfat": 64, "kola-swap": 128}, f"sizes: {sizes}"
    assert 1020 < rest < 1024, f"the rest is {rest} MiB"
    assert by_name["kola-ext4"]["uuid"] == GUID, f"GUID: {by_name['kola-ext4']}"
    types = {name: one["type"] for name, one in by_name.items()}
    assert types == dict.fromkeys(by_name, LINUX) | {"kola-swap": SWAP}, f"types: {types}"


@pytest.mark.smoke
def test_filesystems_are_made_and_mounted(machine: Machine) -> None:
    """ext4, xfs and vfat have their labels and UUID and are mounted where the units say; swap is on."""
    expected = {
        "kola-ext4": ("ext4", "kola-fs-ext4", "/var/kola_ext4"),
        "kola-xfs": ("xfs", "kola-fs-xfs", "/var/kola_xfs"),
        "kola-vfat": ("vfat", "KOLAVFAT", "/var/kola_vfat"),
        "kola-swap": ("swap", "kola-fs-swap", "[SWAP]"),
    }
    columns = "PARTLABEL,FSTYPE,LABEL,MOUNTPOINT,UUID"
    listed = machine.run(["lsblk", "--json", "--output", columns, *map(label, expected)], sudo=True).stdout
    found = {one["partlabel"]: one for one in json.loads(listed)["blockdevices"]}
    wrong = {
        name: (found.get(name), values)
        for name, values in expected.items()
        if tuple(found.get(name, {}).get(key) for key in ("fstype", "label", "mountpoint")) != values
    }
    assert not wrong, f"partition: (found, expected): {wrong}"
    assert found["kola-ext4"]["uuid"] == UUID, f"UUID: {found['kola-ext4']}"
    for unit in ("var-kola_ext4.mount", "var-kola_xfs.mount", "var-kola_vfat.mount"):
        source = machine.run(["systemctl", "show", "--property=FragmentPath", "--value", unit]).stdout.strip()
        assert source == f"/etc/systemd/system/{unit}", f"{unit} comes from {source or 'nowhere'}"


@pytest.mark.kola(isolation="fresh", covers="first-boot-only")
def test_second_boot_changes_nothing(machine: Machine) -> None:
    """The second boot mounts everything again and provisions nothing: disks, files, users stay as they were left."""
    before = partitions(machine)
    changes = (
        "echo kept >/var/kola_ext4/new && echo kept >/var/kola_xfs/new && echo kept >/var/kola_vfat/new",
        "echo changed >/etc/kola/text && rm /etc/kola/symbolic && chmod 600 /etc/kola/percent",
        "systemctl disable --quiet kola-ran.service && ln -sfn ../usr/share/zoneinfo/UTC /etc/localtime",
        "userdel kola-daemon && usermod --shell /bin/bash kola-user && sync",
    )
    machine.run_many(list(changes), sudo=True)
    keys = "cat /etc/machine-id /etc/ssh/ssh_host_*_key.pub; sha256sum /etc/.ignition-result.json"
    identity = machine.run(keys, sudo=True, check=False).stdout

    machine.reboot()

    stamp = machine.run("test -e /boot/ignition.firstboot", sudo=True, check=False)
    assert stamp.exit_code == 1, "the stamp of the first boot is still in /boot"
    assert "ignition.firstboot" not in machine.run("cat /proc/cmdline").stdout, "a first boot again"
    kept = machine.run("cat /var/kola_*/new", sudo=True, check=False)
    assert kept.stdout == "kept\n" * 3, f"data is lost: {kept}"
    contents = machine.run("cat /var/kola_ext4/file /var/kola_xfs/folder/file", sudo=True).stdout
    assert contents == "on ext4\non xfs\n", f"files of the config on the disk: {contents!r}"
    assert partitions(machine) == before, "another partition table"
    state = machine.run(
        "cat /etc/kola/text; readlink /etc/kola/symbolic; stat --format=%a /etc/kola/percent; readlink /etc/localtime; "
        "systemctl is-enabled kola-ran.service; getent passwd kola-daemon; getent passwd kola-user | cut -d: -f7; "
        f"cat {STATE}/ran; swapon --noheadings --show=NAME | wc -l",
        sudo=True,
        check=False,
    ).stdout.splitlines()
    expected = ["changed", "600", "../usr/share/zoneinfo/UTC", "disabled", "/bin/bash", "ran", "1"]
    assert state == expected, f"not as it was left, but {state}"
    assert machine.run(keys, sudo=True, check=False).stdout == identity, "another identity, or another Ignition report"


@pytest.mark.kola(covers="provisioning")
def test_report_of_ignition(machine: Machine) -> None:
    """Ignition's report of the first boot says that there was a config of the user, and which boot that was."""
    report = json.loads(machine.read_file("/etc/.ignition-result.json", sudo=True))
    assert report["userConfigProvided"] is True, f"Ignition saw no config: {report}"
    first = machine.run("journalctl --list-boots --output=json", sudo=True).stdout
    assert report["provisioningBootID"].replace("-", "") == json.loads(first)[0]["boot_id"], f"another boot: {report}"
    assert "previousReport" not in report, f"Ignition ran twice: {report}"
