"""What can be known to fail before anything is started."""

import os
import shutil
from pathlib import Path

from .errors import BuildError

GIB = 1024**3
NEEDED_SPACE = 6 * GIB
# Tool -> the Debian package that brings it.
_TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "sfdisk": "fdisk",
    "qemu-img": "qemu-utils",
    "zstd": "zstd",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
    "chroot": "coreutils",
}


def missing_packages() -> list[str]:
    """Packages whose tools are not there."""
    return sorted({package for tool, package in _TOOLS.items() if shutil.which(tool) is None})


def check_host(folder: Path) -> None:
    """Fail with one line that says what to do."""
    if os.geteuid() != 0:
        raise BuildError("building the test OS needs root (it mounts, and installs packages in a chroot): use sudo")
    missing = missing_packages()
    if missing:
        raise BuildError(f"not installed: {', '.join(missing)}; run ci/setup, or install with your package manager")
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < NEEDED_SPACE:
        raise BuildError(
            f"{free / GIB:.1f} GiB free in {existing}, {NEEDED_SPACE / GIB:.0f} GiB needed: "
            "make room, or set KOLA_CACHE to another place"
        )
