"""Architectures as data: nothing else in the tree branches on one."""

from __future__ import annotations

import platform as host
from dataclasses import dataclass

from kola.errors import ConfigError


@dataclass(frozen=True)
class Arch:
    """One architecture under all the names that the field uses for it.

    Attributes:
        name: the rpm spelling, which is also Fedora CoreOS's and kola's.
        deb: Debian's spelling.
        go: Go's spelling.
        qemu: the suffix of ``qemu-system-``.
        machine: QEMU machine type.
        tcg_cpu: CPU model under emulation.
        console: the serial console's kernel name.
        ignition_by: how QEMU hands over the Ignition config, ``fw_cfg`` or ``blk`` (a disk with serial ``ignition``).
        slowness: factor on time limits against x86_64.
    """

    name: str
    deb: str
    go: str
    qemu: str
    machine: str
    tcg_cpu: str
    console: str
    ignition_by: str
    slowness: float = 1.0


ARCHES: dict[str, Arch] = {
    arch.name: arch
    for arch in (
        Arch("x86_64", "amd64", "amd64", "x86_64", "q35", "max", "ttyS0", "fw_cfg"),
        Arch("aarch64", "arm64", "arm64", "aarch64", "virt", "cortex-a72", "ttyAMA0", "fw_cfg", 1.5),
        Arch("ppc64le", "ppc64el", "ppc64le", "ppc64", "pseries", "power9", "hvc0", "blk", 2.0),
        Arch("s390x", "s390x", "s390x", "s390x", "s390-ccw-virtio", "max", "ttysclp0", "blk", 2.0),
    )
}


def get_arch(name: str) -> Arch:
    """Return the architecture of that name, in any of its spellings.

    Raises:
        ConfigError: no such architecture; lists those there are.
    """
    for arch in ARCHES.values():
        if name in {arch.name, arch.deb, arch.go, arch.qemu}:
            return arch
    raise ConfigError(f"unknown architecture '{name}'; known: {', '.join(ARCHES)}")


def host_arch() -> Arch:
    """Return the architecture of the machine that this process runs on."""
    return get_arch(host.machine())
