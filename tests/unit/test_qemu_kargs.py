"""Kernel arguments on a real disk: partitioned by sfdisk, formatted by mke2fs, edited by debugfs."""

import shutil
import subprocess
from pathlib import Path

import pytest

from kola.errors import PlatformError
from platforms.qemu import kargs
from platforms.qemu.disks import qemu_img

_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
MISSING = [tool for tool in ("sfdisk", "mke2fs", "debugfs", "e2fsck", "qemu-img") if not shutil.which(tool, path=_PATH)]
needs_tools = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

MIB = 1 << 20
ENTRY = "title x\noptions $ignition_firstboot root=LABEL=root quiet\nlinux /vmlinuz\n"


def _tool(*command: str, stdin: str | None = None) -> str:
    found = shutil.which(command[0], path=_PATH)
    assert found is not None
    return subprocess.run([found, *command[1:]], input=stdin, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A qcow2 overlay over a disk like Fedora CoreOS's, as far as its boot partition goes."""
    tree = tmp_path / "tree"
    (tree / "loader.1/entries").mkdir(parents=True)
    (tree / "loader").symlink_to("loader.1")
    (tree / "loader.1/entries/ostree-1.conf").write_text(ENTRY)
    (tree / "loader.1/entries/README").write_text("not an entry\n")
    (tree / "ignition.firstboot").touch()
    raw = tmp_path / "disk.raw"
    with raw.open("wb") as file:
        file.truncate(64 * MIB)
    layout = "label: gpt\nsize=1MiB, name=BIOS-BOOT\nsize=32MiB, name=boot\nname=root\n"
    _tool("sfdisk", "-q", str(raw), stdin=layout)
    boot = tmp_path / "boot.raw"
    _tool("mke2fs", "-q", "-t", "ext4", "-L", "boot", "-d", str(tree), str(boot), "32M")
    _tool("debugfs", "-w", "-R", "ea_set /loader/entries/ostree-1.conf security.selinux label", str(boot))
    with raw.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(boot.read_bytes())
    overlay = tmp_path / "over,lay.qcow2"  # QEMU's options are separated by commas
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(raw), str(overlay))
    return overlay


def _boot(disk: Path) -> Path:
    """Copy the boot partition out of the disk by other means than the code under test."""
    whole, boot = disk.parent / "whole.raw", disk.parent / "boot.out"
    qemu_img("convert", "-f", "qcow2", "-O", "raw", str(disk), str(whole))
    boot.write_bytes(whole.read_bytes()[2 * MIB : 34 * MIB])
    return boot


def _cat(boot: Path, path: str) -> str:
    return _tool("debugfs", "-R", f"cat {path}", str(boot))


@needs_tools
def test_arguments_for_every_boot(disk: Path) -> None:
    kargs.add(disk, ["a=b", "panic=1"], [])
    boot = _boot(disk)
    expected = ENTRY.replace("quiet", "quiet a=b panic=1")
    assert _cat(boot, "/loader/entries/ostree-1.conf") == expected
    assert _cat(boot, "/ignition.firstboot") == ""
    assert "label" in _tool("debugfs", "-R", "ea_get /loader/entries/ostree-1.conf security.selinux", str(boot))
    _tool("e2fsck", "-fn", str(boot))


@needs_tools
def test_arguments_for_the_first_boot_only(disk: Path) -> None:
    kargs.add(disk, [], ["ip=dhcp", "rd.neednet=1"])
    boot = _boot(disk)
    assert _cat(boot, "/loader/entries/ostree-1.conf") == ENTRY
    assert _cat(boot, "/ignition.firstboot") == (
        'set ignition_network_kcmdline="${ignition_network_kcmdline} ip=dhcp rd.neednet=1"\n'
    )
    _tool("e2fsck", "-fn", str(boot))


@needs_tools
def test_an_argument_gets_another_value(disk: Path) -> None:
    kargs.replace(disk, "root", "LABEL=other")
    boot = _boot(disk)
    expected = ENTRY.replace("root=LABEL=root quiet", "quiet root=LABEL=other")
    assert _cat(boot, "/loader/entries/ostree-1.conf") == expected
    _tool("e2fsck", "-fn", str(boot))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("a=1 rootflags=x root=2 b", "a=1 rootflags=x b root=3"),
        ("root=1 root=2", "root=3"),
        ("a", "a root=3"),
    ],
)
def test_only_the_argument_of_that_name(options: str, expected: str) -> None:
    entry = "title root=9\noptions {}\nlinux /vmlinuz\n"
    assert kargs.with_value(entry.format(options), "root", "3") == entry.format(expected)


@needs_tools
def test_the_base_is_not_written(disk: Path) -> None:
    before = (disk.parent / "disk.raw").read_bytes()
    kargs.add(disk, ["a"], ["b"])
    assert (disk.parent / "disk.raw").read_bytes() == before
    assert [path.name for path in disk.parent.iterdir() if path.name.startswith("boot-")] == []


@needs_tools
def test_a_disk_without_a_boot_partition(tmp_path: Path) -> None:
    empty = tmp_path / "empty.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", str(empty), "64M")
    with pytest.raises(PlatformError, match="no GPT partition 'boot'"):
        kargs.add(empty, ["a"], [])


def test_a_label_that_is_not_there() -> None:
    assert kargs.find_partition(b"\0" * 17408, "boot") is None


@needs_tools
def test_a_partition_table_that_is_cut_off(disk: Path) -> None:
    gpt = (disk.parent / "disk.raw").read_bytes()[: 3 * 512]
    assert kargs.find_partition(gpt, "boot") == kargs.Partition(2 * MIB, 32 * MIB)
    assert kargs.find_partition(gpt, "home") is None


def test_an_entry_without_options_gets_some() -> None:
    assert kargs.with_options("title x\n", ["a", "b"]) == "title x\noptions a b\n"


def test_what_the_first_boot_file_says_already_stays() -> None:
    before = 'set ignition_network_kcmdline="ip=dhcp"'
    after = kargs.with_first_boot(before, ["x=1"])
    assert after.splitlines() == [before, 'set ignition_network_kcmdline="${ignition_network_kcmdline} x=1"']
