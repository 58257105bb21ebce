"""A kernel module whose init is one WARN(), made for any x86_64 kernel without its headers.

Where ``struct module`` has its init pointer, how large it is and the version magic are read out of a module that the
kernel ships; the WARN is what the compiler makes of one: an ``ud2`` and an entry in ``__bug_table``
(arch/x86/include/asm/bug.h, CONFIG_GENERIC_BUG_RELATIVE_POINTERS and CONFIG_DEBUG_BUGVERBOSE).
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

NAME = "kolawarn"

SOURCE = """
    .section .text, "ax"
    .p2align 4
    .globl init_module
init_module:
1:  ud2
    xorl %eax, %eax
    ret

    .section __bug_table, "aw"
2:  .long 1b - .
    .long 3f - .
    .word 42                # line
    .word 0x0901            # BUGFLAG_WARNING, TAINT_WARN

    .section .rodata.str, "a"
3:  .asciz "kolawarn.c"

    .section .modinfo, "a"
    .asciz "{vermagic}"
    .asciz "license=GPL"
    .asciz "name={name}"

    .section .gnu.linkonce.this_module, "aw"
    .p2align 6
4:  .org 4b + 0x18
    .asciz "{name}"
    .org 4b + {init}
    .quad init_module
    .org 4b + {size}
"""


def build(shipped: Path, folder: Path) -> Path:
    """Build the module for the kernel that ``shipped`` (an uncompressed ``.ko`` with an init function) belongs to."""
    sections = _run("readelf", "-SW", shipped)
    size = re.search(r"\.gnu\.linkonce\.this_module\s+PROGBITS\s+\S+\s+\S+\s+(\S+)", sections)
    relocations = _run("readelf", "-rW", shipped).partition("'.rela.gnu.linkonce.this_module'")[2]
    init = re.search(r"^([0-9a-f]+)\s.*\binit_module", relocations, re.MULTILINE)
    vermagic = re.search(rb"vermagic=[^\0]*", shipped.read_bytes())
    assert size is not None, sections
    assert init is not None, relocations
    assert vermagic is not None
    source = folder / f"{NAME}.S"
    source.write_text(SOURCE.format(name=NAME, size=f"0x{size[1]}", init=f"0x{init[1]}", vermagic=vermagic[0].decode()))
    module = folder / f"{NAME}.ko"
    _run("gcc", "-c", "-o", module, source)
    return module


def _run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout
