"""Clones: a machine is booted and provisioned once, saved, and restored for every test that needs the same.

The first machine of a key is the golden one: it boots, settles, is saved and goes on as that test's own machine.
Everybody else who asks at that moment waits for it, in this run and in others, and gets a clone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

from kola import health, ignition
from kola.errors import CheckFailed, CommandFailed, CommandTimeout, PlatformError
from kola.keys import KeyPair, generate_key, read_client_key, write_client_key
from kola.provision import provision

if TYPE_CHECKING:
    from collections.abc import Callable

    from kola.clonecache import Claim, CloneCache, Entry
    from kola.link import Access
    from kola.machine import Machine
    from kola.platform import SnapshotPlatform
    from kola.run import RunInfo
    from kola.spec import MachineSpec

MACHINE, CLIENT_KEY, CONFIG = "machine", "client_key", "ignition.json"
"""In an entry's folder: what the platform wrote, the key that the machine lets in, its config without secrets."""
DISK_SHARE_MIB = 512
"""What a saved machine may need beside its memory: the written part of its disks."""


def clone_key(
    info: RunInfo, platform: SnapshotPlatform, spec: MachineSpec, config: ignition.Config | None, index: int
) -> str:
    """Return the name of the saved machine that fits; no two machines that differ in anything share one.

    Args:
        info: of the run: platform, architecture, image, what is added to all configs.
        platform: says what of this host matters (QEMU, accelerator, CPU).
        spec: of the machine.
        config: the test's own Ignition config; kola's additions count too, but for the keys, which are made anew.
        index: the machine's number in its test. Machines of one test are clones of different golden ones, so that
            MAC addresses, machine ids and host keys differ as they would if each had been booted.
    """
    public = "ssh-ed25519 AAAA"
    any_key = KeyPair("", public)
    whole = provision(
        config,
        client_key=public,
        host_key=any_key,
        capabilities=platform.capabilities,
        additions=info.additions,
    )
    parts = {
        "platform": info.platform,
        "arch": info.arch,
        "image": [info.image.sha256, info.prepared.image_ref],
        "spec": dataclasses.asdict(spec),
        "ignition": ignition.serialise(whole).decode(),
        "index": index,
        "host": platform.fingerprint(spec, info.prepared),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


class Clones:
    """Makes and restores saved machines for one process of a run.

    Args:
        info: of the run.
        platform: this process's driver.
        cache: where they are.
        login: how the run logs in, but for the keys.
        say: told a machine's name and what becomes of it.
    """

    def __init__(
        self,
        info: RunInfo,
        platform: SnapshotPlatform,
        cache: CloneCache,
        login: Access,
        say: Callable[[str, str], None],
    ) -> None:
        self.info = info
        self.platform = platform
        self.cache = cache
        self.login = login
        self.say = say

    def key(self, spec: MachineSpec, config: ignition.Config | None, index: int) -> str:
        """Return ``clone_key`` for this run."""
        return clone_key(self.info, self.platform, spec, config, index)

    def new_access(self, key: str) -> tuple[Access, KeyPair]:
        """Return how to log in to a machine that is going to be saved, and its host key with the private half."""
        host_key = generate_key()
        return self._access(key, generate_key(), host_key.public), host_key

    def access(self, entry: Entry) -> Access:
        """Return how to log in to the clones of an entry."""
        return self._access(entry.key, read_client_key(entry.folder / CLIENT_KEY), str(entry.facts["host_key"]))

    def _access(self, key: str, client_key: KeyPair, host_key: str) -> Access:
        # Not the cache's own file: that may go while a person is still logged in to a machine that was kept.
        path = self.info.scratch / "ssh" / f"{key}-{hashlib.sha256(client_key.public.encode()).hexdigest()[:8]}"
        with contextlib.suppress(FileExistsError):
            write_client_key(path, client_key)
        return dataclasses.replace(self.login, client_key=client_key, host_key=host_key, key_file=path)

    def save(self, claim: Claim, machine: Machine, access: Access) -> bool:
        """Save a golden machine that is up; whatever goes wrong with that, the machine itself goes on.

        A machine that shows what must not be there is not saved: a fault of one boot would be every test's. Nor
        is one whose own test does not mind that: others do, and their clones have the same log.

        Args:
            claim: with a draft.
            machine: the golden machine; its SSH connection is closed and must be made anew.
            access: its keys.

        Returns:
            Whether it was saved.

        Raises:
            MachineLost: the machine died.
        """
        assert claim.draft is not None  # noqa: S101 - for the type checker
        assert machine.spec is not None  # noqa: S101 - the flight made it
        try:
            settle(machine)
            _raise_if_unwell(machine)
            # Sessions that are open now would be dead in every clone.
            machine.close()
            self.cache.make_room(machine.spec.memory_mib + DISK_SHARE_MIB)
            folder = claim.draft / MACHINE
            folder.mkdir()
            self.platform.save(machine.instance, folder)
            write_client_key(claim.draft / CLIENT_KEY, access.client_key)
            shutil.copyfile(machine.artifacts / CONFIG, claim.draft / CONFIG)
            claim.commit(self._facts(machine, access))
        except (PlatformError, CommandFailed, CommandTimeout, CheckFailed, OSError) as e:
            self.say(machine.name, f"not saved for later tests: {str(e).splitlines()[0]}")
            return False
        with contextlib.suppress(OSError):
            self.cache.collect()
        return True

    def _facts(self, machine: Machine, access: Access) -> dict[str, Any]:
        image = self.info.image
        return {
            "host_key": access.host_key,
            "machine": machine.name,
            "platform": self.info.platform,
            "image": f"{image.reference} {image.sha256[:12]}",
        }


def settle(machine: Machine) -> None:
    """Wait until a machine has booted: what still starts would start anew in every clone, beside its test.

    Raises:
        CommandTimeout: it does not come to rest.
        MachineLost: it died.
    """
    # Its exit code is not looked at: "degraded" is the end of a boot too.
    machine.run(["systemctl", "is-system-running", "--wait"], check=False, timeout=machine.limits.unit)


def _raise_if_unwell(machine: Machine) -> None:
    for finding in health.examine(machine).findings:
        raise CheckFailed(str(finding))
