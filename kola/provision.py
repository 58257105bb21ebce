"""What kola adds to a test's Ignition config so that it can reach and watch the machine; pure but for package data."""

from __future__ import annotations

import string
from functools import reduce
from importlib import resources
from typing import TYPE_CHECKING

from kola import ignition
from kola.spec import Capability, bind_tag

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kola.keys import KeyPair
    from kola.spec import Bind

USER = "core"
"""The user of Fedora CoreOS that has sudo without a password."""
UNITS = {
    Capability.JOURNAL_CHANNEL: "kola-journal.service",
    Capability.READY_SIGNAL: "kola-ready.service",
    Capability.SNAPSHOT: "kola-wake.service",
}
"""What a guest needs for what its platform can do."""
_UNESCAPED = frozenset(f"{string.ascii_letters}{string.digits}:_.")


def provision(
    config: ignition.Config | None,
    *,
    client_key: str,
    host_key: KeyPair,
    capabilities: Collection[Capability],
    additions: ignition.Config | None = None,
    binds: Sequence[Bind] = (),
) -> ignition.Config:
    """Return the test's config with kola's and the user's additions; the test's own entries win over kola's.

    Added: the run's public key for ``core``, the machine's SSH host key (so that the first connection is already
    verified), the units (``UNITS``) of the ports that the platform has, those that mount folders of this host, and no
    automatic updates.

    Args:
        config: the test's own, or None.
        client_key: public key line that may log in.
        host_key: the machine's own, made for it alone.
        capabilities: of the platform.
        additions: what the user gave for all machines of the run, or None; wins over all else.
        binds: folders of this host that the machine mounts.
    """
    added = ignition.empty()
    added = ignition.add_user(added, USER, ssh_keys=(client_key,))
    key = "/etc/ssh/ssh_host_ed25519_key"
    added = ignition.add_file(added, key, host_key.private, mode=0o600, overwrite=True)
    added = ignition.add_file(added, f"{key}.pub", host_key.public + "\n", mode=0o644, overwrite=True)
    added = ignition.add_file(
        added, "/etc/zincati/config.d/90-disable-auto-updates.toml", _guest_file("90-disable-auto-updates.toml")
    )
    for capability, unit in UNITS.items():
        if capability in capabilities:
            added = ignition.add_unit(added, unit, _guest_file(unit), enabled=True)
    for index, bind in enumerate(binds):
        added = ignition.add_unit(added, mount_unit_name(bind.guest), _mount_unit(index, bind), enabled=True)
    return reduce(ignition.merge, (part for part in (config, additions) if part is not None), added)


def mount_unit_name(path: str) -> str:
    """Return the name of the unit that mounts something at an absolute path (systemd.unit(5), String Escaping)."""
    parts = [part for part in path.split("/") if part]
    return "-".join(_escaped(part, first=not number) for number, part in enumerate(parts)) + ".mount"


def _escaped(part: str, *, first: bool) -> str:
    return "".join(
        c if c in _UNESCAPED and not (first and c == "." and index == 0) else "".join(f"\\x{b:02x}" for b in c.encode())
        for index, c in enumerate(part)
    )


def _mount_unit(index: int, bind: Bind) -> str:
    # Before what a test may start; nothing that the boot itself waits for.
    return (
        f"[Unit]\nDescription=Folder of the host: {bind.host.replace('%', '%%')}\nDefaultDependencies=no\n"
        f"After=systemd-tmpfiles-setup.service local-fs.target\nBefore=basic.target umount.target\n"
        f"Conflicts=umount.target\n\n[Mount]\nWhat={bind_tag(index)}\nWhere={bind.guest}\nType=virtiofs\n"
        f"Options={'ro' if bind.read_only else 'rw'}\n\n[Install]\nWantedBy=multi-user.target\n"
    )


def _guest_file(name: str) -> str:
    return resources.files("kola.guest").joinpath(name).read_text()
