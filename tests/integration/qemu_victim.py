"""A process that launches a machine and then waits to be killed (for the tests of the qemu platform).

Arguments: run id, owner, name of the machine, raw image, URI; folders for artifacts, scratch files and cache.
"""

import signal
import sys
from pathlib import Path

from kola.arch import host_arch
from kola.platform import Prepared, RunContext
from kola.spec import MachineSpec
from platforms.qemu.driver import Qemu
from platforms.qemu.options import Options

run, owner, name, image, uri, *folders = sys.argv[1:]
qemu = Qemu(Options(uri=uri), host_arch(), RunContext(run, owner, "gw9", *map(Path, folders)))
with qemu.launch(MachineSpec(memory_mib=256, vcpus=1), b"{}", name, Prepared(image, "tcg")):
    sys.stdout.write("running\n")
    sys.stdout.flush()
    signal.pause()
