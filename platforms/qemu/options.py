"""What the user may set with ``-P``."""

from __future__ import annotations

from dataclasses import dataclass

from kola.errors import ConfigError
from kola.spec import FIRMWARES, parse_disk

EMBED, SESSION, SYSTEM = "qemu:///embed", "qemu:///session", "qemu:///system"
URIS = (EMBED, SESSION, SYSTEM)
ACCELERATORS = ("auto", "kvm", "tcg")


@dataclass(frozen=True)
class Options:
    """Options of the qemu platform.

    Attributes:
        uri: where libvirt's driver runs: in this process (``qemu:///embed``, needs no daemon), in the user's own
            daemon (``qemu:///session``) or in the host's (``qemu:///system``).
        accelerator: ``auto`` takes kvm where it really runs a guest and tcg elsewhere.
        cpu: QEMU's ``-cpu``; empty takes the host's under kvm and the architecture's default under tcg.
        firmware: what machines boot by, one of ``kola.spec.FIRMWARES``, where a test does not say.
        tpm: whether every machine has a TPM, and not only those of tests that ask for it.
        primary_disk: the root disk of every machine, as ``kola.spec.parse_disk`` reads it; what it says goes before
            what a test says, but for the size.
    """

    uri: str = EMBED
    accelerator: str = "auto"
    cpu: str = ""
    primary_disk: str = ""
    firmware: str = "bios"
    tpm: bool = False

    def __post_init__(self) -> None:
        if self.uri not in URIS:
            why = "machines on other hosts are not supported" if "+" in self.uri or "///" not in self.uri else "unknown"
            raise ConfigError(f"-P uri={self.uri}: {why}; allowed: {', '.join(URIS)}")
        if self.firmware not in FIRMWARES:
            raise ConfigError(f"-P firmware={self.firmware}: allowed: {', '.join(FIRMWARES)}")
        try:
            parse_disk(self.primary_disk)
        except ConfigError as e:
            raise ConfigError(f"-P primary_disk={self.primary_disk}: {e}") from e
        if self.accelerator not in ACCELERATORS:
            raise ConfigError(f"-P accelerator={self.accelerator}: allowed: {', '.join(ACCELERATORS)}")
