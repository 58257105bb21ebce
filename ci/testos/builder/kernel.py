"""Stage `kernel`: one kernel with its modules, ready for /usr/lib/modules."""

import shutil
from pathlib import Path

from .definition import Definition
from .errors import BuildError
from .mounts import chroot_mounts, overlay
from .output import Output
from .root import mmdebstrap

_MODULES = "usr/lib/modules"


def build(definition: Definition, output: Output, root: Path, scratch: Path, result: Path) -> None:
    """Fetch the package, put the kernel beside its modules, index them with the root's own depmod."""
    package = scratch / "package"
    mmdebstrap(output, definition.kernel_suite, (definition.kernel_package,), variant="extract", target=package)
    version = only_version(package / _MODULES)
    modules = package / _MODULES / version
    # Newer packages of Debian have it there themselves.
    image = package / f"boot/vmlinuz-{version}"
    if image.exists():
        shutil.copy(image, modules / "vmlinuz")
    with overlay(output, root, scratch / "depmod") as tree, chroot_mounts(output, tree):
        add(package / _MODULES, tree)
        output.run(["chroot", tree, "depmod", version])
        shutil.copytree(tree / _MODULES / version, result / version, symlinks=True)


def only_version(folder: Path) -> str:
    """The one kernel in a folder of modules."""
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if len(found) != 1:
        raise BuildError(f"there must be one kernel in {folder}, not {len(found)}: {', '.join(found) or 'none'}")
    return found[0]


def add(kernels: Path, tree: Path) -> str:
    """Put a folder's one kernel into a tree; returns its version."""
    version = only_version(kernels)
    shutil.copytree(kernels / version, tree / _MODULES / version, symlinks=True, dirs_exist_ok=True)
    return version
