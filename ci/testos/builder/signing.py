"""Stage `signing`: the key that signs the commits, and another one that nobody trusts.

Made on this machine, for test systems only; the private halves stay in the cache, readable by root alone.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .mounts import chroot_mounts, overlay
from .output import Output

TRUSTED = "trusted"
STRANGER = "stranger"
PUBLIC_KEY = "testos.gpg"


# gpg leaves an agent running that would keep the chroot's mounts busy: with its first process all of a namespace's end.
ALONE = ("unshare", "--pid", "--fork", "--kill-child")


def build(output: Output, root: Path, scratch: Path, result: Path) -> None:
    """Make both keys with the root's own gpg, and export the public half of the trusted one."""
    with overlay(output, root, scratch / "gpg") as tree, chroot_mounts(output, tree):
        for name in (TRUSTED, STRANGER):
            home = tree / "run/gnupg"
            home.mkdir(mode=0o700)
            gpg = [*ALONE, "chroot", str(tree), "gpg", "--homedir=/run/gnupg", "--batch"]
            key = ["--passphrase=", "--quick-gen-key", f"kola test OS, {name} key", "ed25519", "sign", "never"]
            output.run([*gpg, *key])
            listed = output.run([*gpg, "--list-secret-keys", "--with-colons"])
            if name == TRUSTED:
                output.run([*gpg, "--output", f"/run/{PUBLIC_KEY}", "--export"])
            fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
            (home / "fingerprint").write_text(fingerprint)
            for socket in home.glob("S.*"):
                socket.unlink()
            shutil.move(home, result / name)
        shutil.copy(tree / "run" / PUBLIC_KEY, result / PUBLIC_KEY)


@contextmanager
def signer(tree: Path, keys: Path, name: str = TRUSTED) -> Iterator[list[str]]:
    """For the lifetime of the block the arguments by which `ostree` in the chroot, run `ALONE`, signs."""
    home = tree / "run/gnupg"
    shutil.copytree(keys / name, home)
    yield [f"--gpg-sign={(home / 'fingerprint').read_text()}", "--gpg-homedir=/run/gnupg"]
    shutil.rmtree(home)
