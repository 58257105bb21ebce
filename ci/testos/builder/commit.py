"""Stage `commit`: the finished tree as an OSTree commit in an archive repository."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from . import tree as shape
from .definition import Definition
from .mounts import chroot_mounts, mounted, overlay
from .output import Output

REF = "testos/x86_64/stable"


@dataclass(frozen=True)
class Committed:
    """What the next stages need to know about the commit."""

    commit: str
    kernel: str
    version: str

    @classmethod
    def read(cls, folder: Path) -> "Committed":
        """Read what `build` wrote."""
        return cls(**json.loads((folder / "commit.json").read_text()))


def build(
    definition: Definition, output: Output, inputs: dict[str, Path], scratch: Path, result: Path, *, version: str
) -> None:
    """Configure a view of the root, reshape it, commit it with SELinux labels."""
    root = inputs["root"] / "root"
    with overlay(output, root, scratch / "tree") as tree, overlay(output, root, scratch / "tools") as tools:
        with chroot_mounts(output, tree):
            kernel = shape.configure(
                definition,
                output,
                tree,
                initramfs=inputs["initramfs"] / "initramfs.img",
                selinux=inputs["policy"] / "selinux",
            )
        with (tree / "usr/lib/os-release").open("a") as file:
            file.write(f"OSTREE_VERSION={version}\nIMAGE_VERSION={version}\n")
        shape.rearrange(tree)

        repo = result / "repo"
        repo.mkdir()
        with (
            chroot_mounts(output, tools),
            mounted(output, "--bind", tree, at=tools / "run/tree"),
            mounted(output, "--bind", repo, at=tools / "run/repo"),
        ):
            ostree = ["chroot", str(tools), "ostree", "--repo=/run/repo"]
            output.run([*ostree, "init", "--mode=archive"])
            # Level 1: the repository is read on this machine or beside it; the time matters more than the size.
            output.run([*ostree, "config", "set", "archive.zlib-level", "1"])
            commit = output.run(
                [
                    *(*ostree, "commit", "--fsync=false", f"--branch={REF}", f"--subject=test OS {version}"),
                    *(f"--add-metadata-string=version={version}", "--bootable"),
                    *("--selinux-policy=/run/tree", "--tree=dir=/run/tree"),
                ]
            ).strip()
            output.run([*ostree, "summary", "--update"])
    done = Committed(commit=commit.splitlines()[-1], kernel=kernel, version=version)
    (result / "commit.json").write_text(json.dumps(asdict(done)))
