"""Stage `initramfs`: dracut, with Ignition, OSTree and our own module."""

import shutil
from pathlib import Path

from . import kernel
from .definition import Definition
from .mounts import chroot_mounts, overlay
from .output import Output

_MODULE = "90testos"


def build(definition: Definition, output: Output, inputs: dict[str, Path], scratch: Path, result: Path) -> None:
    """Run dracut inside a view of the root that also holds the kernel and our dracut module."""
    root = inputs["root"] / "root"
    with overlay(output, root, scratch / "dracut") as tree, chroot_mounts(output, tree):
        version = kernel.add(inputs["kernel"], tree)
        shutil.copytree(definition.initramfs / _MODULE, tree / "usr/lib/dracut/modules.d" / _MODULE)
        shutil.copy(definition.initramfs / "dracut.conf", tree / "run/dracut.conf")
        (tree / "run/empty").mkdir()
        output.run(
            [
                *("chroot", tree, "dracut", "--force", "--conf", "/run/dracut.conf", "--confdir", "/run/empty"),
                *("--kver", version, "/run/initramfs.img"),
            ]
        )
        shutil.copy(tree / "run/initramfs.img", result / "initramfs.img")
