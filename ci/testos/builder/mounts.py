"""Mounts in a mount namespace of our own: whatever way the build ends, the kernel takes them away with it.

Loop devices are made by mount(8), which marks them to go when they are unmounted. So even SIGKILL leaves neither.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .output import Output

_MARK = "KOLA_TESTOS_NAMESPACE"


def in_namespace() -> bool:
    """Whether this is the second run, in the private mount namespace."""
    # exec keeps the process id: it proves that the mark is ours and not inherited from some outer build.
    return os.environ.get(_MARK) == str(os.getpid())


def enter_namespace() -> None:
    """Run this program again in a private mount namespace, unless that has happened."""
    if in_namespace():
        return
    os.environ[_MARK] = str(os.getpid())
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])  # noqa: S606


@contextmanager
def mounted(output: Output, *arguments: str | Path, at: Path) -> Iterator[Path]:
    """Mount something for the lifetime of the block."""
    at.mkdir(parents=True, exist_ok=True)
    output.run(["mount", *arguments, at])
    try:
        yield at
    finally:
        output.run(["umount", "--recursive", at])


@contextmanager
def overlay(output: Output, lower: Path, scratch: Path) -> Iterator[Path]:
    """A writable view of a cached tree, which itself stays as it is."""
    upper, work, merged = (scratch / name for name in ("upper", "work", "merged"))
    for folder in (upper, work, merged):
        folder.mkdir(parents=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    with mounted(output, "-t", "overlay", "overlay", "-o", options, at=merged):
        yield merged


@contextmanager
def chroot_mounts(output: Output, root: Path) -> Iterator[None]:
    """What programs expect to find inside a chroot."""
    with ExitStack() as stack:
        stack.enter_context(mounted(output, "-t", "proc", "proc", at=root / "proc"))
        stack.enter_context(mounted(output, "-t", "sysfs", "-o", "ro", "sysfs", at=root / "sys"))
        stack.enter_context(mounted(output, "--bind", "/dev", at=root / "dev"))
        for name in ("run", "tmp"):
            stack.enter_context(mounted(output, "-t", "tmpfs", "tmpfs", at=root / name))
        yield


def loop_options(offset: int, size: int) -> str:
    """Mount options for a file system inside an image file (partition nodes of loop devices are not everywhere)."""
    return f"loop,offset={offset},sizelimit={size}"
