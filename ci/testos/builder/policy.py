"""Stage `policy`: Debian's SELinux policy with our module, booleans and path aliases, as a tree for /etc/selinux."""

import shutil
from pathlib import Path

from .definition import Definition
from .mounts import chroot_mounts, overlay
from .output import Output

_STORE = "etc/selinux"


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
        # Logins without the range of all categories: a container, with its two, may then write into their pipes.
        # A local choice of the store's, else the first update would bring the distribution's back.
        shutil.copy(definition.policy / "seusers", tree / _STORE / "default/active/seusers.local")
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


def with_aliases(known: str, ours: str) -> str:
    """The distribution's path aliases and ours; one alias is applied, so those of /etc are needed for /usr/etc, too.

    The first line that fits a path counts.
    """
    lines = [line for line in known.splitlines() if line.startswith("/etc/")]
    return "\n".join([known.rstrip(), *(f"/usr{line}" for line in lines), ours.rstrip()]) + "\n"
