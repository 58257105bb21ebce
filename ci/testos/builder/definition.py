"""What the test OS is made of: one frozen value, from which every stage's key is computed."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from .errors import BuildError

HERE = Path(__file__).resolve().parent.parent
MIB = 1024 * 1024

# The kernel is not among them: it is a stage of its own, so that a release with another one needs no other root.
PACKAGES = (
    # boot
    "dracut",
    "dracut-network",
    "ignition",
    "ostree",
    "ostree-boot",
    "kmod",
    "udev",
    # the system
    "systemd-sysv",
    "systemd-resolved",
    "systemd-timesyncd",
    "libpam-systemd",
    "dbus",
    "dbus-user-session",
    "openssh-server",
    "sudo",
    "auditd",
    # containers
    "podman",
    "crun",
    "netavark",
    "aardvark-dns",
    "nftables",
    "uidmap",
    "passt",
    "catatonit",
    "busybox-static",
    # SELinux; bubblewrap is what ostree runs the policy tools in when it finalises a deployment
    "selinux-policy-default",
    "selinux-utils",
    "policycoreutils",
    "semodule-utils",
    "bubblewrap",
    # disks and what tests call
    "gdisk",
    "fdisk",
    "cryptsetup-bin",
    "systemd-cryptsetup",
    "mdadm",
    "e2fsprogs",
    "xfsprogs",
    "dosfstools",
    "zstd",
    "jq",
    "curl",
    "ca-certificates",
    "iproute2",
    "iputils-ping",
    "procps",
    "less",
)

KERNEL_ARGUMENTS = (
    # A literal: GRUB expands it when it reads the boot entry, to nothing after the first boot.
    "$ignition_firstboot",
    "ignition.platform.id=qemu",
    "root=LABEL=root",
    "rw",
    "security=selinux",
    # Warnings and worse on the console; a serial line is slow under emulation, and all is in the journal.
    "loglevel=5",
    # Until auditd runs, audit records are kernel messages; none of them may get lost.
    "sysctl.kernel.printk_ratelimit=0",
    "console=tty0",
    "console=ttyS0,115200n8",
)

# Units that packages pull in by links of their own, which presets do not govern, and that cost boot time here.
MASKED_UNITS = (
    "dev-hugepages.mount",
    "dracut-shutdown.service",
    "getty-static.service",
    "ldconfig.service",
    "proc-sys-fs-binfmt_misc.automount",
    "selinux-autorelabel-mark.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-hibernate-clear.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-network-generator.service",
    "systemd-pcrmachine.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pcrphase.service",
    "systemd-sysusers.service",
    "systemd-tpm2-setup-early.service",
    "systemd-tpm2-setup.service",
    "systemd-update-done.service",
)


@dataclass(frozen=True, kw_only=True)
class DiskLayout:
    """Sizes in MiB; the root partition takes what is left of the disk."""

    disk: int = 10 * 1024
    bios_boot: int = 1
    esp: int = 127
    boot: int = 384

    def __post_init__(self) -> None:
        if min(self.bios_boot, self.esp, self.boot) < 1 or self.root < 2 * 1024:
            raise BuildError(f"a disk of {self.disk} MiB leaves {self.root} MiB to the root partition; it needs 2048")

    @property
    def root(self) -> int:
        """What is left between the other partitions and the backup partition table."""
        return self.disk - 1 - self.bios_boot - self.esp - self.boot - 1


@dataclass(frozen=True, kw_only=True)
class Definition:
    """Everything that decides what comes out. A variant is `dataclasses.replace` of this."""

    name: str = "testos"
    # The first number of the version; updates lead from one release to the next.
    release: int = 1
    arch: str = "x86_64"
    suite: str = "trixie"
    packages: tuple[str, ...] = PACKAGES
    kernel_suite: str = "trixie"
    kernel_package: str = "linux-image-cloud-amd64"
    # GRUB reads BLS entries (blsuki) since 2.14, which the suite does not have yet; only its boot files are taken.
    grub_suite: str = "forky"
    grub_packages: tuple[str, ...] = ("grub-pc-bin", "grub2-common")
    kernel_arguments: tuple[str, ...] = KERNEL_ARGUMENTS
    masked_units: tuple[str, ...] = MASKED_UNITS
    selinux_booleans: tuple[str, ...] = ("systemd_tmpfiles_manage_all=1",)
    # Folders of real files: later folders win, so a variant appends one.
    overlays: tuple[Path, ...] = (HERE / "overlay",)
    # Paths, relative to the root, that are taken out of the tree; programs that are run in it at the very end.
    removed: tuple[str, ...] = ()
    scripts: tuple[Path, ...] = ()
    initramfs: Path = HERE / "initramfs"
    policy: Path = HERE / "policy"
    # Folders of CIL modules that are installed over the distribution's policy.
    policy_modules: tuple[Path, ...] = (HERE / "policy/modules",)
    boot: Path = HERE / "boot"
    layout: DiskLayout = field(default_factory=DiskLayout)
    ignition_max: str = "3.3.0"
    capabilities: tuple[str, ...] = (
        *("audit", "ignition", "ignition-kargs", "luks", "ostree", "podman", "raid", "selinux", "systemd", "updates"),
    )

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.name):
            raise BuildError(f"'{self.name}' is no name for an image: small letters, digits and '-' only")
        if self.arch != "x86_64":
            raise BuildError(f"the test OS is built for x86_64 only, not for {self.arch}")
        for what, items in (("package", self.packages), ("masked unit", self.masked_units)):
            twice = sorted({item for item in items if items.count(item) > 1})
            if twice:
                raise BuildError(f"{what} listed twice: {', '.join(twice)}")
        if "$ignition_firstboot" not in self.kernel_arguments:
            raise BuildError("the kernel arguments lack $ignition_firstboot: Ignition would never run")
        bad = [argument for argument in self.kernel_arguments if not argument or re.search(r"\s", argument)]
        if bad:
            raise BuildError(f"not one kernel argument: {bad[0]!r}")
        if self.release < 1:
            raise BuildError(f"releases are counted from 1, not from {self.release}")
        for folder in (*self.overlays, *self.policy_modules, self.initramfs, self.policy, self.boot):
            if not folder.is_dir():
                raise BuildError(f"the definition names a folder that is not there: {folder}")
