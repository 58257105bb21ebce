"""Stage `commit`: the finished tree as an OSTree commit in an archive repository."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from . import tree as shape
from .definition import Definition
from .mounts import chroot_mounts, mounted, overlay
from .output import Output
from .signing import ALONE, signer

REF = "testos/x86_64/stable"


@dataclass(frozen=True)
class Committed:
    """What the next stages need to know about the commit."""

    commit: str
    kernel: str
    version: str
    ref: str = REF

    @classmethod
    def read(cls, folder: Path) -> "Committed":
        """Read what `build` wrote."""
        return cls(**json.loads((folder / "commit.json").read_text()))


def timestamp(release: int) -> str:
    """A later release has a later time, whenever it was built: an update to an older commit is refused."""
    return (datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=release)).isoformat()


def build(
    definition: Definition, output: Output, inputs: dict[str, Path], scratch: Path, result: Path, *, version: str
) -> None:
    """Configure a view of the root, reshape it, commit it with SELinux labels."""
    root = inputs["root"] / "root"
    with overlay(output, root, scratch / "tree") as tree, overlay(output, root, scratch / "tools") as tools:
        with chroot_mounts(output, tree):
            kernel = shape.configure(definition, output, tree, inputs)
        with (tree / "usr/lib/os-release").open("a") as file:
            file.write(f"VERSION_ID={definition.release}\nOSTREE_VERSION={version}\nIMAGE_VERSION={version}\n")
        shape.rearrange(tree)

        repo = result / "repo"
        repo.mkdir()
        with (
            chroot_mounts(output, tools),
            mounted(output, "--bind", tree, at=tools / "run/tree"),
            mounted(output, "--bind", repo, at=tools / "run/repo"),
            signer(tools, inputs["signing"]) as signature,
        ):
            ostree = [*ALONE, "chroot", str(tools), "ostree", "--repo=/run/repo"]
            output.run([*ostree, "init", "--mode=archive"])
            # Level 1: the repository is read on this machine or beside it; the time matters more than the size.
            output.run([*ostree, "config", "set", "archive.zlib-level", "1"])
            commit = output.run(
                [
                    *(*ostree, "commit", "--fsync=false", f"--branch={REF}", f"--subject=test OS {version}"),
                    *(f"--add-metadata-string=version={version}", "--bootable"),
                    *("--selinux-policy=/run/tree", "--tree=dir=/run/tree"),
                    *(f"--timestamp={timestamp(definition.release)}", *signature),
                ]
            ).strip()
    done = Committed(commit=commit.splitlines()[-1], kernel=kernel, version=version)
    (result / "commit.json").write_text(json.dumps(asdict(done)))
