"""Stage `disk`: partition table, boot loader, a deployment of the commit, qcow2."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import grub
from .commit import REF
from .definition import MIB, Definition, DiskLayout
from .errors import BuildError
from .mounts import chroot_mounts, loop_options, mounted, overlay
from .output import Output

_STATEROOT = "testos"
# What the installed system follows; overlay/etc/ostree/remotes.d says where it is.
REMOTE = "testos"
_CONTEXT = "system_u:object_r:{}:s0"
_LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
_ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
_BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"


@dataclass(frozen=True)
class Partition:
    """One partition, in bytes."""

    name: str
    kind: str
    offset: int
    size: int


def partitions(layout: DiskLayout) -> dict[str, Partition]:
    """The partitions of Fedora CoreOS, in its order and with its names."""
    found = {}
    offset = MIB
    for name, kind, size in (
        ("BIOS-BOOT", _BIOS_BOOT, layout.bios_boot),
        ("EFI-SYSTEM", _ESP, layout.esp),
        ("boot", _LINUX, layout.boot),
        ("root", _LINUX, layout.root),
    ):
        found[name] = Partition(name, kind, offset, size * MIB)
        offset += size * MIB
    return found


def sfdisk_script(table: dict[str, Partition]) -> str:
    """What sfdisk reads to write the table."""
    lines = ["label: gpt", "unit: sectors"]
    lines += [
        f'start={part.offset // grub.SECTOR}, size={part.size // grub.SECTOR}, type={part.kind}, name="{part.name}"'
        for part in table.values()
    ]
    return "\n".join(lines) + "\n"


def build(definition: Definition, output: Output, inputs: dict[str, Path], scratch: Path, result: Path) -> None:
    """Make the disk, then its compressed image."""
    raw = scratch / "disk.raw"
    table = partitions(definition.layout)
    with raw.open("wb") as file:
        file.truncate(definition.layout.disk * MIB)
    output.run(["sfdisk", "--quiet", raw], stdin=sfdisk_script(table).encode())
    grub.embed(raw, inputs["grub"])
    with overlay(output, inputs["root"] / "root", scratch / "disk-tools") as tools, chroot_mounts(output, tools):
        _make_file_systems(output, tools, raw, table)
        with _sysroot(output, tools, raw, table) as sysroot:
            _deploy(definition, output, tools, sysroot, inputs["commit"] / "repo")
            _label(output, sysroot)
    image = result / "disk.qcow2"
    output.run(["qemu-img", "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", "-m", "2", raw, image])
    raw.unlink()


def _make_file_systems(output: Output, tools: Path, raw: Path, table: dict[str, Partition]) -> None:
    inside = tools / "run/disk.raw"
    inside.touch()
    with mounted_file(output, raw, inside):
        chroot = ["chroot", str(tools)]
        # Tables written now instead of by every machine's kernel in the background; few inodes, so small tables.
        now = "lazy_itable_init=0,lazy_journal_init=0"
        for name, options in (("boot", ("-J", "size=4")), ("root", ("-J", "size=64", "-i", "32768"))):
            part = table[name]
            output.run(
                [
                    *(*chroot, "mkfs.ext4", "-q", "-F", "-L", name, *options),
                    *("-E", f"{now},offset={part.offset}", "/run/disk.raw", f"{part.size // 1024}k"),
                ]
            )
        esp = table["EFI-SYSTEM"]
        output.run(
            [
                *(*chroot, "mkfs.fat", "-F", "32", "-s", "1", "-n", "EFI-SYSTEM"),
                *("--offset", str(esp.offset // grub.SECTOR), "/run/disk.raw", str(esp.size // 1024)),
            ]
        )


@contextmanager
def mounted_file(output: Output, source: Path, target: Path) -> Iterator[None]:
    """Bind one file."""
    output.run(["mount", "--bind", source, target])
    try:
        yield
    finally:
        output.run(["umount", target])


@contextmanager
def _sysroot(output: Output, tools: Path, raw: Path, table: dict[str, Partition]) -> Iterator[Path]:
    root, boot = table["root"], table["boot"]
    options = loop_options(root.offset, root.size)
    with mounted(output, "-t", "ext4", "-o", options, raw, at=tools / "run/sysroot") as sysroot:
        (sysroot / "boot").mkdir()
        _set_label(sysroot / "boot", "boot_t")
        options = loop_options(boot.offset, boot.size)
        with mounted(output, "-t", "ext4", "-o", options, raw, at=sysroot / "boot"):
            yield sysroot


def _deploy(definition: Definition, output: Output, tools: Path, sysroot: Path, repo: Path) -> None:
    admin = ["chroot", str(tools), "ostree", "admin", "--sysroot=/run/sysroot"]
    local = ["chroot", str(tools), "ostree", "--repo=/run/sysroot/ostree/repo"]
    boot = sysroot / "boot"
    output.run([*admin, "init-fs", "--modern", "/run/sysroot"])
    output.run([*admin, "os-init", _STATEROOT])
    for setting in ("sysroot.readonly true", "sysroot.bootloader none", "sysroot.bootprefix false"):
        output.run([*local, "config", "set", *setting.split()])
    with mounted(output, "--bind", repo, at=tools / "run/repo"):
        output.run([*local, "pull-local", "--disable-fsync", f"--remote={REMOTE}", "/run/repo", REF])
    (boot / "loader.0").mkdir()
    (boot / "loader").symlink_to("loader.0")
    (boot / "grub2").mkdir()
    shutil.copy(definition.boot / "grub.cfg", boot / "grub2/grub.cfg")
    kargs = [f"--karg-append={argument}" for argument in definition.kernel_arguments]
    output.run([*admin, "deploy", f"--os={_STATEROOT}", *kargs, f"{REMOTE}:{REF}"])
    (boot / "ignition.firstboot").touch()


def _label(output: Output, sysroot: Path) -> None:
    """Fill the stateroot's /var, and label what no commit labels."""
    stateroot = sysroot / "ostree/deploy" / _STATEROOT
    found = [path for path in (stateroot / "deploy").iterdir() if path.is_dir()]
    if len(found) != 1:
        raise BuildError(f"there should be one deployment in {stateroot}, not {len(found)}")
    deployment = found[0]
    with chroot_mounts(output, deployment), mounted(output, "--bind", stateroot / "var", at=deployment / "var"):
        output.run(["chroot", deployment, "systemd-tmpfiles", "--create", "--prefix=/var"])
        contexts = "/etc/selinux/default/contexts/files/file_contexts"
        output.run(["chroot", deployment, "setfiles", "-F", contexts, "/var"])
    for path, kind in (
        (sysroot, "root_t"),
        (sysroot / "lost+found", "lost_found_t"),
        (sysroot / "boot", "boot_t"),
        (sysroot / "boot/lost+found", "lost_found_t"),
        (sysroot / "ostree", "usr_t"),
        (sysroot / "ostree/repo", "usr_t"),
        (sysroot / "ostree/deploy", "usr_t"),
        (stateroot, "usr_t"),
        (stateroot / "deploy", "usr_t"),
        (stateroot / "var", "var_t"),
    ):
        _set_label(path, kind)
    for path in (sysroot / "boot").rglob("*"):
        if path.name != "lost+found":
            _set_label(path, "boot_t")
    for path in (sysroot / "ostree").rglob("*"):
        if "security.selinux" not in os.listxattr(path, follow_symlinks=False):
            _set_label(path, "usr_t")


def _set_label(path: Path, kind: str) -> None:
    os.setxattr(path, "security.selinux", _CONTEXT.format(kind).encode() + b"\0", follow_symlinks=False)
