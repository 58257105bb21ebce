"""The end of a process that had machines; in one of its own, because libvirt's embedded driver is one a process."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile

import pytest

from kola.arch import host_arch

pytestmark = [
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is not installed"),
    pytest.mark.skipif(host_arch().name != "x86_64", reason="the guests here are x86_64 code"),
]
CLOSED = """
import sys
from pathlib import Path
from kola.arch import host_arch
from platforms.qemu import Qemu
from platforms.qemu.options import Options
from tests.integration.qemu_guests import CONFIG, HALT, RUN, SMALL, context_in, image_of, make_disk

folder = Path(sys.argv[1])
qemu = Qemu(Options(), host_arch(), context_in(folder))
idle = qemu.prepare(image_of(make_disk(folder / "halt.img", HALT)))
with qemu.launch(SMALL, CONFIG, f"kola-{RUN}-main-closed", idle):
    pass
qemu.close()
qemu.close()
print([path.name for path in (folder / "scratch").iterdir()], qemu._link.connection().listAllDomains())
"""


def test_nothing_comes_back_after_the_end() -> None:
    """libvirt makes its folder anew when it hears of a machine's end: that is waited for."""
    with tempfile.TemporaryDirectory(prefix="kq-") as folder:
        done = subprocess.run([sys.executable, "-c", CLOSED, folder], capture_output=True, text=True, check=False)
    assert done.stdout == "[] []\n", done.stderr
