"""What the marker asks for is what the machine has: disks and kernel arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kola.machine import Machine

GIB = 1024**3
DISK_GIB = 12  # more than the images' own 10

pytestmark = pytest.mark.kola(
    isolation="shared",
    disk_gib=DISK_GIB,
    disks=[{"size_gib": 2, "serial": "kola-basic"}],
    kernel_args=["kola.basic=42", "kola.flag"],
    platforms=["qemu"],
    tags=["storage"],
    covers="storage",
)


def test_root_has_grown_to_the_disk(machine: Machine) -> None:
    """The disk has the size that was asked for, and the root file system grew to nearly all of it on the first boot."""
    source = machine.run("findmnt --noheadings --nofsroot --output SOURCE /var").stdout.strip()
    disk = machine.run(f"lsblk --noheadings --output PKNAME {source} | head -n1").stdout.strip()
    assert int(machine.run(f"cat /sys/block/{disk}/size").stdout) * 512 == DISK_GIB * GIB
    size = int(machine.run("stat --file-system --format='%b * %S' /var | xargs expr").stdout)
    assert size >= (DISK_GIB - 1.2) * GIB, (
        f"the root file system did not grow: it has {size / GIB:.1f} GiB of a disk of {DISK_GIB} GiB"
    )


def test_extra_disk(machine: Machine) -> None:
    """The extra disk is found by its serial, has its size, is empty, and keeps what is written to it."""
    disk = "/dev/disk/by-id/virtio-kola-basic"
    assert int(machine.run(f"blockdev --getsize64 {disk}", sudo=True).stdout) == 2 * GIB
    machine.run(f"cmp --bytes=1M {disk} /dev/zero", sudo=True)
    machine.run(f"mkfs.ext4 -q {disk} && mkdir -p /var/mnt/extra", sudo=True)
    mounted = f"mount {disk} /var/mnt/extra && {{command}} && umount /var/mnt/extra"
    machine.run(mounted.format(command="echo kept >/var/mnt/extra/file"), sudo=True)
    assert machine.run(mounted.format(command="cat /var/mnt/extra/file"), sudo=True).stdout == "kept\n"


@pytest.mark.kola(covers="kernel-args")
def test_kernel_arguments(machine: Machine) -> None:
    """The first boot already had the kernel arguments that were asked for, each once."""
    used = machine.run("cat /proc/cmdline").stdout.split()
    assert used.count("kola.basic=42") == 1
    assert used.count("kola.flag") == 1
