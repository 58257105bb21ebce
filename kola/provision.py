"""What kola adds to a test's Ignition config so that it can reach and watch the machine; pure but for package data."""

from __future__ import annotations

from functools import reduce
from importlib import resources
from typing import TYPE_CHECKING

from kola import ignition
from kola.spec import Capability

if TYPE_CHECKING:
    from collections.abc import Collection

    from kola.keys import KeyPair

USER = "core"
"""The user of Fedora CoreOS that has sudo without a password."""
UNITS = {
    Capability.JOURNAL_CHANNEL: "kola-journal.service",
    Capability.READY_SIGNAL: "kola-ready.service",
    Capability.SNAPSHOT: "kola-wake.service",
}
"""What a guest needs for what its platform can do."""


def provision(
    config: ignition.Config | None,
    *,
    client_key: str,
    host_key: KeyPair,
    capabilities: Collection[Capability],
    additions: ignition.Config | None = None,
) -> ignition.Config:
    """Return the test's config with kola's and the user's additions; the test's own entries win over kola's.

    Added: the run's public key for ``core``, the machine's SSH host key (so that the first connection is already
    verified), the units (``UNITS``) of the ports that the platform has, and no automatic updates.

    Args:
        config: the test's own, or None.
        client_key: public key line that may log in.
        host_key: the machine's own, made for it alone.
        capabilities: of the platform.
        additions: what the user gave for all machines of the run, or None; wins over all else.
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
    return reduce(ignition.merge, (part for part in (config, additions) if part is not None), added)


def _guest_file(name: str) -> str:
    return resources.files("kola.guest").joinpath(name).read_text()
