"""Guests of one sector, and a run that is killed: what the tests of the qemu platform share."""

import os
import subprocess
import sys
from pathlib import Path

from kola.images import Image
from kola.platform import RunContext
from kola.spec import MachineSpec
from platforms.qemu import probe_guest
from platforms.qemu.process import guests

# In the environment, so that the processes that a test starts are of the same run.
RUN = os.environ.setdefault("KOLA_TEST_QEMU_RUN", f"itqemu{os.getpid()}")
OWNER = "integration"
SMALL = MachineSpec(memory_mib=256, vcpus=1)
CONFIG = b'{"ignition": {"version": "3.3.0"}}'

# Boot sectors. HALT sleeps for ever; POWER_OFF writes "soft off" to the ACPI register that SeaBIOS set up.
HALT = bytes.fromhex("f4 eb fd")
POWER_OFF = bytes.fromhex("b8 00 20 ba 04 06 ef f4 eb fd")


def make_disk(path: Path, code: bytes) -> Path:
    """Make a disk that boots that code; without any it does not boot."""
    path.write_bytes(code.ljust(510, b"\0") + b"\x55\xaa" if code else b"")
    os.truncate(path, probe_guest.DISK_BYTES)
    return path


def context_in(folder: Path) -> RunContext:
    return RunContext(RUN, OWNER, "main", folder / "machines", folder / "scratch", folder / "cache")


def image_of(path: Path) -> Image:
    return Image(path, "raw", "", str(path))


def running() -> list[str]:
    """Return the names of this run's guests."""
    found = []
    for guest, process in guests():
        process.close()
        if guest.startswith(f"kola-{RUN}-"):
            found.append(guest)
    return found


def killed_run(folder: Path, name: str, image: str, uri: str) -> None:
    """Launch a machine in another process and kill that process with SIGKILL."""
    context = context_in(folder)
    command = [sys.executable, str(Path(__file__).with_name("qemu_victim.py")), RUN, OWNER, name, image, uri]
    command += [str(context.artifacts), str(context.scratch), str(context.cache)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=environment) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "running\n"
        victim.kill()
