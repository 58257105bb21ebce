import struct

from builder.grub import CORE_LBA, SECTOR, core_with_blocklist, master_boot_record


def test_the_boot_record_points_at_core_and_keeps_the_partition_entries() -> None:
    existing = bytes(0x1B8) + b"\x11" * (SECTOR - 0x1B8)
    sector = master_boot_record(existing, b"\xee" * 600)
    assert len(sector) == SECTOR
    assert struct.unpack_from("<Q", sector, 0x5C) == (CORE_LBA,)
    assert sector[0x66:0x68] == b"\x90\x90"
    assert sector[0x1B8:] == existing[0x1B8:]
    assert sector[:0x5C] == b"\xee" * 0x5C


def test_core_names_the_sectors_behind_its_first() -> None:
    core = core_with_blocklist(b"\x55" * (3 * SECTOR + 1))
    assert len(core) == 4 * SECTOR
    assert struct.unpack_from("<QHH", core, 0x1F4) == (CORE_LBA + 1, 3, 0x820)
