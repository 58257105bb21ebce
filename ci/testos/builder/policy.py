"""Stage `policy`: Debian's SELinux policy with our module, booleans and path aliases, as a tree for /etc/selinux."""

import re
import shutil
from pathlib import Path

from .definition import Definition
from .errors import BuildError
from .mounts import chroot_mounts, overlay
from .output import Output

_STORE = "etc/selinux"
_CONSTRAINT = r"(or \(dom h1 h2\) \(neq t1 mcs_constrained_type\))"
_PIPES = re.compile(
    rf"^(\(mlsconstrain \(fifo_file \([a-z_ ]*\bwrite\b[a-z_ ]*\)\) )\({_CONSTRAINT}\)\)$", re.MULTILINE
)


def build(definition: Definition, output: Output, root: Path, scratch: Path, result: Path) -> None:
    """Rebuild the policy in a view of the root, keep what is in /etc/selinux."""
    with overlay(output, root, scratch / "policy") as tree, chroot_mounts(output, tree):
        # The store moves to /etc, which OSTree versions; /var is the machine's own.
        shutil.copytree(tree / "var/lib/selinux", tree / _STORE, dirs_exist_ok=True)
        shutil.copy(definition.policy / "semanage.conf", tree / _STORE / "semanage.conf")
        shutil.copy(definition.policy / "config", tree / _STORE / "config")
        for folder in definition.policy_modules:
            shutil.copytree(folder, tree / "run/modules", dirs_exist_ok=True)
        aliases = tree / _STORE / "default/contexts/files/file_contexts.subs_dist"
        aliases.write_text(with_aliases(aliases.read_text(), (definition.policy / "file_contexts.subs").read_text()))
        output.run(["chroot", tree, "env", "--chdir=/run/modules", "semodule", "--cil", "--extract=base"])
        base = tree / "run/modules/base.cil"
        base.write_text(with_open_pipes(base.read_text()))
        modules = sorted(f"/run/modules/{path.name}" for path in (tree / "run/modules").iterdir())
        # 200 as a distribution's own packages: 400, the default, is for what an administrator adds.
        output.run(["chroot", tree, "semodule", "--noreload", "--priority=200", "--install", *modules])
        if definition.selinux_booleans:
            output.run(["chroot", tree, "setsebool", "-N", "-P", *definition.selinux_booleans])
        for folder in (tree / _STORE).rglob("*"):
            # What is in `active` is semodule's own, which makes it 0700 again when it refreshes the policy.
            if folder.is_dir() and not folder.is_symlink() and "active" not in folder.parts:
                folder.chmod(0o755)
        shutil.copytree(tree / _STORE, result / "selinux", symlinks=True)


def with_open_pipes(base: str) -> str:
    """The base module, with pipes of processes open to containers, as in Fedora's policy.

    A container has two categories and a login all of them: by the distribution's constraint a container could not write
    into a pipe of the session that it was started from.
    """
    found = _PIPES.findall(base)
    if len(found) != 1:
        raise BuildError(f"the distribution's base policy has {len(found)} constraints of this kind, not 1: fifo_file")
    return _PIPES.sub(r"\1(or (\2) (eq t2 domain)))", base)


def with_aliases(known: str, ours: str) -> str:
    """The distribution's path aliases and ours; one alias is applied, so those of /etc are needed for /usr/etc, too.

    The first line that fits a path counts.
    """
    lines = [line for line in known.splitlines() if line.startswith("/etc/")]
    return "\n".join([known.rstrip(), *(f"/usr{line}" for line in lines), ours.rstrip()]) + "\n"
