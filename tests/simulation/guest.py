"""The inside of a simulated machine: a folder, an environment, and the few programs that there are.

A program that is neither a harmless one of this host nor one of the shims does not exist there, and a shim that is
asked something that it does not know exits with 64: nothing is taken for done that was not simulated.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path

SHIMS = Path(__file__).parent / "shims"
PROGRAMS = (
    *("bash", "cat", "chmod", "chown", "cut", "date", "dd", "echo", "env", "false", "grep", "head", "id", "kill", "ls"),
    *("mkdir", "mkfifo", "mktemp", "mv", "printf", "readlink", "rm", "sed", "seq", "setsid", "sha256sum", "sleep"),
    *("sort", "stat", "tail", "tee", "test", "timeout", "touch", "tr", "true", "uname", "wc"),
)
"""Of this host; nothing else of it can be run by name."""

BOOT_ID = "/proc/sys/kernel/random/boot_id"
OWN_BOOT_ID = "./" * 10 + "..//boot_id"
"""The machine's, seen from its home folder. As long as the other: kola says in advance how much it sends."""
COMMAND_LINE = "/proc/cmdline"
OWN_COMMAND_LINE = "../procmdline"
"""Likewise: of the kernel."""
DEPLOYMENT = "5" * 64
"""Of every machine."""
TAG = "KOLA_SIMULATED"
"""Names the environment variable by which a machine's processes are found."""


def redirected(text: str) -> str:
    """Return what a machine is sent with its own boot id and command line in the place of the host's."""
    return text.replace(BOOT_ID, OWN_BOOT_ID).replace(COMMAND_LINE, OWN_COMMAND_LINE)


def make_programs(folder: Path) -> None:
    """Make the folder that is every machine's PATH."""
    folder.mkdir()
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found is not None, f"the simulation needs the program {name}"
        (folder / name).symlink_to(found)
    for shim in SHIMS.iterdir():
        (folder / shim.name).symlink_to(shim)


class Guest:
    """One machine's inside.

    Args:
        folder: its own, made here.
        programs: from ``make_programs``.
        journal: the file that its journal flows into.
        tag: value of ``TAG`` in every process.
    """

    def __init__(self, folder: Path, programs: Path, journal: Path, tag: str) -> None:
        self.folder = folder
        self.journal = journal
        self._home = folder / "home"
        self._home.mkdir(parents=True)
        deployment = folder / f"ostree/deploy/simulated/deploy/{DEPLOYMENT}.0"
        deployment.mkdir(parents=True)
        (folder / "ostree/boot").symlink_to(deployment)
        (folder / "procmdline").write_text(f"quiet ostree={folder}/ostree/boot root=UUID=1\n")
        self._environment = {
            "HOME": str(self._home), "USER": "core", "LANG": "C.UTF-8", "PATH": str(programs), TAG: tag,
            "SIMULATED": str(folder), "SIMULATED_JOURNAL": str(journal),
        }  # fmt: skip

    def boot(self) -> None:
        """Come up: another boot id, nothing of what was asked for before."""
        boot_id = str(uuid.uuid4())
        (self.folder / "boot_id").write_text(boot_id + "\n")
        (self.folder / "failed-units").write_text("")
        entry = {
            "MESSAGE": "Reached target multi-user.target", "SYSLOG_IDENTIFIER": "systemd", "_PID": "1", "PRIORITY": "6",
            "_BOOT_ID": boot_id.replace("-", ""), "__CURSOR": f"boot-{boot_id}", "_TRANSPORT": "journal",
            "__REALTIME_TIMESTAMP": str(time.time_ns() // 1000),
        }  # fmt: skip
        with self.journal.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def start(self, line: str) -> subprocess.Popen[bytes]:
        """Begin what the login shell is given."""
        return subprocess.Popen(
            ["/bin/bash", "-c", redirected(line)],
            cwd=self._home,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def asked_for(self, what: str) -> bool:
        """Tell whether a command asked for ``reboot`` or ``crash``, once."""
        try:
            os.unlink(self.folder / what)  # noqa: PTH108 - several times a second
        except FileNotFoundError:
            return False
        return True

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
