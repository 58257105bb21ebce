"""Which deployment a machine has booted: the OSTree checksum, as the machine itself shows it."""

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
    readlink -e "/sysroot$path" || readlink -e "$path" || sudo -n readlink -e "/sysroot$path"
done
"""
_FOLDER = re.compile(r"/deploy/(?P<checksum>[0-9a-f]{64})\.\d+$", re.MULTILINE)


def booted_deployment(machine: Machine) -> str:
    """Return the checksum of what a machine has booted; empty if it does not say.

    Right as long as nothing was deployed in this boot: ask early.
    """
    try:
        shown = machine.run(_SHOW, check=False, shown="which deployment is booted").stdout
    except (CommandFailed, CommandTimeout, MachineLost):  # whoever needs the machine will see it, and say more
        return ""
    match = _FOLDER.search(shown)
    return match["checksum"] if match else ""
