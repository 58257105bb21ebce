"""The ``-P`` options that every cloud has."""

from __future__ import annotations

from dataclasses import dataclass

from kola.cloud.jump import JUMP_HOST
from kola.errors import ConfigError

ADDRESSES = ("public", "private")


@dataclass(frozen=True)
class CloudOptions:
    """What a user may set on any cloud; a driver adds its own by inheriting.

    Attributes:
        instance_types: to try in that order, separated by commas; empty: those of the table that fit, cheapest first.
        types_file: a TOML file with another table of types and prices.
        zones: to try, separated by commas; empty: all that the provider has.
        features: of the instance type, separated by commas: ``nested``, ``confidential``...
        spot: use spare capacity, which is cheaper and may be taken away.
        address: over which of its addresses a machine is reached: ``public`` or ``private``.
        jump_host: ``[USER@]HOST[:PORT]`` through which it is reached, by the user's ssh.
        ssh_port: where the machines' SSH is.
        ttl_hours: how long a machine may be needed; written into its tags.
        image_days: how long an uploaded image stays after its last use, in days; 0 deletes it with the run.
        slowness: factor on every time limit.
        endpoint: URL of the API, for a rehearsal; empty: the provider's own.
    """

    instance_types: str = ""
    types_file: str = ""
    zones: str = ""
    features: str = ""
    spot: bool = False
    address: str = "public"
    jump_host: str = ""
    ssh_port: int = 22
    ttl_hours: float = 24.0
    image_days: float = 7.0
    slowness: float = 1.0
    endpoint: str = ""

    def __post_init__(self) -> None:
        if self.address not in ADDRESSES:
            raise ConfigError(f"-P address={self.address}: allowed: {', '.join(ADDRESSES)}")
        if not 0 < self.ssh_port < 65536:  # noqa: PLR2004 - ports
            raise ConfigError(f"-P ssh-port={self.ssh_port}: allowed: 1 to 65535")
        if self.jump_host and not JUMP_HOST.fullmatch(self.jump_host):
            raise ConfigError(f"-P jump-host={self.jump_host}: expected [USER@]HOST[:PORT]")
        if self.slowness < 1:
            raise ConfigError(f"-P slowness={self.slowness}: at least 1")
        if self.ttl_hours <= 0 or self.image_days < 0:
            raise ConfigError("-P ttl-hours: more than 0; -P image-days: 0 or more")


def words(text: str) -> list[str]:
    """Return what a text lists, separated by commas."""
    return [word for word in (part.strip() for part in text.split(",")) if word]
