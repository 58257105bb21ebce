"""LUKS and RAID: volumes that the config makes, and that the next boots open by themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kola import ignition
from kola.machine import Machine
from tests.external.ignition.config import file, label, mount_unit

KEY = b"a key file, which is no passphrase\n\0\xff"
TEXT = "what nobody may read from the disk"
OPENED = "/dev/disk/by-id/dm-name-kola-secret"
MIRROR = "/dev/md/kola-mirror"
HALVES = ("kola-mirror-a", "kola-mirror-b")
# A key derivation that costs nothing: the key has all the entropy that it needs.
LUKS_OPTIONS = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]


def config(storage: dict[str, Any], units: list[dict[str, Any]]) -> dict[str, Any]:
    return {"ignition": {"version": "3.2.0"}, "storage": storage, "systemd": {"units": units}}


def disk(*labels: str) -> dict[str, Any]:
    partitions = [{"label": name, "sizeMiB": 64} for name in labels]
    return {"device": "/dev/disk/by-id/virtio-data", "wipeTable": True, "partitions": partitions}


LUKS = config(
    {
        "disks": [disk("kola-luks")],
        "luks": [
            {
                "name": "kola-secret",
                "device": label("kola-luks"),
                "label": "kola-luks-label",
                "keyFile": {"source": ignition.data_url(KEY)},
                "options": LUKS_OPTIONS,
                "wipeVolume": True,
            }
        ],
        "filesystems": [{"device": OPENED, "format": "ext4", "path": "/var/kola_secret", "label": "kola-secret"}],
        "files": [file("/var/kola_secret/file", TEXT)],
    },
    [mount_unit(OPENED, "/var/kola_secret", "ext4")],
)
RAID = config(
    {
        "disks": [disk(*HALVES)],
        "raid": [{"name": "kola-mirror", "level": "raid1", "devices": [label(half) for half in HALVES]}],
        "filesystems": [{"device": MIRROR, "format": "ext4", "path": "/var/kola_mirror", "label": "kola-mirror"}],
        "files": [file("/var/kola_mirror/file", TEXT)],
    },
    [mount_unit(MIRROR, "/var/kola_mirror", "ext4")],
)

pytestmark = pytest.mark.kola(disks=[{"size_gib": 1, "serial": "data"}], tags=["ignition", "storage"], covers="storage")


@pytest.mark.kola(ignition=LUKS, needs=["luks"])
def test_luks(machine: Machine) -> None:
    """A LUKS volume has the key of the config and no other, holds no plain text, and opens itself in the next boot."""
    for boot in ("first", "second"):
        listed = machine.run(f"lsblk --json --inverse --output NAME,TYPE,MOUNTPOINT,LABEL {OPENED}").stdout
        (volume,) = json.loads(listed)["blockdevices"]
        (below,) = volume["children"]
        assert (volume["type"], volume["mountpoint"]) == ("crypt", "/var/kola_secret"), f"{boot} boot: {volume}"
        assert below["label"] == "kola-luks-label", f"{boot} boot: the volume is {below}"
        content = machine.read_file("/var/kola_secret/file")
        assert content == TEXT, f"{boot} boot: the file holds {content!r}"
        if boot == "first":
            _expect_one_key(machine)
            machine.reboot()


def _expect_one_key(machine: Machine) -> None:
    device = label("kola-luks")
    machine.run("sync", sudo=True)
    plain = machine.run(["grep", "--quiet", "--text", TEXT, device], sudo=True, check=False)
    assert plain.exit_code == 1, "the text can be read from the disk"
    _name, _device, key_file, *_ = machine.run("grep ^kola-secret /etc/crypttab", sudo=True).stdout.split()
    owner = machine.run(["stat", "--format", "%a %U", key_file], sudo=True).stdout.strip()
    assert owner in {"400 root", "600 root"}, f"{key_file} is {owner}"
    assert machine.read_bytes(key_file, sudo=True) == KEY, f"{key_file} holds another key"
    test = ["cryptsetup", "open", "--test-passphrase", "--key-file"]
    machine.run([*test, key_file, device], sudo=True)
    other = machine.run([*test, "/etc/machine-id", device], sudo=True, check=False)
    assert other.exit_code != 0, "another key opens the volume"
    slots = json.loads(machine.run(["cryptsetup", "luksDump", "--dump-json-metadata", device], sudo=True).stdout)
    assert len(slots["keyslots"]) == 1, f"more than one key: {sorted(slots['keyslots'])}"


@pytest.mark.kola(ignition=RAID, needs=["raid"])
def test_raid(machine: Machine) -> None:
    """A mirror of two partitions is whole, holds the file system, and is put together again in the next boot."""
    for boot in ("first", "second"):
        detail = machine.run(["mdadm", "--detail", MIRROR], sudo=True).stdout
        active = [line for line in detail.splitlines() if "active sync" in line]
        assert len(active) == 2, f"{boot} boot: not two active halves:\n{detail}"
        assert "raid1" in detail, f"{boot} boot: another level:\n{detail}"
        source = machine.run("findmnt --noheadings --output SOURCE /var/kola_mirror").stdout.strip()
        same = machine.run(["test", source, "-ef", MIRROR], check=False)
        assert same.exit_code == 0, f"{boot} boot: {source} is mounted, not {MIRROR}"
        content = machine.read_file("/var/kola_mirror/file")
        assert content == TEXT, f"{boot} boot: the file holds {content!r}"
        if boot == "first":
            machine.reboot()


@pytest.mark.kola(needs=["tpm"])
def test_tpm(machine: Machine) -> None:
    """A machine that asks for a TPM 2.0 has one that its kernel drives, and the firmware has measured the boot."""
    version = machine.run("cat /sys/class/tpm/tpm0/tpm_version_major").stdout.strip()
    assert version == "2", f"the TPM speaks version {version!r}"
    assert machine.run("test -c /dev/tpmrm0", check=False).exit_code == 0, "no /dev/tpmrm0: nobody can use the TPM"
    registers = machine.run("cat /sys/class/tpm/tpm0/pcr-sha256/*", sudo=True).stdout.split()
    assert len(registers) == 24, f"{len(registers)} registers, not 24"
    assert any(set(register) != {"0"} for register in registers[:8]), "nothing of the boot was measured"


@pytest.mark.kola(
    needs=["luks-tpm2"],
    disks=[],
    memory_mib=4096,  # Fedora CoreOS keeps the root file system in memory while it is made anew
    isolation="first_boot",
    ignition=config(
        {
            "luks": [
                {
                    "name": "root",
                    "device": label("root"),
                    "label": "luks-root",
                    "clevis": {"tpm2": True},
                    "wipeVolume": True,
                }
            ],
            "filesystems": [{"device": "/dev/mapper/root", "format": "xfs", "label": "root", "wipeFilesystem": True}],
        },
        [],
    ),
)
def test_root_bound_to_the_tpm(machine: Machine) -> None:
    """The root file system is on a LUKS volume that the TPM opens, in the first boot and in the next, unattended."""
    for boot in ("first", "second"):
        chain = machine.run("lsblk --noheadings --inverse --output TYPE $(findmnt -no SOURCE /sysroot)").stdout.split()
        assert "crypt" in chain, f"{boot} boot: the root file system is not encrypted: {chain}"
        pins = machine.run(["clevis", "luks", "list", "-d", label("root")], sudo=True).stdout
        assert "tpm2" in pins, f"{boot} boot: the volume is not bound to the TPM: {pins}"
        if boot == "first":
            machine.reboot()
