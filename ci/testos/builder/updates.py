"""Stage `updates`: one repository with the commits of all releases, and some that no system may accept."""

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from .commit import REF, Committed, timestamp
from .definition import Definition
from .mounts import chroot_mounts, mounted, overlay
from .output import Output
from .signing import ALONE, STRANGER, signer

UNSIGNED = "testos/x86_64/unsigned"
WRONGLY_SIGNED = "testos/x86_64/wrongly-signed"


@dataclass(frozen=True)
class Updates:
    """What the repository holds: the releases in their order, and commits with nothing wrong but their signature."""

    releases: tuple[Committed, ...]
    unsigned: str
    wrongly_signed: str

    @classmethod
    def read(cls, folder: Path) -> "Updates":
        """Read what `build` wrote."""
        known = json.loads((folder / "updates.json").read_text())
        return cls(**known | {"releases": tuple(Committed(**one) for one in known["releases"])})


def build(definition: Definition, output: Output, inputs: dict[str, Path], scratch: Path, result: Path) -> None:
    """Pull the releases' commits together; `inputs` has theirs in order as `commit-1`, `commit-2`..."""
    sources = [path for name, path in inputs.items() if name.startswith("commit-")]
    repo = result / "repo"
    repo.mkdir()
    with overlay(output, inputs["root"] / "root", scratch / "tools") as tools, ExitStack() as stack:
        stack.enter_context(chroot_mounts(output, tools))
        stack.enter_context(mounted(output, "--bind", repo, at=tools / "run/repo"))
        ostree = [*ALONE, "chroot", str(tools), "ostree", "--repo=/run/repo"]
        output.run([*ostree, "init", "--mode=archive"])
        output.run([*ostree, "config", "set", "archive.zlib-level", "1"])
        for number, source in enumerate(sources):
            stack.enter_context(mounted(output, "--bind", source / "repo", at=tools / f"run/source-{number}"))
            output.run([*ostree, "pull-local", "--disable-fsync", f"/run/source-{number}", REF])
        releases = tuple(Committed.read(source) for source in sources)

        def commit_again(branch: str, *signature: str) -> str:
            """The last release's tree once more."""
            again = ["commit", "--fsync=false", f"--branch={branch}", f"--tree=ref={releases[-1].commit}", "--bootable"]
            again += [f"--bind-ref={REF}"]  # or it would be refused for its name
            again += [f"--subject={branch}", f"--add-metadata-string=version={releases[-1].version}"]
            again += [f"--timestamp={timestamp(definition.release + len(sources))}", *signature]
            return output.run([*ostree, *again]).strip().splitlines()[-1]

        unsigned = commit_again(UNSIGNED)
        with signer(tools, inputs["signing"], STRANGER) as signature:
            wrongly_signed = commit_again(WRONGLY_SIGNED, *signature)
        output.run([*ostree, "summary", "--update"])
    done = Updates(releases, unsigned, wrongly_signed)
    (result / "updates.json").write_text(json.dumps(asdict(done)))
