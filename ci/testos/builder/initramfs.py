"""Stage `initramfs`: dracut, with Ignition, OSTree and our own module."""

import shutil
from pathlib import Path

from .definition import Definition
from .mounts import chroot_mounts, overlay
from .output import Output
from .root import kernel_version

_MODULE = "90testos"


def build(definition: Definition, output: Output, root: Path, scratch: Path, result: Path) -> None:
    """Run dracut inside a view of the root that also holds our dracut module."""
    kernel = kernel_version(root)
    with overlay(output, root, scratch / "dracut") as tree, chroot_mounts(output, tree):
        shutil.copytree(definition.initramfs / _MODULE, tree / "usr/lib/dracut/modules.d" / _MODULE)
        shutil.copy(definition.initramfs / "dracut.conf", tree / "run/dracut.conf")
        (tree / "run/empty").mkdir()
        output.run(
            [
                *("chroot", tree, "dracut", "--force", "--conf", "/run/dracut.conf", "--confdir", "/run/empty"),
                *("--kver", kernel, "/run/initramfs.img"),
            ]
        )
        shutil.copy(tree / "run/initramfs.img", result / "initramfs.img")
