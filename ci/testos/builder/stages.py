"""The stages, what each depends on, and the order in which they run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import commit, disk, grub, initramfs, policy, root
from .definition import Definition
from .keys import stage_key
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
    """One step: its result is a function of `values`, `files`, `code` and the results of `needs`."""

    name: str
    what: str
    build: Callable[[Job], None]
    needs: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    files: Callable[[Definition], tuple[Path, ...]] = lambda _: ()
    code: tuple[str, ...] = ()


def _root(job: Job) -> None:
    root.build(job.definition, job.output, job.result)


def _grub(job: Job) -> None:
    grub.build(job.definition, job.output, job.scratch, job.result)


def _initramfs(job: Job) -> None:
    initramfs.build(job.definition, job.output, job.inputs["root"] / "root", job.scratch, job.result)


def _policy(job: Job) -> None:
    policy.build(job.definition, job.output, job.inputs["root"] / "root", job.scratch, job.result)


def _commit(job: Job) -> None:
    commit.build(job.definition, job.output, job.inputs, job.scratch, job.result, version=job.version)


def _disk(job: Job) -> None:
    disk.build(job.definition, job.output, job.inputs, job.scratch, job.result)


STAGES = (
    Stage(
        name="root",
        what="install the packages with mmdebstrap",
        build=_root,
        values=("arch", "suite", "packages"),
        code=("root.py",),
    ),
    Stage(
        name="grub",
        what="make the boot loader's image",
        build=_grub,
        values=("grub_suite", "grub_packages"),
        files=lambda definition: (definition.boot / "core.cfg",),
        code=("grub.py", "root.py"),
    ),
    Stage(
        name="initramfs",
        what="dracut with Ignition and OSTree",
        build=_initramfs,
        needs=("root",),
        files=lambda definition: (definition.initramfs,),
        code=("initramfs.py",),
    ),
    Stage(
        name="policy",
        what="SELinux policy with our module",
        build=_policy,
        needs=("root",),
        values=("selinux_booleans",),
        files=lambda definition: (definition.policy,),
        code=("policy.py",),
    ),
    Stage(
        name="commit",
        what="configure the tree and commit it with OSTree",
        build=_commit,
        needs=("root", "initramfs", "policy"),
        values=("name", "major", "masked_units"),
        files=lambda definition: definition.overlays,
        code=("commit.py", "tree.py"),
    ),
    Stage(
        name="disk",
        what="partition, deploy, compress to qcow2",
        build=_disk,
        needs=("root", "grub", "commit"),
        values=("name", "arch", "kernel_arguments", "layout", "ignition_max", "capabilities"),
        files=lambda definition: (definition.boot / "grub.cfg",),
        code=("disk.py", "grub.py"),
    ),
)


def keys(definition: Definition, refreshed: Mapping[str, str] | None = None) -> dict[str, str]:
    """Every stage's key, by name; `refreshed` says when a stage was last asked to run again all the same."""
    found: dict[str, str] = {}
    for stage in STAGES:
        asked = {"refreshed": refreshed[stage.name]} if refreshed and stage.name in refreshed else {}
        found[stage.name] = stage_key(
            stage.name,
            values={name: getattr(definition, name) for name in stage.values} | asked,
            files=(*stage.files(definition), *(CODE / name for name in stage.code)),
            inputs={name: found[name] for name in stage.needs},
        )
    return found


def version(definition: Definition, found: Mapping[str, str]) -> str:
    """A version that is the same for the same commit, and looks like one."""
    return f"{definition.major}.{int(found['commit'][:6], 16)}"
