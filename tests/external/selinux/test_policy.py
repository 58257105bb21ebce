"""The policy: the release's own, on the disk and in the kernel, with nothing added."""

from __future__ import annotations

import bz2
import io
import re
import struct
import tarfile
from typing import TYPE_CHECKING

import pytest

from kola.checks import MAY_BE_PERMISSIVE
from tests.external.selinux.contexts import policy_folder, show

if TYPE_CHECKING:
    from kola.machine import Machine

pytestmark = pytest.mark.kola(
    isolation="shared",
    ignition="selinux.ign",
    needs=["selinux"],
    tags=["selinux", "security"],
    covers="selinux-policy",
)

LOCAL_PRIORITY = 400
"""At which `semodule --install` puts what an administrator adds; packages use 100 and 200."""


@pytest.mark.smoke
@pytest.mark.kola(needs=["selinux", "ostree"])
def test_files_are_those_of_the_deployment(machine: Machine) -> None:
    """/etc/selinux has the same files as the deployment's /usr/etc/selinux, in content, mode, owner and label."""
    command = "diff -rq --no-dereference --exclude='*.LOCK' /usr/etc/selinux /etc/selinux"
    result = machine.run(command, sudo=True, check=False)
    assert result.exit_code in {0, 1}, result.stderr
    assert not result.stdout, f"the policy is not the release's: {result.stdout}"
    changes = machine.run("ostree admin config-diff", sudo=True).stdout.splitlines()
    changed = [line for line in changes if re.match(r"\S+\s+selinux/(?!.*\.LOCK$)", line)]
    assert not changed, f"ostree says that the policy was modified: {show(changed)}"


def test_loaded_policy_is_the_one_on_the_disk(machine: Machine) -> None:
    """Loading the policy's file again changes nothing in the kernel: what it enforces is what the file says."""
    # The kernel writes a policy in an order of its own, so the two cannot be compared byte by byte.
    digest = "sha256sum </sys/fs/selinux/policy"
    before = machine.run(digest, sudo=True).stdout
    machine.run("load_policy", sudo=True)
    assert machine.run(digest, sudo=True).stdout == before, "the kernel had another policy than the file"
    pending = machine.run("grep -Hve '^0 0' -e '^1 1' /sys/fs/selinux/booleans/*", sudo=True, check=False).stdout
    assert not pending, f"booleans that wait to be committed: {pending}"


def test_no_local_modules(machine: Machine) -> None:
    """No policy module is installed where an administrator's are, but what the release itself has there."""
    # Fedora CoreOS is built with one, for what Fedora's policy lacks.
    folder = f"/usr{policy_folder(machine)}/active/modules/{LOCAL_PRIORITY}"
    shipped = machine.run(["ls", folder], sudo=True, check=False).stdout.split()
    modules = [line.split() for line in machine.run("semodule --list-modules=full", sudo=True).stdout.splitlines()]
    assert len(modules) > 100, modules
    local = [" ".join(words) for words in modules if int(words[0]) >= LOCAL_PRIORITY and words[1] not in shipped]
    assert not local, f"local policy modules: {show(local)}"


def test_no_permissive_domains(machine: Machine) -> None:
    """The loaded policy has no permissive domain but the known ones, whether it runs or not."""
    loaded = io.BytesIO()
    machine.run("cat /sys/fs/selinux/policy", sudo=True, output=loaded)
    count = len(permissive_types(loaded.getvalue()))
    declared = declared_permissive(machine) if count else set()
    assert len(declared) == count, f"{count} types are permissive in the kernel; the modules on the disk: {declared}"
    unknown = sorted(domain for domain in declared if not MAY_BE_PERMISSIVE.fullmatch(domain))
    assert not unknown, f"permissive domains: {show(unknown)}"


def permissive_types(policy: bytes) -> list[int]:
    """Return the numbers of the permissive types of a binary policy (version 23 or later).

    It begins with a magic number, a string, the version, three more numbers, and two bit maps: capabilities, permissive
    types. A bit map is the width of its words, its highest bit, the number of words, and words with the bit that each
    starts at.
    """
    magic, length = struct.unpack_from("<II", policy)
    assert magic == 0xF97CFF8C, f"no policy: {magic:#x}"
    version, _config, _symbols, _contexts = struct.unpack_from("<4I", policy, 8 + length)
    assert version >= 23, f"policy version {version} knows no permissive types"
    offset, bits = 8 + length + 16, []
    for _ in ("capabilities", "permissive types"):
        _width, _highest, words = struct.unpack_from("<3I", policy, offset)
        read = [struct.unpack_from("<IQ", policy, offset + 12 + 12 * word) for word in range(words)]
        bits = [start + bit for start, value in read for bit in range(64) if value >> bit & 1]
        offset += 12 + 12 * words
    return bits


def declared_permissive(machine: Machine) -> set[str]:
    """Return the types that the installed modules declare permissive."""
    archive = io.BytesIO()
    machine.run(["tar", "-C", f"{policy_folder(machine)}/active/modules", "-c", "."], sudo=True, output=archive)
    archive.seek(0)
    found: set[str] = set()
    with tarfile.open(fileobj=archive) as tar:
        for member in tar:
            if member.name.endswith("/cil") and (file := tar.extractfile(member)):
                data = file.read()
                text = (bz2.decompress(data) if data.startswith(b"BZh") else data).decode()
                found.update(re.findall(r"\(typepermissive ([\w.]+)\)", text))
    return found
