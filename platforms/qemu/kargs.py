"""Kernel arguments, written into a machine's disk before its first boot.

Needs neither root nor a helper machine: the boot partition is copied out of the disk, edited with debugfs (e2fsprogs)
and copied back. Fedora CoreOS's GRUB reads BLS entries (uapi-group.org, Boot Loader Specification) from it, and sources
the file ``ignition.firstboot`` whose ``ignition_network_kcmdline`` ends up on the first boot's command line only.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kola.errors import ConfigError, PlatformError
from platforms.qemu.disks import qemu_img

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BOOT_LABEL = "boot"
_SECTOR = 512
_GPT_BYTES = 34 * _SECTOR
_ENTRIES = "/loader/entries"
_FIRST_BOOT_FILE = "/ignition.firstboot"
_LISTED = re.compile(r"^/\d+/\d+/\d+/\d+/([^/]+)/", re.MULTILINE)  # /INODE/MODE/UID/GID/NAME/SIZE/
_LABEL_ATTRIBUTE = "security.selinux"


@dataclass(frozen=True)
class Partition:
    """Where a partition is on its disk, in bytes."""

    offset: int
    size: int


def add(disk: Path, always: Sequence[str], first_boot: Sequence[str]) -> None:
    """Append kernel arguments to a qcow2 disk that has not booted yet.

    Args:
        disk: a qcow2 overlay; written.
        always: for every boot, the first included.
        first_boot: for the first boot only.

    Raises:
        ConfigError: debugfs is not installed.
        PlatformError: the disk has no such boot partition.
    """
    with _boot_files(disk) as files:
        if always:
            for path in files.entries():
                files.write(path, with_options(files.read(path), always))
        if first_boot:
            if _FIRST_BOOT_FILE not in files.listing("/"):
                raise PlatformError(f"kernel arguments cannot be set: no {_FIRST_BOOT_FILE} on the boot partition")
            files.write(_FIRST_BOOT_FILE, with_first_boot(files.read(_FIRST_BOOT_FILE), first_boot))


def replace(disk: Path, name: str, value: str) -> None:
    """Give a kernel argument of every boot another value; where it is not there, it is appended.

    Args:
        disk: a qcow2 overlay; written.
        name: of the argument, before the equals sign.
        value: behind it.

    Raises:
        ConfigError: debugfs is not installed.
        PlatformError: the disk has no such boot partition.
    """
    with _boot_files(disk) as files:
        for path in files.entries():
            files.write(path, with_value(files.read(path), name, value))


@contextlib.contextmanager
def _boot_files(disk: Path) -> Iterator[BootFiles]:
    """Copy the boot partition out of a disk for the context, and back at its end."""
    with tempfile.TemporaryDirectory(dir=disk.parent, prefix="boot-") as name:
        folder = Path(name)
        partition = find_partition(_read(disk, Partition(0, _GPT_BYTES), folder / "gpt").read_bytes(), BOOT_LABEL)
        if partition is None:
            raise PlatformError(f"kernel arguments cannot be set: the image has no GPT partition '{BOOT_LABEL}'")
        boot = _read(disk, partition, folder / "boot.img")
        yield BootFiles(boot, folder)
        qemu_img("convert", "-n", "-f", "raw", str(boot), "--target-image-opts", _options(disk, partition))


def find_partition(gpt: bytes, label: str) -> Partition | None:
    """Find a partition by its name in the first 34 sectors of a disk (UEFI specification, 5.3 GPT disk layout)."""
    if gpt[_SECTOR : _SECTOR + 8] != b"EFI PART":
        return None
    table, count, size = struct.unpack_from("<QII", gpt, _SECTOR + 72)
    for number in range(count):
        entry = gpt[table * _SECTOR + number * size :][:size]
        if len(entry) < size:
            break
        first, last = struct.unpack_from("<QQ", entry, 32)
        name = entry[56:128].decode("utf-16-le", errors="replace").rstrip("\0")
        if name == label and first:
            return Partition(first * _SECTOR, (last - first + 1) * _SECTOR)
    return None


def with_options(entry: str, arguments: Sequence[str]) -> str:
    """Append kernel arguments to the ``options`` line of a BLS entry; one is added if there is none."""
    lines = entry.splitlines()
    found = [number for number, line in enumerate(lines) if line.split(maxsplit=1)[:1] == ["options"]]
    if found:
        lines[found[-1]] = " ".join([lines[found[-1]].rstrip(), *arguments])
    else:
        lines.append(" ".join(["options", *arguments]))
    return "\n".join(lines) + "\n"


def with_value(entry: str, name: str, value: str) -> str:
    """Set a kernel argument on the ``options`` line of a BLS entry in place of any others of that name."""
    kept = [
        " ".join(word for word in line.split() if not word.startswith(f"{name}="))
        if line.split(maxsplit=1)[:1] == ["options"]
        else line
        for line in entry.splitlines()
    ]
    return with_options("\n".join(kept), [f"{name}={value}"])


def with_first_boot(script: str, arguments: Sequence[str]) -> str:
    """Append to the GRUB variable that holds the first boot's arguments, after whatever the file set it to."""
    separator = "" if not script or script.endswith("\n") else "\n"
    return f'{script}{separator}set ignition_network_kcmdline="${{ignition_network_kcmdline}} {" ".join(arguments)}"\n'


