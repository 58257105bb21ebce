"""What the user may set with ``-P``."""

from __future__ import annotations

from dataclasses import dataclass

from kola.errors import ConfigError

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
    """

    uri: str = EMBED
    accelerator: str = "auto"
    cpu: str = ""

    def __post_init__(self) -> None:
        if self.uri not in URIS:
            why = "machines on other hosts are not supported" if "+" in self.uri or "///" not in self.uri else "unknown"
            raise ConfigError(f"-P uri={self.uri}: {why}; allowed: {', '.join(URIS)}")
        if self.accelerator not in ACCELERATORS:
            raise ConfigError(f"-P accelerator={self.accelerator}: allowed: {', '.join(ACCELERATORS)}")
