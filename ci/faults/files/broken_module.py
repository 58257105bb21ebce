"""Write a copy of a module of this kernel whose first instruction is ``ud2``: loading it is an oops, or a warning.

    broken_module.py oops|warning SHIPPED.ko.xz RESULT.ko

For a warning one entry of the module's own table of WARN()s (``__bug_table``: where, file, line, flags) is made to
point there, so that the kernel takes the instruction for a WARN() and goes on behind it. Runs on the machine, which has
no compiler.
"""

import lzma
import struct
import sys
from pathlib import Path

ENDBR64, UD2_AND_NOPS = bytes.fromhex("f30f1efa"), bytes.fromhex("0f0b9090")
FLAG_WARNING, BUG_ENTRY, RELOCATION_PC32, SECTION_SYMBOL = 1, 12, 2, 3


def broken(module: bytes, kind: str) -> bytes:
    """The changed module; ValueError when it is not of the shape that this needs."""
    image = bytearray(module)
    (table,) = struct.unpack_from("<Q", image, 0x28)
    size, count, names_at = struct.unpack_from("<HHH", image, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", image, table + index * size) for index in range(count)]

    def text(strings: int, offset: int) -> str:
        start = headers[strings][4] + offset
        return image[start : image.index(0, start)].decode()

    sections = {text(names_at, header[0]): index for index, header in enumerate(headers)}
    symbols = headers[sections[".symtab"]]
    entries = [struct.unpack_from("<IBBHQQ", image, symbols[4] + at) for at in range(0, symbols[5], 24)]
    init = next(entry for entry in entries if text(symbols[6], entry[0]) == "init_module")
    start = headers[init[3]][4] + init[4]
    if image[start : start + 4] != ENDBR64:
        raise ValueError("its init function does not begin with endbr64")
    image[start : start + 4] = UD2_AND_NOPS
    if kind == "warning":
        bugs, moves = headers[sections["__bug_table"]], headers[sections[".rela__bug_table"]]
        code = (SECTION_SYMBOL, init[3])
        section = next(index for index, entry in enumerate(entries) if (entry[1] & 15, entry[3]) == code)
        for at in range(moves[4], moves[4] + moves[5], 24):
            offset = struct.unpack_from("<Q", image, at)[0]
            flags = struct.unpack_from("<H", image, bugs[4] + offset // BUG_ENTRY * BUG_ENTRY + 10)[0]
            if offset % BUG_ENTRY == 0 and flags & FLAG_WARNING:
                struct.pack_into("<QQq", image, at, offset, section << 32 | RELOCATION_PC32, init[4])
                break
        else:
            raise ValueError("it has no WARN()")
    return bytes(image)


if __name__ == "__main__":
    wanted, shipped, result = sys.argv[1:]
    Path(result).write_bytes(broken(lzma.decompress(Path(shipped).read_bytes()), wanted))