class BootFiles:
    """Files of an ext4 image, through debugfs; what is written keeps its mode and its SELinux label."""

    def __init__(self, image: Path, folder: Path) -> None:
        self._image = image
        self._folder = folder
        # It is an administrator's tool, and they are not on an ordinary user's path.
        found = shutil.which("debugfs") or shutil.which("debugfs", path="/usr/sbin:/sbin")
        if found is None:
            raise ConfigError("kernel arguments need debugfs: install e2fsprogs")
        self._debugfs = found

    def listing(self, folder: str) -> list[str]:
        """Return the paths in a folder, sorted; none if it is not there."""
        names = _LISTED.findall(self._run(f"ls -p {folder}"))
        return sorted(f"{folder.rstrip('/')}/{name}" for name in names if name not in {".", ".."})

    def entries(self) -> list[str]:
        """Return the paths of the BLS entries.

        Raises:
            PlatformError: there are none.
        """
        found = [path for path in self.listing(_ENTRIES) if path.endswith(".conf")]
        if not found:
            raise PlatformError(f"kernel arguments cannot be set: no {_ENTRIES}/*.conf on the boot partition")
        return found

    def read(self, path: str) -> str:
        """Return a file's text."""
        local = self._folder / "read"
        local.unlink(missing_ok=True)
        self._run(f'dump "{path}" "{local}"')
        return local.read_text()

    def write(self, path: str, text: str) -> None:
        """Replace a file.

        Raises:
            PlatformError: what is there afterwards is not what was written.
        """
        local, label = self._folder / "write", self._folder / "label"
        local.write_text(text)
        label.unlink(missing_ok=True)
        self._run(f'ea_get -f "{label}" "{path}" {_LABEL_ATTRIBUTE}')
        commands = [f'rm "{path}"', f'write "{local}" "{path}"', f'set_inode_field "{path}" mode 0100644']
        commands += [f'set_inode_field "{path}" {owner} 0' for owner in ("uid", "gid")]
        if label.exists() and label.stat().st_size:
            commands.append(f'ea_set -f "{label}" "{path}" {_LABEL_ATTRIBUTE}')
        self._run(*commands)
        if self.read(path) != text:
            raise PlatformError(f"kernel arguments cannot be set: debugfs cannot write {path} on the boot partition")

    def _run(self, *commands: str) -> str:
        """Run debugfs, whose exit status says nothing about its commands."""
        script = self._folder / "script"
        script.write_text("\n".join(commands) + "\n")
        done = subprocess.run(
            [self._debugfs, "-w", "-f", str(script), str(self._image)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise PlatformError(f"kernel arguments cannot be set: {done.stderr.strip().splitlines()[-1]}")
        return done.stdout


def _read(disk: Path, partition: Partition, target: Path) -> Path:
    qemu_img("convert", "--image-opts", _options(disk, partition), "-O", "raw", str(target))
    return target


def _options(disk: Path, partition: Partition) -> str:
    name = str(disk).replace(",", ",,")
    return (
        f"driver=raw,offset={partition.offset},size={partition.size},"
        f"file.driver=qcow2,file.file.driver=file,file.file.filename={name}"
    )
