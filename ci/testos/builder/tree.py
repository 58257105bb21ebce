"""Turns an installed Debian tree into the tree of an OSTree commit."""

import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import kernel
from .definition import Definition
from .output import Output
from .signing import PUBLIC_KEY

# Top-level folders whose content belongs to the machine and lives in /var.
_TO_VAR = {"home": "var/home", "root": "var/roothome", "opt": "var/opt", "srv": "var/srv", "mnt": "var/mnt"}
_EMPTY = ("boot", "dev", "proc", "run", "sys", "sysroot", "tmp", "var")
# Made by mmdebstrap from this host, or secret, or Ignition's to write (it refuses to overwrite a file).
_NOT_IN_AN_IMAGE = (
    *("etc/hostname", "etc/resolv.conf", "etc/machine-id", "etc/fstab", "etc/.pwd.lock"),
    *("etc/apt/sources.list", "etc/apt/apt.conf.d/99mmdebstrap"),
)


# A checkout keeps no modes but "executable".
_SECRET_FOLDERS = {"sudoers.d": 0o440}


def configure(definition: Definition, output: Output, tree: Path, inputs: Mapping[str, Path]) -> str:
    """Everything that still needs a Debian-shaped tree; returns the kernel's version."""
    for name in _NOT_IN_AN_IMAGE:
        (tree / name).unlink(missing_ok=True)
    for path in (*(tree / "etc/apt/sources.list.d").iterdir(), *(tree / "etc/ssh").glob("ssh_host_*")):
        path.unlink()
    # Not empty: only this word makes systemd see a first boot, on which it applies the presets that Ignition writes.
    (tree / "etc/machine-id").write_text("uninitialized\n")
    (tree / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    for folder in definition.overlays:
        copy_overlay(folder, tree)
    shutil.rmtree(tree / "etc/selinux")
    shutil.copytree(inputs["policy"] / "selinux", tree / "etc/selinux", symlinks=True)
    (tree / "usr/share/pki").mkdir(exist_ok=True)
    shutil.copy(inputs["signing"] / PUBLIC_KEY, tree / "usr/share/pki" / PUBLIC_KEY)

    # Enablement is what our preset says and nothing that a package's installation left.
    enabled = tree / "etc/systemd/system"
    shutil.rmtree(enabled)
    enabled.mkdir()
    for folder in definition.overlays:
        if (folder / "etc/systemd/system").is_dir():
            copy_overlay(folder / "etc/systemd/system", enabled)
    output.run(["chroot", tree, "systemctl", "preset-all"])
    for unit in definition.masked_units:
        mask = enabled / unit
        mask.unlink(missing_ok=True)
        mask.symlink_to("/dev/null")

    version = kernel.add(inputs["kernel"], tree)
    shutil.copy(inputs["initramfs"] / "initramfs.img", tree / "usr/lib/modules" / version / "initramfs.img")
    for name in definition.removed:
        remove(tree / name)
    for number, script in enumerate(definition.scripts):
        inside = f"run/configure-{number}"
        shutil.copy(script, tree / inside)
        output.run(["chroot", tree, f"/{inside}"])
    return version


def copy_overlay(source: Path, tree: Path) -> None:
    """Copy real files with the modes of a system, whatever the checkout's owner and umask are."""
    for path in sorted(source.rglob("*")):
        target = tree / path.relative_to(source)
        if path.is_dir() and not path.is_symlink():
            target.mkdir(exist_ok=True)
            continue
        target.unlink(missing_ok=True)
        shutil.copyfile(path, target, follow_symlinks=False)
        if not path.is_symlink():
            usual = 0o755 if path.stat().st_mode & 0o100 else 0o644
            target.chmod(_SECRET_FOLDERS.get(path.parent.name, usual))


def rearrange(tree: Path) -> None:
    """The OSTree layout: nothing outside /usr but links and mount points."""
    sysimage = tree / "usr/lib/sysimage"
    sysimage.mkdir(exist_ok=True)
    shutil.move(tree / "var/lib/dpkg", sysimage / "dpkg")
    known = tmpfiles_paths((tree / "usr/lib/tmpfiles.d").glob("*.conf"))
    lines = [*var_lines(tree, known), "L /var/lib/dpkg - - - - ../../usr/lib/sysimage/dpkg"]
    (tree / "usr/lib/tmpfiles.d/testos-var.conf").write_text("\n".join(lines) + "\n")

    shutil.move(tree / "etc", tree / "usr/etc")
    for name in (*_EMPTY, *_TO_VAR, "media", "usr/local"):
        path = tree / name
        if path.exists() or path.is_symlink():
            remove(path)
    for name in _EMPTY:
        (tree / name).mkdir()
    (tree / "tmp").chmod(0o1777)
    for name, target in _TO_VAR.items():
        (tree / name).symlink_to(target)
    (tree / "media").symlink_to("run/media")
    (tree / "ostree").symlink_to("sysroot/ostree")
    (tree / "usr/local").symlink_to("../var/usrlocal")
    for link in tree.glob("*.old"):
        link.unlink()


def tmpfiles_paths(files: Iterable[Path]) -> frozenset[str]:
    """The paths that tmpfiles.d files name already."""
    lines = (line.split() for file in files for line in file.read_text().splitlines() if not line.startswith("#"))
    return frozenset(words[1].rstrip("/") for words in lines if len(words) > 1)


def var_lines(tree: Path, known: frozenset[str]) -> list[str]:
    """tmpfiles.d lines that make the folders and links of /var again; files are caches and state, and go."""
    lines = []
    for path in sorted((tree / "var").rglob("*")):
        name = f"/{path.relative_to(tree)}"
        if name in known or name.startswith(("/var/lib/apt/", "/var/cache/apt/", "/var/lib/selinux", "/var/lib/ucf/")):
            continue
        if path.is_symlink():
            lines.append(f"L {name} - - - - {path.readlink()}")
        elif path.is_dir():
            status = path.stat()
            lines.append(f"d {name} {stat.S_IMODE(status.st_mode):04o} {status.st_uid} {status.st_gid} -")
    return lines


def remove(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        os.unlink(path)  # noqa: PTH108 - also a dangling link
