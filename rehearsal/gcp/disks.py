"""The disk that an image is made of: a packed archive as Google wants it."""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.gcp.answers import Failure

if TYPE_CHECKING:
    from rehearsal.host import CloudHost

_GIB = 1 << 30


def unpack(archive: Path, host: CloudHost, name: str) -> int:
    """Make an image of the host of an archive, and return the size of its disk in bytes.

    Raises:
        Failure: it is not a gzipped archive of one file ``disk.raw`` of whole GiB in the old format of GNU tar.
    """
    try:
        with tarfile.open(archive, "r:gz") as packed:
            (member,) = packed.getmembers()
    except (tarfile.TarError, OSError, ValueError, EOFError) as e:
        raise Failure(400, "invalid", f"The tar archive is not valid: {e}") from e
    size = member.size
    if member.name != "disk.raw" or size % _GIB or member.pax_headers or size == 0:
        raise Failure(400, "invalid", f"expected disk.raw of whole GiB, found {member.name} of {size} bytes")
    if not host.boots:
        host.add_image(name, archive, "gcp")
        return size
    with tempfile.TemporaryDirectory(dir=host.folder) as folder:
        raw = Path(folder, "disk.raw")
        subprocess.run(["tar", "--extract", "--gzip", "--file", archive, "--directory", folder], check=True)
        disk = host.folder / f"{name.rpartition('/')[2]}.qcow2"
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk], check=True)
    host.add_image(name, disk, "gcp")
    return size
