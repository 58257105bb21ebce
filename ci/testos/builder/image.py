"""Stage `image`: what kola finds: the disk, the updates that lead on from it, and what both are.

They are described for kola, and once more in the form of coreos-assembler's meta.json, for `kola gate`.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

from .commit import Committed
from .definition import Definition
from .disk import REMOTE
from .updates import UNSIGNED, WRONGLY_SIGNED, Updates

DISK = "disk.qcow2"
REPOSITORY = "updates"
STREAM = "testos"


def build(definition: Definition, inputs: dict[str, Path], result: Path) -> None:
    """Put both into one folder, as links to the same files, and write image.json."""
    os.link(inputs["disk"] / DISK, result / DISK)
    shutil.copytree(inputs["updates"] / "repo", result / REPOSITORY, copy_function=os.link, symlinks=True)
    with (result / DISK).open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    installed = Committed.read(inputs["commit"])
    described = description(definition, installed, Updates.read(inputs["updates"]), result.name, checksum)
    (result / "image.json").write_text(json.dumps(described, indent=2) + "\n")
    meta = metadata(definition, installed, result.name, checksum, (result / DISK).stat().st_size)
    (result / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")


def description(
    definition: Definition, installed: Committed, updates: Updates, key: str, checksum: str
) -> dict[str, object]:
    """What is said about the image."""
    return {
        "schema": 1,
        "name": definition.name,
        "version": installed.version,
        "build_id": key,
        "arch": definition.arch,
        "file": DISK,
        "sha256": checksum,
        "distro": "testos",
        "stream": STREAM,
        "ignition_max": definition.ignition_max,
        "capabilities": list(definition.capabilities),
        "commit": installed.commit,
        "kernel": installed.kernel,
        "updates": {
            "repo": REPOSITORY,
            "remote": REMOTE,
            "releases": [
                {"version": one.version, "commit": one.commit, "kernel": one.kernel, "ref": one.ref}
                for one in updates.releases
            ],
            "unsigned": {"commit": updates.unsigned, "ref": UNSIGNED},
            "wrongly_signed": {"commit": updates.wrongly_signed, "ref": WRONGLY_SIGNED},
        },
    }


def metadata(definition: Definition, installed: Committed, key: str, checksum: str, size: int) -> dict[str, object]:
    """What coreos-assembler's meta.json says of a build; its disk is the same for all platforms."""
    return {
        "buildid": key,
        "name": definition.name,
        "coreos-assembler.basearch": definition.arch,
        "coreos-assembler.oci-imported-labels": {"com.coreos.stream": STREAM},
        "ref": installed.ref,
        "ostree-commit": installed.commit,
        "ostree-version": installed.version,
        "images": {"qemu": {"path": DISK, "sha256": checksum, "size": size}},
    }
