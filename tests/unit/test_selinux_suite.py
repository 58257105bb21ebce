"""What the SELinux suite makes of the output of tools and of a binary policy."""

from __future__ import annotations

import struct

import pytest

from tests.external.selinux.contexts import Context, exceptions, parse_sweep
from tests.external.selinux.test_policy import permissive_types

RELABEL = "Would relabel {} from {} to {}\n"


def test_context() -> None:
    context = Context.of("system_u:system_r:container_t:s0:c1,c2\0")
    assert (context.type, context.level, context.categories) == ("container_t", "s0:c1,c2", "c1,c2")
    assert Context.of("system_u:object_r:etc_t:s0\n").categories == ""
    with pytest.raises(ValueError, match="unpack"):
        Context.of("?")


def test_a_sweep_names_type_and_level_and_forgives_the_user() -> None:
    output = (
        RELABEL.format("/etc/a file", "unconfined_u:object_r:tmp_t:s0", "system_u:object_r:etc_t:s0")
        + RELABEL.format("/var/x", "system_u:object_r:var_t:s0:c1", "system_u:object_r:var_t:s0")
        + RELABEL.format("/etc/mine", "unconfined_u:object_r:etc_t:s0", "system_u:object_r:etc_t:s0")
        + "something else\n"
    )
    assert [str(item) for item in parse_sweep(output)] == [
        "/etc/a file: tmp_t:s0, not etc_t:s0",
        "/var/x: var_t:s0:c1, not var_t:s0",
    ]


def test_exceptions_are_for_one_path_and_one_type() -> None:
    for wanted, found in (("ptmx_t", 0), ("etc_t", 1)):
        line = RELABEL.format("/dev/pts/ptmx", "system_u:object_r:devpts_t:s0", f"system_u:object_r:{wanted}:s0")
        assert len(parse_sweep(line)) == found


@pytest.mark.parametrize("kind", ["label", "process"])
def test_every_exception_has_a_reason(kind: str) -> None:
    assert all(len(entry["reason"].split()) > 3 for entry in exceptions(kind))


def policy(*permissive: int, version: int = 33) -> bytes:
    """Return the beginning of a binary policy."""
    maps = b""
    for bits in ((1, 2), permissive):
        words: dict[int, int] = {}
        for bit in bits:
            words[bit // 64 * 64] = words.get(bit // 64 * 64, 0) | 1 << bit % 64
        maps += struct.pack("<3I", 64, 0, len(words))
        maps += b"".join(struct.pack("<IQ", start, value) for start, value in sorted(words.items()))
    return struct.pack("<II", 0xF97CFF8C, 8) + b"SE Linux" + struct.pack("<4I", version, 1, 8, 9) + maps + b"more"


def test_permissive_types() -> None:
    assert permissive_types(policy()) == []
    assert permissive_types(policy(3, 64, 700)) == [3, 64, 700]
    with pytest.raises(AssertionError, match="no policy"):
        permissive_types(b"\0" * 100)
    with pytest.raises(AssertionError, match="knows no permissive"):
        permissive_types(policy(version=22))
