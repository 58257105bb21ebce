"""A guest of 512 bytes that finds out whether an accelerator runs guests.

A boot sector alone proves little: some hosts have a KVM that interprets guest code instruction by instruction, slowly
and only in part, so that firmware runs and a kernel does not. This one does what a kernel does first (page tables,
long mode) and then counts at the speed of the processor: 100 million turns are 0.04 s of a real one, under QEMU's own
emulation about 0.2 s, and minutes where each instruction is interpreted.

It answers through QEMU's ``isa-debug-exit`` device, which ends QEMU with the exit status ``2 * ANSWER + 1``.
"""

from __future__ import annotations

ANSWER = 42
EXIT_STATUS = 2 * ANSWER + 1
PORT = 0xF4
DISK_BYTES = 2 << 20  # SeaBIOS finds no geometry on a smaller disk and does not boot it

# Loaded at 0x7c00 in real mode (the BIOS's promise); page tables at 0x1000, 0x2000 and 0x3000.
_X86_64: tuple[tuple[str, str], ...] = (
    ("fa fc", "cli; cld"),
    ("66 31 c0", "xor eax, eax"),
    ("8e d8 8e c0 8e d0", "mov ds, ax; mov es, ax; mov ss, ax"),
    ("bc 00 7c", "mov sp, 0x7c00"),
    ("bf 00 10 b9 00 0c 66 f3 ab", "mov di, 0x1000; mov cx, 3 * 1024; rep stosd"),
    ("c7 06 00 10 03 20", "mov word [0x1000], 0x2003: PML4[0] -> 0x2000, present, writable"),
    ("c7 06 00 20 03 30", "mov word [0x2000], 0x3003: PDPT[0] -> 0x3000"),
    ("c6 06 00 30 83", "mov byte [0x3000], 0x83: PD[0] is the first 2 MiB as one page"),
    ("0f 01 16 78 7c", "lgdt [0x7c78]"),
    ("b0 20 0f 22 e0", "mov al, 0x20; mov cr4, eax: PAE"),
    ("b8 00 10 0f 22 d8", "mov ax, 0x1000; mov cr3, eax"),
    ("66 b9 80 00 00 c0", "mov ecx, 0xc0000080: EFER"),
    ("0f 32 80 cc 01 0f 30", "rdmsr; or ah, 1; wrmsr: long mode enable"),
    ("66 b8 01 00 00 80 0f 22 c0", "mov eax, 0x80000001; mov cr0, eax: paging, protection"),
    ("ea 53 7c 08 00", "jmp 8:0x7c53, from where on the code is 64-bit"),
    ("b9 00 e1 f5 05", "mov ecx, 100000000"),
    ("ff c9 75 fc", "1: dec ecx; jnz 1b"),
    (f"b0 {ANSWER:02x} e6 {PORT:02x}", "mov al, ANSWER; out PORT, al"),
    ("f4 eb fd", "2: hlt; jmp 2b"),
    ("00 00 00 00 00", "up to 0x7c68"),
    ("00 00 00 00 00 00 00 00", "descriptor 0"),
    ("00 00 00 00 00 9a 20 00", "descriptor 8: 64-bit code"),
    ("0f 00 68 7c 00 00", "0x7c78: limit and address of the descriptor table"),
)
_BOOT_SIGNATURE = (510, b"\x55\xaa")


def boot_sector() -> bytes:
    """Return the guest for x86_64: 512 bytes, the start of a disk of ``DISK_BYTES``."""
    code = bytes.fromhex("".join(hexadecimal for hexadecimal, _ in _X86_64))
    offset, signature = _BOOT_SIGNATURE
    return code.ljust(offset, b"\0") + signature
