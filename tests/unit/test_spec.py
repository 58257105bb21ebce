"""Disks in coreos-assembler's notation, and what a machine can be asked for."""

from pathlib import Path

import pytest

from kola.errors import ConfigError
from kola.needs import parse_needs
from kola.spec import Bind, Capability, Disk, MachineSpec, parse_bind, parse_disk


@pytest.mark.parametrize(
    ("text", "disk"),
    [
        ("5G", Disk(5)),
        ("5", Disk(5)),
        ("", Disk()),
        (":mpath", Disk(multipath=True)),
        ("5G:mpath,4k", Disk(5, multipath=True, sectors="4k")),
        ("1G:channel=nvme", Disk(1, channel="nvme")),
        ("2G:512e,serial=data-1", Disk(2, "data-1", sectors="512e")),
        ("2G:channel=scsi,wwn=42", Disk(2, channel="scsi", wwn=42)),
    ],
)
def test_disks(text: str, disk: Disk) -> None:
    assert parse_disk(text) == disk


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5M", "expected a size in GiB, such as 5G, and options behind a colon"),
        ("0G", "size must be at least 1 GiB, not 0"),
        ("5G:", None),
        ("5G:sata", "unknown option 'sata'; allowed: channel=virtio|nvme|scsi, 4k, 512e, mpath"),
        ("5G:4k=yes", "unknown option '4k=yes'"),
        ("5G:channel", "unknown option 'channel'"),
        ("5G:channel=ide", "channel='ide': allowed: virtio, nvme, scsi"),
        ("5G:4k,512e", "'512e' says a second time what is said before"),
        ("5G:mpath,mpath", "'mpath' says a second time"),
        ("5G:serial=a b", "serial='a b': allowed: letters, digits"),
        ("5G:channel=scsi,wwn=x", "wwn=x: expected a whole number"),
        ("5G:wwn=1", "wwn has a meaning with channel=scsi or mpath only"),
        (f"5G:channel=scsi,wwn={1 << 64}", "expected a number of 64 bits"),
    ],
)
def test_no_disks(text: str, message: str | None) -> None:
    if message is None:
        assert parse_disk(text) == Disk(5)
        return
    with pytest.raises(ConfigError) as caught:
        parse_disk(text)
    assert str(caught.value).startswith(f"disk '{text}': ")
    assert message in str(caught.value)


def test_what_is_said_later_goes_before() -> None:
    base = Disk(serial="x", sectors="4k")
    assert base.overlaid(Disk(channel="nvme", sectors="512e")) == Disk(serial="x", channel="nvme", sectors="512e")
    assert base.overlaid(Disk()) == base


def test_what_disks_need_of_a_platform() -> None:
    assert MachineSpec(disks=(Disk(5),)).needs() == {Capability.EXTRA_DISKS}
    assert MachineSpec(root_disk=Disk(sectors="4k")).needs() == {Capability.DISK_OPTIONS}
    assert Capability.DISK_OPTIONS in MachineSpec(disks=(Disk(5, multipath=True),)).needs()


def test_sizes_of_disks() -> None:
    with pytest.raises(ConfigError, match="root_disk: its size is disk_gib"):
        MachineSpec(root_disk=Disk(5))
    with pytest.raises(ConfigError, match="disks: an extra disk needs a size"):
        MachineSpec(disks=(Disk(),))


def test_nodes_have_the_same_number_of_cpus() -> None:
    assert MachineSpec(numa_nodes=2).needs() == {Capability.NUMA}
    for nodes in (0, 3):
        with pytest.raises(ConfigError, match=f"numa_nodes={nodes}: vcpus=2 cannot be divided by that"):
            MachineSpec(numa_nodes=nodes)


def test_binds() -> None:
    assert parse_bind("/srv/a,/var/mnt/a") == Bind("/srv/a", "/var/mnt/a")
    assert parse_bind("/srv/a,/var/b,c", read_only=False) == Bind("/srv/a", "/var/b,c", read_only=False)
    assert parse_bind("a,/b").host == str(Path.cwd() / "a")
    assert MachineSpec(binds=(parse_bind("/a,/b"),)).needs() == {Capability.HOST_FOLDERS}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/a", "bind '/a': expected HOST,GUEST such as"),
        (",/b", "bind ',/b': expected HOST,GUEST such as"),
        ("/a,b", "guest='b': expected an absolute path"),
        ("/a,/", "guest='/': expected an absolute path"),
        ("/a,/b/../c", "expected an absolute path"),
        ("/a,/b c", "without spaces"),
    ],
)
def test_no_binds(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_bind(text)
    assert message in str(caught.value)


def test_firmware_is_asked_of_the_platform() -> None:
    assert MachineSpec(firmware="uefi").needs() == {Capability.UEFI}
    assert MachineSpec(firmware="bios").needs() == {Capability.BIOS}
    with pytest.raises(ConfigError, match="firmware='efi': allowed: bios, uefi, uefi-secure"):
        MachineSpec(firmware="efi")


def test_disks_in_a_marker(tmp_path: object) -> None:
    needs = parse_needs(
        {"root_disk": {"channel": "nvme"}, "disks": ["5G:mpath"]},
        folder=tmp_path,  # type: ignore[arg-type]
        rules=frozenset(),
    )
    assert needs.spec == MachineSpec(root_disk=Disk(channel="nvme"), disks=(Disk(5, multipath=True),))
