"""One external test: what it needs, as every other test of a run says it. Pure but for reading its files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kola import ignition
from kola.configs import read_config
from kola.errors import ConfigError
from kola.external.metadata import HEAD, Metadata, parse_executable, parse_folder
from kola.external.program import Program
from kola.needs import Isolation, Needs
from kola.spec import Capability, MachineSpec, Nic, parse_bind, parse_disk

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from kola.external.tree import Found

TAG = "external"
"""Every external test has this tag."""
NEEDS_INTERNET, PLATFORM_INDEPENDENT = "needs-internet", "platform-independent"
SKIP_BASE_CHECKS, SECURE_BOOT = "skip-base-checks", "secure-boot"
NUMA_NODES = 2
"""Of a test with ``numaNodes``."""
_INDEPENDENT_PLATFORM = "qemu"
_EXCLUSIVE_MINUTES, _SHARED_MINUTES = 10, 1


@dataclass(frozen=True)
class ExternalTest:
    """A test that was found, with what it says of itself.

    Attributes:
        container: file with the image's operating system, which the machine gets; None if the test does not ask for it.
        bucket: number among the tests that share its machine, from 1 on; 0 while it has none, or none to share.
        merged: the config of that machine.
    """

    found: Found
    metadata: Metadata
    config: ignition.Config | None = None
    container: Path | None = None
    bucket: int = 0
    merged: ignition.Config | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """As kola calls it."""
        return self.found.name

    @property
    def tags(self) -> tuple[str, ...]:
        """Its own, and the one that all have."""
        return (TAG, *self.metadata.tags)

    @property
    def shared(self) -> bool:
        """Whether it really is on a machine with others."""
        return self.bucket > 0

    @property
    def minutes(self) -> int:
        """How long it may take on a fast machine."""
        return self.metadata.timeout_min or (_EXCLUSIVE_MINUTES if self.metadata.exclusive else _SHARED_MINUTES)

    def program(self) -> Program:
        """Return what its machine has to know of it."""
        number = self.bucket if self.shared else None
        return Program(self.name, self.found.executable, self.found.data, number, self.container)

    def needs(self, arch: str, rules: Collection[str]) -> Needs:
        """Return what it needs, as a test's marker would say it.

        Args:
            arch: of the machine.
            rules: all that its machine is checked by.
        """
        metadata = self.metadata
        without_checks = SKIP_BASE_CHECKS in metadata.tags
        return Needs(
            isolation=Isolation.SHARED if self.shared else Isolation.FRESH,
            spec=self.spec(arch),
            needs=(SECURE_BOOT,) if SECURE_BOOT in metadata.tags else (),
            ignition=self.merged if self.shared else self.config,
            platforms=metadata.platforms,
            architectures=metadata.architectures,
            tags=self.tags,
            description=metadata.description,
            host_ports=metadata.required_host_ports,
            skip_checks=dict.fromkeys(rules, f"tag {SKIP_BASE_CHECKS}") if without_checks else {},
            # Its own limit is kept where it runs; this one is for what goes on around it.
            timeout=60.0 * self.minutes + 300.0,
        )

    def spec(self, arch: str) -> MachineSpec:
        """Return the machine that it asks for.

        Raises:
            ConfigError: a disk that cannot be.
        """
        metadata, default = self.metadata, MachineSpec()
        primary = parse_disk(metadata.primary_disk)
        return MachineSpec(
            memory_mib=max(default.memory_mib, metadata.memory_mb(arch)),
            firmware=Capability.UEFI_SECURE.value if SECURE_BOOT in metadata.tags else "",
            tpm=self.config is not None and ignition.needs_tpm(self.config),
            numa_nodes=NUMA_NODES if metadata.numa_nodes else 1,
            disk_gib=metadata.min_disk or primary.size_gib,
            root_disk=replace(primary, size_gib=None),
            disks=tuple(parse_disk(disk) for disk in metadata.additional_disks),
            nics=(Nic(),) * metadata.additional_nics,
            binds=tuple(parse_bind(bind) for bind in metadata.bind_mount_host_ro),
            kernel_args=tuple(metadata.append_kernel_args.split()),
            first_boot_kernel_args=tuple(metadata.append_firstboot_kernel_args.split()),
        )

    def in_bucket(self, number: int, merged: ignition.Config | None) -> ExternalTest:
        """Return the same on a machine with others."""
        return replace(self, bucket=number, merged=merged)


def load(found: Found, metadata: Metadata, configs: dict[tuple[Path, bool], ignition.Config]) -> ExternalTest:
    """Return a test, with its config.

    Args:
        found: where it is.
        metadata: what it says of itself.
        configs: those that were read before; a folder's tests have the same.

    Raises:
        ConfigError: one line with the file, the line and the key.
    """
    config = None
    if found.config is not None:
        key = (found.config, metadata.allow_config_warnings)
        if key not in configs:
            configs[key] = _read_config(*key)
        config = configs[key]
    return ExternalTest(found, metadata, config)


def read_metadata(found: Found) -> Metadata:
    """Read what a test says of itself: its own stanza, or its folder's ``kola.json``.

    Raises:
        ConfigError: one line with the file, the line and the key.
    """
    try:
        with found.executable.open("rb") as file:
            own = parse_executable(file.read(HEAD + 1), str(found.executable))
        if own is not None or found.metadata is None:
            return own or Metadata()
        return parse_folder(found.metadata.read_bytes(), str(found.metadata))
    except OSError as e:
        raise ConfigError(f"{e.filename}: {e.strerror}") from e


def _read_config(path: Path, allow_warnings: bool) -> ignition.Config:  # noqa: FBT001 - a key of a dict
    try:
        return read_config(path, is_butane=path.suffix == ".bu", allow_warnings=allow_warnings)
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from e


def cannot_run(metadata: Metadata, *, platform: str, distro: str, container: str) -> str:
    """Say why a test cannot run on a target, beyond what every test can ask for; empty if it can.

    Args:
        metadata: its own.
        platform: of the target; empty if not known.
        distro: of the image, likewise.
        container: file with the image's operating system as a container image; empty if there is none.
    """
    included = [name for name in metadata.distros if not name.startswith("!")]
    if distro and (f"!{distro}" in metadata.distros or (included and distro not in included)):
        return f"not for distro {distro} (distros: {' '.join(metadata.distros)})"
    if PLATFORM_INDEPENDENT in metadata.tags and platform not in {"", _INDEPENDENT_PLATFORM}:
        return f"tag {PLATFORM_INDEPENDENT}: run on {_INDEPENDENT_PLATFORM} only"
    if metadata.inject_container and platform and not container:
        return "injectContainer: the image comes without a container image of its release"
    return f"kola cannot boot from an ISO image yet (bootFrom: {metadata.boot_from})" if metadata.boot_from else ""
