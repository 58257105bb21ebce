import itertools
from dataclasses import FrozenInstanceError, replace

import pytest
from builder.definition import MIB, Definition, DiskLayout
from builder.disk import partitions, sfdisk_script
from builder.errors import BuildError


def test_the_default_is_valid_and_frozen() -> None:
    definition = Definition()
    with pytest.raises(FrozenInstanceError):
        definition.suite = "sid"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Test OS"}, "no name for an image"),
        ({"arch": "aarch64"}, "x86_64 only"),
        ({"packages": ("podman", "jq", "podman")}, "package listed twice: podman"),
        ({"kernel_arguments": ("rw",)}, r"lack \$ignition_firstboot"),
        ({"kernel_arguments": ("$ignition_firstboot", "a b")}, "not one kernel argument: 'a b'"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(BuildError, match=message):
        replace(Definition(), **change)  # type: ignore[arg-type]


def test_a_folder_that_is_not_there_is_refused() -> None:
    default = Definition()
    with pytest.raises(BuildError, match="not there"):
        replace(default, overlays=(*default.overlays, default.policy / "missing"))


def test_a_disk_without_room_for_the_root_is_refused() -> None:
    with pytest.raises(BuildError, match="needs 2048"):
        DiskLayout(disk=2048)


def test_partitions_follow_each_other_and_leave_room_for_the_backup_table() -> None:
    layout = DiskLayout()
    table = list(partitions(layout).values())
    assert [part.name for part in table] == ["BIOS-BOOT", "EFI-SYSTEM", "boot", "root"]
    assert table[0].offset == MIB
    for before, after in itertools.pairwise(table):
        assert before.offset + before.size == after.offset
    assert table[-1].offset + table[-1].size == (layout.disk - 1) * MIB


def test_the_partition_table_is_in_sectors() -> None:
    script = sfdisk_script(partitions(DiskLayout()))
    assert 'start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, name="BIOS-BOOT"' in script
