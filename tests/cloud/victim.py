"""A process of a run that launches a machine and is killed while it has it: ``victim.py ORDER.json``."""

import json
import sys
from pathlib import Path

from kola.arch import get_arch
from kola.platform import Prepared, RunContext, load_platform, parse_options
from kola.spec import MachineSpec
from kola.wait import wait_until

name, options, prepared, text = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
folder = Path(text) / "victim"
folder.mkdir()
found = load_platform(name)
context = RunContext("run1", "Release.Team", "gw0", folder, folder, folder)
driver = found(parse_options(found, [f"{key}={value}" for key, value in options.items()]), get_arch("x86_64"), context)
ready = Prepared(**{**prepared, "notes": ()})
with driver.launch(MachineSpec(), b'{"ignition":{"version":"3.0.0"}}', "kola-run1-gw0-1", ready):
    print("up", flush=True)
    wait_until(lambda: False, 60)
