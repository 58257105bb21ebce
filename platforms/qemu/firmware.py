"""The UEFI firmware of this host, found by the descriptors that come with it.

Source: QEMU's docs/interop/firmware.json. A descriptor in an earlier folder replaces one of the same name in a later
one, an empty one hides it; the first that fits, by name, is meant.
"""

from __future__ import annotations

import fnmatch
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kola.errors import ConfigError
from kola.spec import FIRMWARES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kola.arch import Arch

FOLDERS = (Path("~/.config/qemu/firmware"), Path("/etc/qemu/firmware"), Path("/usr/share/qemu/firmware"))
BIOS, UEFI, SECURE = FIRMWARES
MISSING = "no such firmware is installed (Debian's package ovmf, Fedora's edk2-ovmf)"


@dataclass(frozen=True)
class Flash:
    """A firmware for a pair of flash devices.

    Attributes:
        code: file with the program, read by all machines.
        variables: file that each machine gets a copy of.
        secure: whether only what is signed boots.
    """

    code: Path
    variables: Path
    secure: bool


def find(wanted: str, arch: Arch, folders: Sequence[Path] = FOLDERS) -> Flash | None:
    """Return the firmware of that kind, or None if there is none.

    Args:
        wanted: ``uefi`` or ``uefi-secure``.
        arch: of the machines.
        folders: with descriptors, the first counts most.
    """
    fitting = (_flash(descriptor, arch) for descriptor in _descriptors(folders))
    return next((flash for flash in fitting if flash is not None and flash.secure == (wanted == SECURE)), None)


def need(wanted: str, arch: Arch) -> Flash | None:
    """Return the firmware of that kind; None for the BIOS, which QEMU brings.

    Raises:
        ConfigError: there is none.
    """
    if wanted == BIOS:
        return None
    found = find(wanted, arch)
    if found is None:
        raise ConfigError(f"firmware {wanted}: {MISSING}")
    return found


def _descriptors(folders: Sequence[Path]) -> list[Any]:
    files: dict[str, Path] = {}
    for folder in folders:
        for path in folder.expanduser().glob("*.json"):
            files.setdefault(path.name, path)
    return [found for _, path in sorted(files.items()) if (found := _read(path)) is not None]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes() or b"null")
    except (OSError, ValueError):  # not kola's to complain about: QEMU's other users would have
        return None


def _flash(descriptor: Any, arch: Arch) -> Flash | None:
    try:
        mapping = descriptor["mapping"]
        if "uefi" not in descriptor["interface-types"] or mapping["device"] != "flash":
            return None
        if mapping.get("mode", "split") != "split" or not any(_fits(target, arch) for target in descriptor["targets"]):
            return None
        code, variables = mapping["executable"], mapping["nvram-template"]
        if {code["format"], variables["format"]} != {"raw"}:
            return None
        features = set(descriptor["features"])
        if "secure-boot" in features and "enrolled-keys" not in features:  # it would boot anything, and seem secure
            return None
        return Flash(Path(code["filename"]), Path(variables["filename"]), "secure-boot" in features)
    except (KeyError, TypeError, AttributeError):
        return None


def _fits(target: Any, arch: Arch) -> bool:
    # The patterns are of versioned names such as pc-q35-10.0.
    machines = (f"{arch.machine}-1.0", f"pc-{arch.machine}-1.0")
    named = any(fnmatch.fnmatch(name, pattern) for name in machines for pattern in target["machines"])
    return bool(target["architecture"] == arch.qemu and named)
