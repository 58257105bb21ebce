"""Which deployment a machine has booted, as the machine itself shows it.

That is the OSTree checksum; of one that was made of a container image the digest of the image's manifest, because each
machine, or each build of a disk, makes a commit of its own of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kola.errors import CommandFailed, CommandTimeout, MachineLost

if TYPE_CHECKING:
    from kola.machine import Machine

# The kernel argument names a link to the deployment's folder, CHECKSUM.SERIAL. Asking OSTree takes ten times as long,
# and rpm-ostree would start its service. On some systems only root may look into that folder.
_SHOW = """\
read -r line </proc/cmdline
for word in $line; do
    [[ $word == ostree=* ]] || continue
    path=${word#ostree=}
    folder=$(readlink -e "/sysroot$path" || readlink -e "$path" || sudo -n readlink -e "/sysroot$path") || continue
    echo "$folder"
    [[ $(<"$folder.origin") == *container-image-reference* ]] || continue
    commit=${folder##*/}
    ostree show --print-metadata-key=ostree.manifest-digest "${commit%.*}"
done
"""
_MANIFEST = re.compile(r"^'(?P<digest>sha256:[0-9a-f]{64})'$", re.MULTILINE)
_FOLDER = re.compile(r"/deploy/(?P<checksum>[0-9a-f]{64})\.\d+$", re.MULTILINE)


def booted_deployment(machine: Machine) -> str:
    """Return what a machine has booted: a checksum, or ``sha256:`` and that of an image; empty if it does not say.

    Right as long as nothing was deployed in this boot: ask early.
    """
    try:
        shown = machine.run(_SHOW, check=False, shown="which deployment is booted").stdout
    except (CommandFailed, CommandTimeout, MachineLost):  # whoever needs the machine will see it, and say more
        return ""
    return parse_deployment(shown)


def parse_deployment(shown: str) -> str:
    """Return what the machine's answer says; pure."""
    if (manifest := _MANIFEST.search(shown)) is not None:
        return manifest["digest"]
    folder = _FOLDER.search(shown)
    return folder["checksum"] if folder else ""
