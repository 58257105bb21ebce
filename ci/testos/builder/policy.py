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
        with aliases.open("a") as file:
            file.write((definition.policy / "file_contexts.subs").read_text())
        modules = sorted(f"/run/modules/{path.name}" for path in (tree / "run/modules").iterdir())
        output.run(["chroot", tree, "semodule", "--noreload", "--install", *modules])
        if definition.selinux_booleans:
            output.run(["chroot", tree, "setsebool", "-N", "-P", *definition.selinux_booleans])
        # Logins without the range of all categories: a container, with its two, may then write into their pipes.
        for place in ("default/seusers", "default/active/seusers"):
            shutil.copy(definition.policy / "seusers", tree / _STORE / place)
        for folder in (tree / _STORE).rglob("*"):
            if folder.is_dir() and not folder.is_symlink():
                folder.chmod(0o755)
        shutil.copytree(tree / _STORE, result / "selinux", symlinks=True)
