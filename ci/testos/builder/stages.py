"""The stages, and what each depends on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import commit, disk, grub, image, initramfs, kernel, policy, root, signing, updates
from .definition import Definition
from .output import Output

CODE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Job:
    """What a stage is given to work with."""

    definition: Definition
    output: Output
    inputs: dict[str, Path]
    scratch: Path
    result: Path
    version: str


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step: its result is a function of `values`, `files`, `code` and the results of `needs`.

    `needs` names other stages, of the same release or, with `-*` behind the name, of every release.
    A stage that is made once for all releases has the first one's values.
    """

    name: str
    what: str
    build: Callable[[Job], None]
    needs: tuple[str, ...] = ()
    once: bool = False
    values: tuple[str, ...] = ()
    files: Callable[[Definition], tuple[Path, ...]] = lambda _: ()
    code: tuple[str, ...] = ()


def _root(job: Job) -> None:
    root.build(job.definition, job.output, job.result)


def _kernel(job: Job) -> None:
    kernel.build(job.definition, job.output, job.inputs["root"] / "root", job.scratch, job.result)


def _grub(job: Job) -> None:
    grub.build(job.definition, job.output, job.scratch, job.result)


def _signing(job: Job) -> None:
    signing.build(job.output, job.inputs["root"] / "root", job.scratch, job.result)


def _initramfs(job: Job) -> None:
    initramfs.build(job.definition, job.output, job.inputs, job.scratch, job.result)


def _policy(job: Job) -> None:
    policy.build(job.definition, job.output, job.inputs["root"] / "root", job.scratch, job.result)


def _commit(job: Job) -> None:
    commit.build(job.definition, job.output, job.inputs, job.scratch, job.result, version=job.version)


def _updates(job: Job) -> None:
    updates.build(job.definition, job.output, job.inputs, job.scratch, job.result)


def _disk(job: Job) -> None:
    disk.build(job.definition, job.output, job.inputs, job.scratch, job.result)


def _image(job: Job) -> None:
    image.build(job.definition, job.inputs, job.result)


STAGES = (
    Stage(
        name="root",
        what="install the packages with mmdebstrap",
        build=_root,
        values=("arch", "suite", "packages"),
        code=("root.py",),
    ),
    Stage(
        name="kernel",
        what="fetch the kernel",
        build=_kernel,
        needs=("root",),
        values=("kernel_suite", "kernel_package"),
        code=("kernel.py", "root.py"),
    ),
    Stage(
        name="grub",
        what="make the boot loader's image",
        build=_grub,
        once=True,
        values=("grub_suite", "grub_packages"),
        files=lambda definition: (definition.boot / "core.cfg",),
        code=("grub.py", "root.py"),
    ),
    Stage(
        name="signing",
        what="make keys that sign commits",
        build=_signing,
        once=True,
        needs=("root",),
        code=("signing.py",),
    ),
    Stage(
        name="initramfs",
        what="dracut with Ignition and OSTree",
        build=_initramfs,
        needs=("root", "kernel"),
        files=lambda definition: (definition.initramfs,),
        code=("initramfs.py",),
    ),
    Stage(
        name="policy",
        what="SELinux policy with our module",
        build=_policy,
        needs=("root",),
        values=("selinux_booleans",),
        files=lambda definition: (definition.policy, *definition.policy_modules),
        code=("policy.py",),
    ),
    Stage(
        name="commit",
        what="configure the tree and commit it with OSTree",
        build=_commit,
        needs=("root", "kernel", "initramfs", "policy", "signing"),
        values=("release", "masked_units", "removed"),
        files=lambda definition: (*definition.overlays, *definition.scripts),
        code=("commit.py", "tree.py"),
    ),
    Stage(
        name="updates",
        what="one repository with the commits of all releases",
        build=_updates,
        once=True,
        needs=("root", "signing", "commit-*"),
        code=("updates.py",),
    ),
    Stage(
        name="disk",
        what="partition, deploy, compress to qcow2",
        build=_disk,
        once=True,
        needs=("root", "grub", "commit"),
        values=("kernel_arguments", "layout"),
        files=lambda definition: (definition.boot / "grub.cfg",),
        code=("disk.py", "grub.py"),
    ),
    Stage(
        name="image",
        what="disk and updates, described",
        build=_image,
        once=True,
        needs=("commit", "disk", "updates"),
        values=("name", "arch", "ignition_max", "capabilities"),
        code=("image.py",),
    ),
)
