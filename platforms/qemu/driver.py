"""The qemu platform: machines on this host."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kola.errors import ConfigError, PlatformError
from kola.platform import Prepared, SnapshotPlatform
from kola.spec import Capability, Disk, parse_disk
from kola.wait import Deadline
from platforms.qemu import accel, disks, firmware, helpers, kargs, lifecycle, orphans, snapshot, tpm, virtiofs, wake
from platforms.qemu.binding import libvirt
from platforms.qemu.domain import MOST_EXTRA_DISKS, MOST_EXTRA_NICS, Guest, domain_xml, mac_for
from platforms.qemu.instance import QemuInstance
from platforms.qemu.link import Link, message_of
from platforms.qemu.options import EMBED
from platforms.qemu.options import Options as QemuOptions
from platforms.qemu.process import find_guest
from platforms.qemu.storage import GuestDisk
from platforms.qemu.tags import Tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kola.arch import Arch
    from kola.images import Image
    from kola.platform import Instance, RunContext, Scope
    from kola.spec import MachineSpec

SUPPORTED_ARCHES = ("x86_64",)
CLOCK_SECONDS = 10.0
"""How long a guest on a fast host may take to set its clock."""
CONFIG, ROOT, NVRAM = "config.ign", "root.qcow2", "nvram.fd"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Qemu(SnapshotPlatform):
    """QEMU through libvirt; by default libvirt's driver runs in this process and no daemon is needed."""

    name: ClassVar[str] = "qemu"
    Options: ClassVar[type[Any]] = QemuOptions
    ignition_platform: ClassVar[str] = "qemu"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.CONSOLE,
            Capability.EXTRA_DISKS,
            Capability.DISK_SERIALS,
            Capability.DISK_OPTIONS,
            Capability.BIOS,
            Capability.UEFI,
            Capability.UEFI_SECURE,
            Capability.TPM,
            Capability.HOST_FOLDERS,
            Capability.NUMA,
            Capability.EXTRA_NICS,
            Capability.NETWORKS,
            Capability.KERNEL_ARGS,
            Capability.HARD_RESET,
            Capability.HOST_SERVICES,
            Capability.JOURNAL_CHANNEL,
            Capability.READY_SIGNAL,
            Capability.SNAPSHOT,
        }
    )

    host_address: ClassVar[str] = "10.0.2.2"  # the gateway of QEMU's user-mode network stands for this host's loopback

    def __init__(self, options: QemuOptions, arch: Arch, context: RunContext) -> None:
        super().__init__(options, arch, context)
        self._link = Link(options.uri, context.scratch, context.cache)
        self._root_disk = parse_disk(options.primary_disk)

    def prepare(self, image: Image | None) -> Prepared:
        """Check QEMU, libvirt and the image; find out which accelerator runs guests. Takes up to 10 s, once.

        Raises:
            ConfigError: something is not installed, not permitted or not supported; the image cannot be read.
        """
        if image is None:
            raise ConfigError("platform qemu needs an image: --image=PATH or --image=testos")
        if self.arch.name not in SUPPORTED_ARCHES:
            raise ConfigError(f"platform qemu: architecture {self.arch.name}; allowed: {', '.join(SUPPORTED_ARCHES)}")
        emulator = self._emulator()
        _need_program("qemu-img", "qemu-utils")
        try:
            disks.image_info(image.path)
        except PlatformError as e:
            raise ConfigError(str(e)) from e
        self.context.scratch.mkdir(parents=True, exist_ok=True)
        found = accel.choose(
            self.options.accelerator, self.arch, emulator, self.options.cpu or "host", self.context.scratch
        )
        self._warm_up(emulator, found.name)
        firmware.need(self.options.firmware, self.arch)
        return Prepared(str(image.path.resolve()), found.name, found.slowness, (found.note,), self._lacks())

    @contextlib.contextmanager
    def launch(self, spec: MachineSpec, ignition: bytes, name: str, prepared: Prepared) -> Iterator[Instance]:
        """Start a machine; see ``Platform.launch``. QEMU runs when the context is entered, after about half a second.

        Raises:
            ConfigError: libvirt cannot be reached; the spec asks for more devices than there is room for, or for a disk
                smaller than the image.
            PlatformError: libvirt or QEMU refuse; the image's boot partition cannot take the kernel arguments.
        """
        if len(spec.nics) > MOST_EXTRA_NICS or len(spec.disks) > MOST_EXTRA_DISKS:
            raise ConfigError(f"platform qemu: at most {MOST_EXTRA_NICS} extra nics and {MOST_EXTRA_DISKS} extra disks")
        with self._machine(spec, name, lambda tags: self._new_guest(spec, ignition, tags, prepared)) as instance:
            instance.resume()
            yield instance

    def save(self, instance: Instance, folder: Path) -> None:
        """Save a running machine; see ``SnapshotPlatform.save``."""
        self.set_clock(instance)  # what could not set its clock later on is found out now
        _own(instance).save(folder)
        self.set_clock(instance)  # it stood still meanwhile

    @contextlib.contextmanager
    def restore(self, folder: Path, spec: MachineSpec, name: str, prepared: Prepared) -> Iterator[Instance]:
        """Start a machine that goes on where the saved one was; see ``SnapshotPlatform.restore``. Half a second.

        Raises:
            ConfigError: libvirt cannot be reached.
            PlatformError: what was saved cannot be restored here.
        """
        with self._machine(spec, name, lambda tags: self._saved_guest(spec, folder, tags, prepared)) as instance:
            instance.load(folder)
            instance.resume()
            instance.tell_time()
            yield instance

    def savable(self, spec: MachineSpec) -> bool:
        """Tell whether QEMU can save it; see ``SnapshotPlatform.savable``.

        It cannot save the state of an NVMe disk; what a guest has open of a folder of this host, and what its TPM
        holds, is not QEMU's to save.
        """
        nvme = any(disk.channel == "nvme" and not disk.on_scsi for disk in (self._root(spec), *spec.disks))
        return not (nvme or spec.binds or self._has_tpm(spec))

    def set_clock(self, instance: Instance) -> None:
        """Set a machine's clock to this host's; see ``SnapshotPlatform.set_clock``."""
        mine = _own(instance)
        mine.set_clock(Deadline(CLOCK_SECONDS * mine.slowness))

    def fingerprint(self, spec: MachineSpec, prepared: Prepared) -> str:
        """Return what decides whether a saved machine fits; see ``SnapshotPlatform.fingerprint``.

        That is everything that QEMU is told of such a machine, which QEMU that is, and under kvm the host's CPU.
        """
        nowhere = Path("/")
        tags = Tags("NAME", "", "", "", 0, nowhere, nowhere, nowhere)
        macs = ["MAC", *(nic.mac or "MAC" for nic in spec.nics)]
        paths = [nowhere] * (1 + len(spec.disks))
        guest = self._guest(spec, tags, prepared, config=nowhere, paths=paths, macs=macs)
        programs = [Path(guest.emulator), *((guest.flash.code, guest.flash.variables) if guest.flash else ())]
        cpu = accel.host_cpu() if prepared.accelerator == "kvm" else ""
        return "\n".join([domain_xml(guest), repr(self._root(spec)), *map(_version_of, programs), cpu])

    def sweep(self, scope: Scope) -> list[str]:
        """Remove what runs left behind; see ``Platform.sweep``. Needs no libvirt: it works on processes and folders."""
        return orphans.sweep(scope, self.context.scratch)

    def close(self) -> None:
        """Let go of libvirt; see ``Platform.close``. Up to two seconds after the end of a machine."""
        self._link.close()

    @contextlib.contextmanager
    def _machine(self, spec: MachineSpec, name: str, describe: Callable[[Tags], Guest]) -> Iterator[QemuInstance]:
        """Run QEMU, its processors stopped, inside the context; ``describe`` makes the machine's files."""
        if not _NAME.fullmatch(name):
            raise PlatformError(f"machine name '{name}': only letters, digits, dot, underscore and hyphen are allowed")
        connection = self._link.connection()
        tags = self._tags(name)
        tags.artifacts.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as remains, contextlib.ExitStack() as stack:
            tags.folder.mkdir(parents=True, mode=0o700)
            remains.callback(shutil.rmtree, tags.folder, ignore_errors=True)
            tags.write()
            guest = describe(tags)
            wake.make_pipes(guest.wake)
            beside = []
            for helper in self._helpers(spec, tags.folder):
                beside.append(helpers.start(helper, tags))
                remains.callback(helpers.end, beside[-1])
            remains.callback(lifecycle.keep_log, tags.log, tags.artifacts)
            if self.options.uri != EMBED:
                remains.callback(lifecycle.await_gone, connection, name)
            remains.callback(lifecycle.end, name)
            domain, port = lifecycle.start_paused(connection, guest)
            process = find_guest(name)
            if process is None:
                raise PlatformError(f"machine {name}: QEMU ended at once, see {tags.artifacts / 'qemu.log'}")
            stack.callback(process.close)
            instance = QemuInstance(port, domain, process, guest)
            stack.enter_context(lifecycle.lifecycle_events(connection, domain, instance))
            self._link.keep_capabilities()
            try:
                yield instance
            finally:
                if instance.kept:
                    remains.pop_all()
                    helpers.let_go(beside)

    def _tags(self, name: str) -> Tags:
        context = self.context
        return Tags(
            name=name,
            run_id=context.run_id,
            owner=context.owner,
            worker=context.worker,
            created=time.time(),
            folder=context.scratch.absolute() / name,
            artifacts=context.artifacts.absolute() / name,
            log=self._link.log_file(name),
        )

    def _lacks(self) -> dict[str, str]:
        """Return what cannot be had on this host, and why."""
        found = {
            Capability.HOST_FOLDERS: (virtiofs.find(), virtiofs.MISSING),
            Capability.TPM: (tpm.find(), tpm.MISSING),
            Capability.UEFI: (firmware.find(firmware.UEFI, self.arch), firmware.MISSING),
            Capability.UEFI_SECURE: (firmware.find(firmware.SECURE, self.arch), firmware.MISSING),
        }
        return {capability.value: why for capability, (there, why) in found.items() if there is None}

    def _helpers(self, spec: MachineSpec, folder: Path) -> list[helpers.Helper]:
        """Return what has to run beside a machine's QEMU."""
        return [*virtiofs.helpers(spec.binds, folder), *([tpm.helper(folder)] if self._has_tpm(spec) else [])]

    def _flash(self, spec: MachineSpec) -> firmware.Flash | None:
        return firmware.need(spec.firmware or self.options.firmware, self.arch)

    def _has_tpm(self, spec: MachineSpec) -> bool:
        return spec.tpm or self.options.tpm

    def _root(self, spec: MachineSpec) -> Disk:
        """Return the root disk of a machine of this run, with its size unless that is the image's."""
        size = spec.disk_gib or self._root_disk.size_gib
        return replace(spec.root_disk.overlaid(self._root_disk), size_gib=size)

    def _emulator(self) -> str:
        return _need_program(f"qemu-system-{self.arch.qemu}", "qemu-system")

    def _warm_up(self, emulator: str, accelerator: str) -> None:
        """Have libvirt look at QEMU once (seconds), so that the processes of the run find what it saw in the cache."""
        kind = "kvm" if accelerator == "kvm" else "qemu"
        try:
            self._link.connection().getDomainCapabilities(emulator, self.arch.name, self.arch.machine, kind)
        except libvirt.libvirtError as e:
            raise ConfigError(f"libvirt cannot use {emulator}: {message_of(e)}") from e
        self._link.keep_capabilities()

    def _new_guest(self, spec: MachineSpec, ignition: bytes, tags: Tags, prepared: Prepared) -> Guest:
        """Make the files of a machine that boots for the first time, and describe it."""
        folder = tags.folder
        config = folder / CONFIG
        with os.fdopen(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(ignition)
        paths = _disk_files(folder, spec)
        disks.make_overlay(paths[0], Path(prepared.image_ref), self._root(spec).size_gib)
        if spec.kernel_args or spec.first_boot_kernel_args:
            kargs.add(paths[0], spec.kernel_args, spec.first_boot_kernel_args)
        for path, disk in zip(paths[1:], spec.disks, strict=True):
            assert disk.size_gib is not None  # noqa: S101 - for the type checker: the spec sees to it
            disks.make_empty(path, disk.size_gib)
        if (flash := self._flash(spec)) is not None:
            shutil.copyfile(flash.variables, folder / NVRAM)
        macs = [mac_for(tags.name, 0)]
        macs += [nic.mac or mac_for(tags.name, index) for index, nic in enumerate(spec.nics, start=1)]
        return self._guest(spec, tags, prepared, config=config, paths=paths, macs=macs)

    def _saved_guest(self, spec: MachineSpec, saved: Path, tags: Tags, prepared: Prepared) -> Guest:
        """Make the files of a machine that goes on where a saved one was, and describe it."""
        facts = snapshot.read(saved)
        paths = _disk_files(tags.folder, spec)
        for path in paths:
            disks.make_overlay(path, saved / path.name, None)
        if self._flash(spec) is not None:
            shutil.copyfile(saved / NVRAM, tags.folder / NVRAM)
        guest = self._guest(spec, tags, prepared, config=saved / CONFIG, paths=paths, macs=facts.macs, incoming=True)
        snapshot.continue_logs(saved, guest)
        return guest

    def _guest(
        self,
        spec: MachineSpec,
        tags: Tags,
        prepared: Prepared,
        *,
        config: Path,
        paths: Sequence[Path],
        macs: Sequence[str],
        incoming: bool = False,
    ) -> Guest:
        uri = self.options.uri
        models = () if uri == EMBED else _security_models(self._link.connection(), privileged=self._link.privileged)
        return Guest(
            name=tags.name,
            tags=tags,
            arch=self.arch,
            emulator=self._emulator(),
            accelerator=prepared.accelerator,
            cpu=self.options.cpu,
            memory_mib=spec.memory_mib,
            vcpus=spec.vcpus,
            numa_nodes=spec.numa_nodes,
            nvram=tags.folder / NVRAM,
            flash=self._flash(spec),
            tpm=tpm.socket_in(tags.folder) if self._has_tpm(spec) else None,
            shares=virtiofs.sockets(tags.folder, len(spec.binds)),
            disks=tuple(
                GuestDisk(path, disk) for path, disk in zip(paths, (self._root(spec), *spec.disks), strict=True)
            ),
            macs=tuple(macs),
            networks=("", *(nic.network for nic in spec.nics)),
            ssh_port=0,
            ignition=config,
            console=tags.artifacts / "console.txt",
            journal=tags.artifacts / "journal.jsonl",
            ignition_journal=tags.artifacts / "ignition.jsonl",
            wake=tags.folder / "wake",
            ready=tags.folder / "ready",
            security_models=models,
            owner_ids=(os.geteuid(), os.getegid()),
            slowness=prepared.slowness,
            incoming=incoming,
        )


def _version_of(file: Path) -> str:
    """Return what tells a file from others of its name."""
    path = file.resolve()
    stat = path.stat()
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"


def _disk_files(folder: Path, spec: MachineSpec) -> list[Path]:
    """Return where a machine's disks are: the root disk, then the extra ones."""
    return [folder / ROOT, *(folder / f"disk{index}.qcow2" for index in range(1, len(spec.disks) + 1))]


def _own(instance: Instance) -> QemuInstance:
    if not isinstance(instance, QemuInstance):
        raise TypeError(f"{instance!r} is no machine of this platform")
    return instance


def _need_program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ConfigError(f"platform qemu needs {name}: install {package}")
    return found


def _security_models(connection: Any, *, privileged: bool) -> tuple[str, ...]:
    """Return the security drivers that a daemon applies to its guests (``dac``, ``apparmor``...)."""
    # Not from its capabilities: some libvirts look at every QEMU of the host again to compile those, for a minute.
    model = connection.getSecurityModel()[0]
    found = [model] if model not in {"", "none", "dac"} else []
    return tuple(["dac", *found] if privileged else found)
